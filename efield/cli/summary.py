"""What a person reads at the end: where, which angle, how strong, how sure, how long."""

import click

from efield.frames import direction_words
from efield.results.words import didt_words, digits, objective_words, yaw_words

_LABEL_WIDTH = 26


def optimize_summary(result, out=None):
    """Text for the end of ``efield optimize``."""
    source = result.provenance
    title = f"Best placement of {source['coil']} on {source['head']} for {result.target['name']}"
    blocks = [
        _block(title, [*_where(result.placement_info, source), *_settings(result.search)]),
        _block("Angle", _angle(result.placement_info)),
        _block("Strength", [_objective(result), *_strength(result)]),
        _block("Certainty", _certainty(result)),
        _block("Time", _times(result.timings)),
        *_warnings(result),
        _footer(out),
    ]
    return "\n\n".join(blocks)


def simulate_summary(result, out=None):
    """Text for the end of ``efield simulate``."""
    source = result.provenance
    title = f"Field of {source['coil']} on {source['head']}"
    blocks = [
        _block(title, _where(result.placement_info, source)),
        _block("Angle", _angle(result.placement_info)),
        _block("Strength", _strength(result)),
        _block("Time", _times(result.timings)),
        *_warnings(result),
        _footer(out, "the field for ParaView (.vtu) and Gmsh or SimNIBS (.msh)"),
    ]
    return "\n\n".join(blocks)


def session_summary(result, out=None):
    """Text for the end of ``efield simulate`` over a session."""
    source, session, target = result.provenance, result.session, result.target
    rows = [("placements", f"{session['n_simulated']} of {session['n_placements']} simulated")]
    reasons = [one["reason"] for one in session["skipped"]]
    rows += [("skipped", f"{reasons.count(reason)}: {reason}") for reason in dict.fromkeys(reasons)]
    not_done = [row for row in result.rows if row["target_mean"] is None]
    rows += [(f"not simulated: {row['name']}", row["status"]) for row in not_done[:5]]
    means = [row["target_mean"] for row in result.rows if row["target_mean"] is not None]
    if means:
        spread = f"{min(means):#.4g} to {max(means):#.4g} V/m at {didt_words(result.didt)}"
        rows.append(("mean |E| in the target", f"{spread}, {target['name']}"))
    title = f"Fields of {source['coil']} on {source['head']}, {session['source']}"
    footer = _footer(out, "the table (session.csv) and JSON")
    return "\n\n".join([_block(title, rows), _block("Time", _times(result.timings)), footer])


def _block(title, rows):
    lines = [f"  {label:<{_LABEL_WIDTH}}{text}".rstrip() for label, text in rows]
    return "\n".join([click.style(title, bold=True), *lines])


def _where(info, source):
    space = "MNI space" if source["space"] == "mni" else "subject space"
    rows = [("coil centre", f"{_point(info['center_mm'])} mm, {space}, RAS")]
    if info["scalp_mm"] is None:
        return [*rows, ("scalp under it", "none: the coil's z axis misses the head")]
    return [
        *rows,
        ("scalp under it", f"{_point(info['scalp_mm'])} mm, {info['distance_mm']:.2f} mm from the coil"),
    ]


def _settings(search):
    """Where the movable parts of the coil were set."""
    found = search.get("deformations", {})
    return (
        [("movable parts", ", ".join(f"{name} = {value:.4g}" for name, value in found.items()))]
        if found
        else []
    )


def _angle(info):
    yaw = info["yaw_to_midline_deg"]
    return [
        ("handle (coil +y) points", direction_words(info["ydir"])),
        ("yaw to the midline", f"{yaw_words(yaw)} ({yaw:+.1f}°)"),
    ]


def _objective(result):
    value = result.objective
    return (
        objective_words(value.name),
        f"{value.value:#.4g} {value.unit} at {didt_words(result.didt)}",
    )


def _strength(result):
    metrics, target = result.metrics, result.target
    region = f"{target['name']}: {target['n_elements']} elements, {target['volume_mm3']:.0f} mm3"
    if target["moved_mm"] > 0:
        region += f", moved {target['moved_mm']:.1f} mm to reach the tissue"
    spread = ", ".join(f"{name} {metrics[name]:#.4g}" for name in ("mean", "median", "p95", "p99"))
    rows = [("target", region), ("|E| in it", f"{spread} V/m at {didt_words(result.didt)}")]
    if metrics["peak"] is not None:
        rows += [
            ("peak in grey matter", f"{metrics['peak']:#.4g} V/m (p99.9) at {_point(metrics['peak_mm'])} mm"),
            ("half-value volume", f"{metrics['half_value_volume_mm3'] / 1000:.1f} cm3 of grey matter"),
        ]
    if metrics["target_peak_ratio"] is not None:
        rows.append(("target mean / peak", f"{metrics['target_peak_ratio']:.3f}"))
    if metrics["scalp_cortex_mm"] is not None:
        rows.append(("scalp to cortex", f"{metrics['scalp_cortex_mm']:.1f} mm"))
    return rows


def _certainty(result):
    search, check = result.search, result.check
    searched = f"{search['n_positions']} positions x {search['n_yaw']} angles = {search['n_placements']:,}"
    gain = f"{search['refined_gain']:+.3%} over the best of the grid"
    rows = [("placements searched", searched), ("continuous polish", gain)]
    if search.get("operator_error") is not None:
        rows.append(("error of the search", f"{search['operator_error']:.1e} at placements it had not seen"))
    rows += _error_bar(result)
    if check is None:
        return [*rows, ("forward check", "not done")]
    agreement = "agrees" if abs(check.relative_difference) <= check.warn_above else "DISAGREES"
    return [
        *rows,
        (
            "forward solve there",
            f"{check.forward_value:#.4g} V/m; {agreement}: relative difference "
            f"{abs(check.relative_difference):.1e} (warns above {check.warn_above:g})",
        ),
    ]


def _error_bar(result):
    bar, unit = result.discretization, result.objective.unit
    if bar is None:
        return []
    if bar["reason"] is not None:
        return [("discretization error", f"not known: {bar['reason']}")]
    share = bar["estimated_error"] / bar["corrected_value"]
    corrected = f"{bar['corrected_value']:#.4g} +- {bar['half_width']:.1g} {unit}"
    return [("discretization error", f"{share:+.2%} estimated; corrected value {corrected}")]


def _times(timings):
    stages = [f"{name} {digits(t, 2)} s" for name, t in timings.items() if name != "total" and t >= 0.005]
    return [("total", f"{timings['total']:.1f} s ({', '.join(stages)})")]


def _warnings(result):
    if not result.warnings:
        return []
    rows = [(warning.code, warning.message) for warning in result.warnings]
    return [_block("Warnings", rows)]


def _footer(out, what="the pose as JSON, tables, picture and field"):
    if out is None:
        return f"Add --out DIR to keep {what}."
    return f"Written to {out}"


def _point(values):
    return "(" + ", ".join(f"{value:.1f}" for value in values) + ")"
