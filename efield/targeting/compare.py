"""Every way of finding the target, on one head, in one table."""

import dataclasses
import time

import numpy as np

from efield.errors import EfieldError, PlacementError
from efield.forward import require_outside, simulate
from efield.metrics import (
    MIN_PEAK_ELEMENTS,
    PEAK_PERCENTILE,
    field_metrics,
    scalp_cortex_distance_mm,
    weighted_percentile,
)
from efield.model.placement import describe_placement
from efield.results.comparison import COLUMNS, TargetingComparison
from efield.results.outputs import check_output
from efield.results.parts import ResultWarning
from efield.results.provenance import provenance
from efield.scalp.geodesic import geodesic
from efield.search.candidates import Search
from efield.targeting.case import TargetingCase
from efield.targeting.noise import Landing
from efield.targeting.registry import METHODS, aim
from efield.tissues import TISSUE_TAGS

AT_ONCE = 4
"""Fields that are held at the same time."""

SEARCHED = ("optimised", "optimised-yaw")
"""Methods that search, and wait for the others to say how far."""

LARGEST_RADIUS_MM = 60.0


def compare_targeting(
    head,
    coil,
    target,
    methods=None,
    *,
    fiducials=None,
    hotspot_mm=None,
    peak_map=None,
    distance_mm=4.0,
    search=None,
    didt=1e6,
    element_order=None,
    out_dir=None,
    progress=None,
):
    """Compare ways of finding a target: where each puts the coil and what that costs.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
    coil : Coil, str or path
    target : Target, str or (x, y, z)
    methods : sequence of str, optional
        Names in :data:`efield.targeting.METHODS`; by default all of them.
    fiducials : Fiducials, optional
        By default those that the head brings.
    hotspot_mm : (3,) array, optional
        Motor hotspot on the scalp; by default the scalp over the hand area of M1.
    peak_map : PeakMap, optional
        For the method ``map-peak``.
    distance_mm : float
        Coil origin to scalp, the same for every method.
    search : Search, optional
        Of the optimisation; by default its own, made wide enough for the published noise.
    didt : float
        A/s.
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.
    out_dir : path, optional
        Where to save the table and the picture; checked before anything is computed.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    TargetingComparison
        One row a method, in the order asked for. A method that cannot be applied says why in its row,
        and the others are compared all the same.

    Raises
    ------
    EfieldError
        The head, the coil or the target cannot be used, or no method has that name.
    """
    if out_dir is not None:
        check_output(out_dir)
    names = list(METHODS if methods is None else methods)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise PlacementError(
            f"unknown targeting methods: {', '.join(unknown) or 'none given'}; valid: {', '.join(METHODS)}"
        )
    report = progress or (lambda stage, fraction: None)
    start = time.perf_counter()
    report("load", 0.0)
    case = TargetingCase(
        head,
        target,
        coil,
        fiducials,
        hotspot_mm,
        peak_map,
        distance_mm,
        search,
        didt,
        element_order,
        progress,
    )
    region = case.region
    aims = {}
    for done, name in enumerate(n for n in names if n not in SEARCHED):
        report("targeting", done / len(names))
        aims[name] = _try(name, case)
    report("setup", 0.0)
    case = dataclasses.replace(case, head=case.prepared, search=search or _wide_enough(case, aims))
    optimum = case.optimum
    aims |= {name: _try(name, case) for name in names if name in SEARCHED}
    searched = time.perf_counter()

    placed = [name for name in names if not isinstance(aims[name], EfieldError)]
    placements = [optimum.placement, *(aims[name].placement for name in placed)]
    measured = []
    for begin in range(0, len(placements), AT_ONCE):
        report("fields", begin / len(placements))
        batch = placements[begin : begin + AT_ONCE]
        measured += [_measure(case, f) for f in simulate(case.prepared, case.coil, batch, didt=didt)]
    best, *found = measured
    landing = Landing(optimum, case)
    rows = {
        name: _row(name, case, aims[name], numbers, best, landing)
        for name, numbers in zip(placed, found, strict=True)
    }
    comparison = TargetingComparison(
        rows=tuple(rows.get(name) or _failed(name, aims[name]) for name in names),
        target=region.summary(),
        didt=case.didt,
        warnings=tuple(_warnings(case, optimum)),
        timings={"search": searched - start, "total": time.perf_counter() - start},
        provenance=provenance(
            case.model,
            case.coil,
            element_order=case.prepared.element_order,
            files=_files(case, placed),
            target=region.name,
            distance_mm=distance_mm,
            search=dataclasses.asdict(case.search),
            landmarks=_landmarks(case),
            optimum_matsimnibs=optimum.placement.matsimnibs.tolist(),
        ),
    )
    if out_dir is not None:
        comparison.save(out_dir)
    return comparison


def _try(name, case):
    """What a method found, or why it did not."""
    try:
        found = aim(name, case)
        require_outside(case.model, case.coil, found.placement)
        return found
    except EfieldError as error:
        return error


def _wide_enough(case, aims):
    """A search that reaches as far as the noise of the methods that have some."""
    centre = case.model.scalp.closest(case.region.center_mm)[0][0]
    reach = Search().radius_mm
    for name, found in aims.items():
        noise = METHODS[name].noise
        if noise is not None and not isinstance(found, EfieldError):
            away = np.linalg.norm(case.scalp_under(found.placement) - centre)
            reach = max(reach, away + noise.reach_mm)
    return Search(radius_mm=min(float(np.ceil(reach)), LARGEST_RADIUS_MM))


def _measure(case, field):
    """Numbers of one field."""
    head, info = case.model, describe_placement(case.model, field.placement)
    volumes, magnitude = head.mesh.volumes_mm3, field.magnitude
    metrics = field_metrics(head, magnitude, case.region.elements)
    outside = head.tags == TISSUE_TAGS["grey_matter"]
    outside[case.region.elements] = False
    off_target = None
    if np.count_nonzero(outside) >= MIN_PEAK_ELEMENTS:
        off_target = weighted_percentile(magnitude[outside], volumes[outside], PEAK_PERCENTILE)
    weights = case.region.volumes_mm3 / case.region.volumes_mm3.sum()
    return {
        "placement": info,
        "mean": metrics["mean"],
        "p99": metrics["p99"],
        "half_value_volume_mm3": metrics["half_value_volume_mm3"],
        "off_target": off_target,
        "coil_cortex_mm": scalp_cortex_distance_mm(head, info["center_mm"]),
        "of_mean": float(np.linalg.norm(weights @ field.E[case.region.elements])),
    }


def _row(name, case, found, numbers, best, landing):
    of_mean = numbers.pop("of_mean")
    noise = METHODS[name].noise
    landed = landing.of(numbers["placement"], noise)
    there, optimum = numbers["placement"]["scalp_mm"], best["placement"]["scalp_mm"]
    same = np.allclose(numbers["placement"]["matsimnibs"], best["placement"]["matsimnibs"])
    loss = None if landed is None else 100 * (1 - landed.mean / of_mean)
    return {
        "method": name,
        "summary": METHODS[name].summary,
        "measured": found.measured,
        "error": None,
        **numbers,
        "to_optimum_mm": 0.0 if same else geodesic(case.model.scalp, there, optimum).length_mm,
        "percent_of_optimum": 100 * numbers["mean"] / best["mean"],
        "expected_loss_percent": loss,
        "probability_optimum_better": None if same else landing.optimum_beats(landed, of_mean),
        "noise": None if noise is None else dataclasses.asdict(noise),
    }


def _failed(name, error):
    row = {"method": name, "summary": METHODS[name].summary, "measured": None, "error": str(error)}
    return row | {"placement": None, "noise": None} | {key: None for key, _, _ in COLUMNS}


def _files(case, placed):
    """Files that the target and the placements depend on."""
    maps = case.peak_map.files if "map-peak" in placed else ()
    try:
        return (*case.region.files, *case.ten_ten.fiducials.files, *maps)
    except EfieldError:
        return (*case.region.files, *maps)


def _landmarks(case):
    try:
        return case.ten_ten.fiducials.source
    except EfieldError as error:
        return f"none: {error}"


def _warnings(case, optimum):
    yield from (w for w in optimum.warnings if w.code in ("target_moved", "edge_of_search", "coil_coverage"))
    if case.model.space == "mni":
        yield ResultWarning(
            "template",
            "this is a template head: differences between methods are those of one head, no person's",
        )
