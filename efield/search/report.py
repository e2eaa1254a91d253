"""The result of a run, and its warnings."""

from dataclasses import asdict

import numpy as np

from efield.metrics import field_metrics
from efield.model.coverage import coverage_gap
from efield.results.parts import Candidates, ObjectiveValue, ResultWarning
from efield.results.provenance import provenance
from efield.results.result import OptimizeResult
from efield.results.scene import Scene
from efield.search.constraints import clearance_mm, tilt_deg
from efield.search.evaluate import TRUSTED
from efield.search.run import EXTERIOR_TRUSTED

SMALL_TARGET_MM = 10.5
"""Targets whose elements lie this near to their common centre count as up to 10 mm in radius."""

FAR_MM = 60.0
"""Distance of target and coil origin from which a coil stimulates other cortex first."""

OPERATOR_WARN_ABOVE = {"small": 5e-3, "large": 1e-2}
"""Error of the target operator that calls for a warning, for targets up to 10 mm and beyond."""


def make_result(run, found, best, n_best, field, check, spread, certificate, mesh_error):
    """Gather what one run found into an :class:`OptimizeResult`.

    Parameters
    ----------
    run : Run
    found : Found
    best : tuple of BestPlacement
        All that were judged; the first `n_best` are kept.
    n_best : int
    field : Field
        At the optimum.
    check : Check or None
    spread : Robustness
    certificate : Certificate or None
    mesh_error : Discretization or None
    """
    top = best[0]
    grid_best = float(found.values.max())
    metrics = field_metrics(
        run.head,
        field.magnitude,
        run.region.elements,
        scalp_mm=top.info["scalp_mm"],
        tilt_deg=_tilt(run, top),
        clearance_mm=clearance_mm(run.head.scalp, run.coil, top.placement.matsimnibs),
    )
    return OptimizeResult(
        placement=top.placement,
        placement_info=top.info,
        objective=ObjectiveValue(run.objective_name, top.value, run.goal.unit),
        didt=run.didt,
        target=run.region.summary(),
        metrics=metrics,
        candidates=Candidates(
            scalp_mm=found.grid.points_mm,
            normals=found.grid.normals,
            yaw_deg=found.yaw_deg,
            values=np.where(found.feasible, found.values, np.nan),
            feasible=found.feasible,
            distance_mm=run.constraints.distance_mm + found.lift_mm,
        ),
        best=best[:n_best],
        check=check,
        search={
            "n_positions": len(np.unique(found.grid.points_mm, axis=0)),
            "n_yaw": len(found.yaw_deg),
            "n_placements": int(found.feasible.sum()),
            "radius_mm": found.grid.radius_mm,
            "spacing_mm": found.grid.spacing_mm,
            "center_mm": found.grid.center_mm.tolist(),
            "grid_best": grid_best,
            "refined_gain": max(b.search_value for b in best[:n_best]) / grid_best - 1.0,
            "lift_mm": [float(found.lift_mm.min()), float(found.lift_mm.max())],
            "polished": _polish_words(run, found),
            "exterior_error": found.model.error,
            "exterior_error_height_mm": found.model.error_height_mm,
            "yaw_error": found.yaw_error,
            **_operator_facts(found.operator),
            "avoid": _off_target_facts(run, top),
        },
        robustness=spread.as_dict(),
        certificate=None if certificate is None else certificate.as_dict(),
        discretization=None if mesh_error is None else mesh_error.as_dict(),
        warnings=tuple(_warnings(run, found, top, check, metrics)),
        timings=run.clock.total(),
        provenance=provenance(
            run.head,
            run.coil,
            element_order=run.prepared.element_order,
            files=(*run.region.files, *(file for a in run.avoided for file in a.region.files)),
            target=run.region.name,
            search=asdict(run.search),
            constraints=asdict(run.constraints),
            objective=run.objective_name,
            adjoint_residual=run.currents.residual.max(),
            forward_residual=field.residual,
        ),
        field=field,
        scene=Scene.of(run.coil, run.region.elements),
    )


def _tilt(run, best):
    """Tilt of a placement, degrees; None where its axis misses the scalp."""
    if best.info["scalp_mm"] is None:
        return None
    return tilt_deg(run.head.scalp, best.placement.matsimnibs, np.array(best.info["scalp_mm"]))


def _off_target_facts(run, best):
    """The regions to avoid, with what is measured there at the optimum; empty without any."""
    values = best.info.get("off_target", [])
    return [{**a.summary(), "value": v} for a, v in zip(run.avoided, values, strict=True)]


def _polish_words(run, found):
    if not run.search.refine:
        return "not polished"
    return "with exact gradients" if found.goal.smooth else "without derivatives"


def _operator_facts(operator):
    """Size and error of the target operator; all null where the mean field decides the objective."""
    return {
        "operator_error": None if operator is None else operator.error,
        "operator_modes": None if operator is None else operator.field.n_functionals,
        "operator_snapshots": None if operator is None else operator.n_snapshots,
        "operator_unseen": None if operator is None else operator.n_unseen,
    }


def _warnings(run, found, best, check, metrics):
    yield from _far_warning(run, best, metrics)
    if gap := coverage_gap(run.head, run.coil, best.placement):
        yield ResultWarning("coil_coverage", gap)
    if found.on_edge:
        yield _edge_warning(found.grid)
    if run.region.moved_mm > 0:
        yield ResultWarning(
            "target_moved",
            f"the target's centre was moved {run.region.moved_mm:.1f} mm to reach its tissue",
        )
    if found.model.error > EXTERIOR_TRUSTED:
        yield ResultWarning(
            "exterior_error",
            f"the exterior field model errs by {found.model.error:.1e} (rms) at "
            f"{found.model.error_height_mm:.1f} mm above the scalp; the reported values are forward "
            f"solutions, the grid's {found.grid_source}",
        )
    if found.yaw_error > TRUSTED:
        yield ResultWarning(
            "exact_path",
            f"the yaw expansion errs by {found.yaw_error:.1e} of the largest value for this coil; "
            "every dipole was summed at every placement instead",
        )
    if not run.keeps(best.info.get("off_target", [])):
        yield ResultWarning(
            "avoid_limit",
            f"by the forward solution the optimum breaks a limit: {best.info['off_target']} V/m; "
            "no placement found keeps it, see search.avoid",
        )
    if found.operator is not None:
        yield from _operator_warning(run, found.operator)
    if check is not None and abs(check.relative_difference) > check.warn_above:
        yield ResultWarning(
            "check",
            f"forward and reciprocity values differ by {check.relative_difference:.1e}; "
            "look at the mesh with `efield head check`",
        )


def _far_warning(run, best, metrics):
    centre = run.volumes @ run.head.mesh.barycentres_mm[run.region.elements] / run.volumes.sum()
    distance = np.linalg.norm(centre - best.placement.matsimnibs[:3, 3])
    if distance > FAR_MM:
        share = metrics["target_peak_ratio"]
        of_peak = "" if share is None else f", {100 * share:.0f} % of the peak in grey matter"
        yield ResultWarning(
            "far_target",
            f"the target lies {distance:.0f} mm from the coil (more than {FAR_MM:g}): its mean |E| is "
            f"{metrics['mean']:.3g} V/m{of_peak}; this is the best within the search and its constraints",
        )


def _operator_warning(run, operator):
    centres = run.head.mesh.barycentres_mm[run.region.elements]
    centre = run.volumes @ centres / run.volumes.sum()
    reach = np.linalg.norm(centres - centre, axis=1).max()
    limit = OPERATOR_WARN_ABOVE["small" if reach <= SMALL_TARGET_MM else "large"]
    if operator.error > limit:
        yield ResultWarning(
            "operator_error",
            f"the search values of {run.goal.name} err by up to {operator.error:.1e} (wanted {limit:g}); "
            "the reported values are forward solutions, but a better placement may have been passed over",
        )


def _edge_warning(grid):
    return ResultWarning(
        "edge_of_search",
        f"the optimum lies on the edge of the search region ({grid.radius_mm:g} mm, extended once); "
        "enlarge the search radius, or check the target",
    )
