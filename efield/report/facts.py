"""What a report says in words and numbers."""

from dataclasses import asdict

import numpy as np

from efield.errors import LandmarkError
from efield.frames import direction_words
from efield.results.words import didt_words, digits, objective_words, yaw_words
from efield.scalp.geodesic import geodesic
from efield.scalp.marks import tape_instructions
from efield.scalp.ten_ten import ten_ten

NEAREST = 5
"""Named scalp positions from which the coil's place is measured."""

MEASURES = (
    ("mean", "mean |E| in the target", "V/m", "#.4g"),
    ("median", "median |E| in the target", "V/m", "#.4g"),
    ("p95", "95th percentile in the target", "V/m", "#.4g"),
    ("p99", "99th percentile in the target", "V/m", "#.4g"),
    ("peak", "peak in grey matter (99.9th percentile)", "V/m", "#.4g"),
    ("target_peak_ratio", "target mean / peak", "", ".3f"),
    ("half_value_volume_mm3", "grey matter above half the peak", "mm³", ",.0f"),
    ("scalp_cortex_mm", "scalp to cortex under the coil", "mm", ".1f"),
    ("tilt_deg", "tilt of the coil off the scalp", "degrees", ".2f"),
    ("clearance_mm", "smallest gap between coil and scalp", "mm", ".2f"),
)
"""Metrics in the order of the table: key, words, unit, format."""


def point(values, digits=1):
    """A point in mm, or a dash where there is none."""
    return "–" if values is None else "(" + ", ".join(f"{x:.{digits}f}" for x in values) + ")"


def place_rows(result):
    """Where the coil lies, in words."""
    info, target = result.placement_info, result.target
    yaw = info["yaw_to_midline_deg"]
    rows = [
        ("coil centre", f"{point(info['center_mm'])} mm"),
        ("scalp under it", f"{point(info['scalp_mm'])} mm"),
        ("handle (coil +y) points", direction_words(info["ydir"])),
        ("yaw to the midline", f"{yaw_words(yaw)} ({yaw:+.1f}°)"),
    ]
    if info["distance_mm"] is not None:
        rows.append(("coil to scalp", f"{info['distance_mm']:.2f} mm"))
    moved = f", moved {target['moved_mm']:.1f} mm to reach its tissue" if target["moved_mm"] > 0 else ""
    size = f"{target['n_elements']:,} elements, {target['volume_mm3']:.0f} mm³"
    return [*rows, ("target", f"{target['name']} at {point(target['center_mm'])} mm, {size}{moved}")]


def measure_rows(result):
    """The metrics that exist: (words, number, unit)."""
    found = [(result.metrics.get(key), *rest) for key, *rest in MEASURES]
    return [(words, format(value, form), unit) for value, words, unit, form in found if value is not None]


def matrix_text(placement):
    """matsimnibs as four lines to paste."""
    rows = np.asarray(placement.matsimnibs)
    return "\n".join(" ".join(f"{value: .6f}" for value in row) for row in rows)


def landmark_facts(result, fiducials=None):
    """Distances by which the place is found again.

    Parameters
    ----------
    result : OptimizeResult or SimulateResult
    fiducials : Fiducials, optional
        By default those that the head brings.

    Returns
    -------
    dict
        ``tape`` (sentences), ``offsets`` (rows: position, distance along the scalp, and right, anterior,
        superior of it, mm), ``source`` of the landmarks; or only ``missing``, the reason.
    """
    if result.field is None:
        return {"missing": "the head is not at hand"}
    if result.placement_info["scalp_mm"] is None:
        return {"missing": "the coil's axis misses the scalp"}
    try:
        system = ten_ten(result.field.head, fiducials)
        words = str(tape_instructions(system, result.placement))
        offsets = _offsets(system, np.asarray(result.placement_info["scalp_mm"]))
    except LandmarkError as error:
        return {"missing": str(error)}
    return {"tape": words, "offsets": offsets, "source": system.fiducials.source}


def _offsets(system, scalp):
    names = list(system.positions)
    points = np.stack([system.positions[name] for name in names])
    apart = np.linalg.norm(points - scalp, axis=1)
    near = [names[k] for k in np.argsort(apart)[:NEAREST]]
    rows = []
    for name in dict.fromkeys([*near, "Cz", "Nz"]):
        start = system.positions[name]
        right, anterior, up = system.axes @ (scalp - start)
        rows.append((name, geodesic(system.surface, start, scalp).length_mm, right, anterior, up))
    return [(name, [f"{value:.1f}" for value in values]) for name, *values in rows]


def check_rows(result):
    """What was checked: (what, outcome, "good", "bad" or "none", how)."""
    rows = [_forward_row(result), *_search_rows(result), *_certificate_rows(result)]
    return [row for row in [*rows, *_discretization_rows(result)] if row is not None]


def _forward_row(result):
    if not hasattr(result, "check"):
        return None
    how = "a forward solution at the optimum against the value by reciprocity"
    if result.check is None:
        return ("forward against reciprocity", "not done (verify=False)", "none", how)
    differs, limit = abs(result.check.relative_difference), result.check.warn_above
    state = "good" if differs <= limit else "bad"
    words = f"differ by {differs:.1e} (warns above {limit:g})"
    return ("forward against reciprocity", words, state, how)


def _search_rows(result):
    search = getattr(result, "search", None)
    if search is None:
        return
    if search.get("operator_error") is not None:
        words = f"{search['operator_error']:.1e}, at {search['operator_unseen']} placements it had not seen"
        warned = any(w.code == "operator_error" for w in result.warnings)
        how = "largest relative error of the values that the search went by"
        yield ("operator of the target", words, "bad" if warned else "good", how)
    if search.get("exterior_error") is not None:
        height = f" at {search['exterior_error_height_mm']:.1f} mm above the scalp"
        warned = any(w.code == "exterior_error" for w in result.warnings)
        how = "rms relative error of the model of the field outside the head"
        words = f"{search['exterior_error']:.1e}{height}"
        yield ("exterior field", words, "bad" if warned else "good", how)


def _certificate_rows(result):
    if not hasattr(result, "certificate"):
        return
    how = "a bound on every tangential placement of the region, see docs/certificate.md"
    found = result.certificate
    if found is None:
        yield ("certificate", "not asked for (--certify)", "none", how)
        return
    if found["epsilon"] is None:
        yield ("certificate", "no bound was reached", "bad", how)
        return
    words = f"no placement is better by more than {100 * found['epsilon']:.2g} %"
    wanted = f" (asked for: {100 * found['wanted']:g} %)"
    yield ("certificate", words + wanted, "good" if found["holds"] else "bad", how)


def _discretization_rows(result):
    """The error bar of the mesh, where the run estimated one."""
    found = getattr(result, "discretization", None)
    if not found:
        return
    how = "what second order on finer tetrahedra around the target would change, at the optimum"
    if found["reason"] is not None:
        yield ("error bar of the mesh", f"not known: {found['reason']}", "none", how)
        return
    unit, share = result.objective.unit, found["estimated_error"] / found["corrected_value"]
    words = f"error {share:+.2%}; corrected value {found['corrected_value']:.4g} ± {found['half_width']:.1g}"
    yield ("error bar of the mesh", f"{words} {unit}", "good", how)


def _short(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def provenance_rows(result, fiducials=None):
    """Where the numbers come from: (what, value); landmarks are those of the report."""
    source = result.provenance
    run = source.get("run", {})
    rows = [
        ("efield", source["efield"]),
        ("head", f"{source['head']} ({source['space']} space)"),
        ("head, SHA-256 of its arrays", source["head_sha256"]),
        ("mesh", _mesh_words(source)),
        ("coil", source["coil"]),
        ("coil, SHA-256 of its arrays", source["coil_sha256"]),
        ("dipoles", source.get("n_dipoles")),
        ("conductivity, S/m", _conductivities(source["conductivity"])),
        ("tensor image, SHA-256", source.get("anisotropy", {}).get("image_sha256")),
        *(
            (f"{file['role']}, SHA-256 of {file['name']}", file["sha256"])
            for file in _files(source, fiducials)
        ),
        ("target", _target_words(result.target)),
        ("objective", _objective_words(result)),
        ("dI/dt", f"{result.didt:g} A/s"),
        ("elements", f"order {source['element_order']}; dA/dt {source['dadt_rule']}"),
        ("search", _settings(source.get("search"))),
        ("constraints", _settings(source.get("constraints"))),
        ("residual of the solver", _short(source.get("forward_residual", source.get("residual", "")))),
        ("finished", run.get("finished_utc")),
        ("on", _settings({key: run.get(key) for key in ("platform", "python")})),
        ("packages", _settings(run.get("packages"))),
        ("time", ", ".join(f"{name} {digits(t, 2)} s" for name, t in result.timings.items() if t >= 0.005)),
    ]
    return [(what, value) for what, value in rows if value not in (None, "")]


def _files(source, fiducials):
    """Files that a result was made from, and those of the report's landmarks."""
    marks = [asdict(file) for file in getattr(fiducials, "files", ())]
    found = source.get("files", [])
    return [*found, *(file for file in marks if file not in found)]


def _target_words(target):
    """The target with its size, as in the methods text."""
    space = "MNI" if target["space"] == "mni" else "subject"
    size = f"{target['n_elements']:,} elements, {target['volume_mm3']:.0f} mm³"
    return f"{target['name']} at {point(target['center_mm'])} mm, {space} space; {size}"


def _objective_words(result):
    goal = getattr(result, "objective", None)
    if goal is None:
        return None
    return f"{result.provenance.get('objective', goal.name)}: {objective_words(goal.name)}"


def _mesh_words(source):
    if "n_tets" not in source:
        return None
    return f"{source['n_nodes']:,} nodes, {source['n_tets']:,} tetrahedra"


def _conductivities(table):
    """As used: a rounded conductivity is another one."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in table.items())


def _settings(table):
    stated = [(key, value) for key, value in (table or {}).items() if value not in (None, [], "")]
    return ", ".join(f"{key} {_short(value)}" for key, value in stated)


def _order(source):
    return {1: "first-order", 2: "second-order"}[source["element_order"]]


def _tensors(source):
    found = source.get("anisotropy")
    if found is None:
        return ""
    tissues = " and ".join(name.replace("_", " ") for name in found["tissues"])
    return f", and in {tissues} tensors from {found['image']} (mapping {found['mapping']})"


def methods_text(result):
    """A paragraph for the methods section."""
    source = result.provenance
    mesh = f" ({_mesh_words(source)})" if _mesh_words(source) else ""
    dipoles = f" of {source['n_dipoles']} magnetic dipoles" if "n_dipoles" in source else ""
    text = (
        f"Electric fields were computed with efield {source['efield']} by {_order(source)} finite elements "
        f"on the head model {source['head']}{mesh}, with the conductivities (S/m) "
        f"{_conductivities(source['conductivity'])}{_tensors(source)}. The coil was {source['coil']}, "
        f"modelled as a set"
        f"{dipoles}. "
    )
    return text + (_searched(result) if hasattr(result, "search") else _simulated(result))


def _searched(result):
    search, target, info = result.search, result.target, result.placement_info
    space = "MNI" if target["space"] == "mni" else "the subject's own"
    text = (
        f"The target was {target['name']}, centred at {point(target['center_mm'])} mm in {space} space "
        f"({target['n_elements']} elements, {target['volume_mm3']:.0f} mm³). The objective, "
        f"{objective_words(result.objective.name)}, was evaluated by reciprocity at "
        f"{search['n_placements']:,} placements ({search['n_positions']:,} scalp positions, "
        f"{search['n_yaw']} orientations{_region_words(search)}), and the best were polished continuously "
        f"and ranked by forward solutions. At the optimum it was {result.objective.value:#.4g} "
        f"{result.objective.unit} at {didt_words(result.didt)}, with the coil centre at {_pose_words(info)}"
    )
    if result.check is not None:
        differed = f"{abs(result.check.relative_difference):.1e}"
        text += f"; forward and reciprocal solutions differed by {differed} (relative)"
    found = result.discretization
    if found and found["reason"] is None:
        share = found["estimated_error"] / found["corrected_value"]
        text += f"; the discretization error of that value was estimated at {share:+.2%}"
    return text + "."


def _pose_words(info):
    """The coil's centre, its distance from the scalp and its angle."""
    apart = (
        "" if info["distance_mm"] is None else f", {info['distance_mm']:.3g} mm from the scalp along its axis"
    )
    return (
        f"{point(info['center_mm'])} mm{apart}, and its handle (+y) {yaw_words(info['yaw_to_midline_deg'])}"
    )


def _region_words(search):
    if "radius_mm" not in search:
        return ""
    return f", within {search['radius_mm']:g} mm at a spacing of {search['spacing_mm']:g} mm"


def _simulated(result):
    info, target = result.placement_info, result.target
    return (
        f"The coil's centre lay at {_pose_words(info)}. Mean |E| over {target['name']} "
        f"was {result.metrics['mean']:#.4g} V/m at {didt_words(result.didt)}."
    )


def methods_of(result, comparison):
    """Paragraphs of a result and of the comparison beside it, which may be None."""
    return [methods_text(result)] + ([] if comparison is None else [compared_text(comparison)])


def differences(result, comparison):
    """What a result and the comparison in its folder do not share, in words."""
    ours, theirs = result.provenance, comparison.provenance
    one, other = result.target, comparison.target
    same_place = (
        np.allclose(one["center_mm"], other["center_mm"]) and one["n_elements"] == other["n_elements"]
    )
    shared = {
        "head": ours["head_sha256"] == theirs["head_sha256"]
        and ours["conductivity"] == theirs["conductivity"],
        "coil": ours["coil_sha256"] == theirs["coil_sha256"],
        "target": same_place and one["space"] == other["space"],
        "dI/dt": result.didt == comparison.didt,
    }
    return [what for what, same in shared.items() if not same]


def compared_text(comparison):
    """A paragraph for the methods section of a comparison."""
    source, target = comparison.provenance, comparison.target
    done = [row["method"] for row in comparison.rows if row["error"] is None]
    return (
        f"Targeting methods ({', '.join(done)}) were compared with efield {source['efield']} on the head "
        f"model {source['head']} and the coil {source['coil']}: each placement was simulated by "
        f"{_order(source)} finite elements, and mean |E| over {target['name']} "
        f"({target['n_elements']} elements, {target['volume_mm3']:.0f} mm³) was related to that of the "
        f"optimised placement."
    )
