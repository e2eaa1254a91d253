"""From a head, a coil and a target to the best placement."""

import time
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np

from efield.adjoint.current import adjoint_currents
from efield.adjoint.exterior import fit_harmonic
from efield.adjoint.spline import SPACING_MM, CoilExtent, SplineField, closeness
from efield.errors import SearchError
from efield.fem.source import dipoles_in_head
from efield.forward import check_didt, solve_potentials
from efield.frames import yaw_to_midline
from efield.metrics import field_metrics
from efield.model.coils import load_coil
from efield.model.heads import load_head
from efield.model.placement import Placement, describe_placement
from efield.model.target import as_target
from efield.results.outputs import check_output
from efield.results.parts import BestPlacement, Candidates, Check, ObjectiveValue, ResultWarning
from efield.results.provenance import provenance
from efield.results.result import OptimizeResult
from efield.search.candidates import Search, scalp_grid
from efield.search.constraints import CONTACT_MM, Constraints, clearance_mm, feasible_grid
from efield.search.evaluate import TRUSTED, functionals_over_yaw
from efield.search.objectives import make_objective
from efield.search.polish import ScalpChart, polish
from efield.solve.prepared import BLOCK, PreparedHead, prepare
from efield.units import to_mm

CHECK_WARN_ABOVE = 1e-3
"""Relative difference of forward and reciprocity that calls for a warning."""

EXTERIOR_TRUSTED = 5e-4
"""Relative error of the exterior model at held-out points above which the grid is summed directly."""

EXTENSION = 1.5
"""Factor on the search radius when the optimum lies on its edge; applied once."""

JUDGED = 10
"""Placements that are solved forward at least, so that few asked for do not change the best."""

DISTINCT_MM, DISTINCT_DEG = 8.0, 30.0
"""Placements closer than both of these count as one."""

TIE = 1e-5
"""Relative difference under which two placements tie; the handle-posterior one wins."""


def optimize_coil(
    head,
    coil,
    target,
    *,
    objective="mean_magnitude",
    direction=None,
    search=None,
    constraints=None,
    avoid=None,
    robust=None,
    didt=1e6,
    element_order=1,
    verify=True,
    n_best=10,
    out_dir=None,
    progress=None,
):
    """Find the coil placement that maximises the field in a target.

    Adjoint solves for the mean field of the target give, by reciprocity, the value of every
    placement from the coil's dipoles alone; the best of the grid are polished continuously
    with exact gradients and judged by forward solves.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
    coil : Coil, str or path
    target : Target, str or (x, y, z)
        A target, a name of the registry, or a point in mm in the head's own space (5 mm ball).
    objective : {"mean_magnitude", "magnitude_of_mean", "directional"}
        Volume-weighted mean of |E|, |mean of E|, or mean of E along `direction`. The first is
        searched through the second and decided among the best by forward solves.
    direction : (3,) array, optional
        For "directional".
    search : Search, optional
    constraints : Constraints, optional
    avoid, robust : None
        Reserved for off-target limits and placement noise; not available in this version.
    didt : float
        Rate of change of the coil current, A/s; values scale with it.
    element_order : {1}
    verify : bool
        Compare the optimum's forward field with its reciprocity value.
    n_best : int
        Distinct placements to keep.
    out_dir : path, optional
        Where to save the result; checked before anything is computed.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    OptimizeResult

    Raises
    ------
    EfieldError
        Unusable input, see the tree in :mod:`efield.errors`; nothing is written then.
    """
    if out_dir is not None:
        check_output(out_dir)
    for name, value in (("avoid", avoid), ("robust", robust)):
        if value is not None:
            raise SearchError(f"{name} is not available in this version of efield; leave it out")
    goal = make_objective(objective, direction)
    search, constraints = search or Search(), constraints or Constraints()
    if not isinstance(n_best, int | np.integer) or n_best < 1:
        raise SearchError(f"n_best must be a whole number of at least 1, not {n_best!r}")
    didt = check_didt(didt)
    if didt == 0:
        raise SearchError("didt must not be 0: every placement would have the value 0")
    clock = _Clock(progress)
    with clock.stage("load"):
        coil = load_coil(coil)
        if not isinstance(head, PreparedHead):
            head = load_head(head)
        model = getattr(head, "head", head)
        region = as_target(target).resolve(model)
    with clock.stage("setup"):
        prepared = prepare(head, element_order=element_order)
    volumes = region.volumes_mm3 * 1e-9
    with clock.stage("adjoint"):
        currents = adjoint_currents(prepared, region.elements, goal.weights(volumes))

    run = _Run(prepared, coil, region, goal, search, constraints, didt, currents, clock)
    found = run.search_grid(search.radius_mm)
    warnings = []
    if found.on_edge:
        found = run.search_grid(EXTENSION * search.radius_mm)
        if found.on_edge:
            warnings.append(_edge_warning(found.grid))
    count = max(n_best, JUDGED)
    with clock.stage("refine"):
        chosen = run.refine(found, count) if search.refine else run.grid_placements(found, count)
    with clock.stage("check"):
        best, field = run.judge(chosen)
        check = run.check(field) if verify else None
    result = run.result(found, best[:n_best], field, check, warnings)
    if out_dir is not None:
        result.save(out_dir)
    return result


class _Clock:
    """Seconds per stage, and the caller's progress callback."""

    def __init__(self, progress):
        self._progress = progress
        self._start = time.perf_counter()
        self.timings = {}

    @contextmanager
    def stage(self, name):
        self.report(name, 0.0)
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
        self.report(name, 1.0)

    def report(self, name, fraction):
        if self._progress is not None:
            self._progress(name, fraction)

    def total(self):
        return {**self.timings, "total": time.perf_counter() - self._start}


class _Found:
    """Outcome of one grid search."""

    def __init__(self, grid, field, model, poses, values, feasible, yaw_error):
        self.grid, self.field, self.model, self.poses = grid, field, model, poses
        self.yaw_error = yaw_error
        self.values = np.where(feasible, values, -np.inf)
        self.feasible = feasible
        self.on_edge = grid.near_edge(grid.points_mm[self.values.max(axis=1).argmax()])

    @property
    def grid_source(self):
        """What the grid's values come from where the exterior model is not trusted, in words."""
        if self.yaw_error <= TRUSTED:
            return "were summed directly; only the polish used the model"
        return "carry the model's error: this coil has no yaw expansion to sum directly"


class _Run:
    """What the stages of one optimization share."""

    def __init__(self, prepared, coil, region, goal, search, constraints, didt, currents, clock):
        self.prepared, self.head, self.coil, self.region = prepared, prepared.head, coil, region
        self.goal, self.search, self.constraints, self.didt = goal, search, constraints, didt
        self.currents, self.clock = currents, clock
        self.volumes = region.volumes_mm3 * 1e-9

    def search_grid(self, radius_mm):
        """Fit the exterior field over a region and evaluate every placement in it."""
        scalp, limits = self.head.scalp, self.constraints
        center = self.search.center_mm or self.region.center_mm
        grid = scalp_grid(scalp, center, radius_mm, self.search.spacing_mm)
        poses = grid.base_poses(limits.distance_mm)
        yaw_deg = self.search.yaw_deg
        with self.clock.stage("exterior"):
            extent = CoilExtent.of(self.coil)
            model = fit_harmonic(
                self.currents,
                scalp,
                grid.center_mm,
                radius_mm,
                check_height_mm=limits.distance_mm - to_mm(extent.high),
            )
            self.clock.report("exterior", 0.5)
            field = SplineField.over(
                model,
                extent,
                poses[:, :3, 3],
                poses[:, :3, 2],
                spacing_mm=SPACING_MM[closeness(extent, limits.distance_mm)],
            )
        with self.clock.stage("search"):
            feasible = feasible_grid(self.head, self.coil, poses, yaw_deg, limits)
            if not feasible.any():
                raise SearchError(
                    f"none of {feasible.size} placements keeps {limits.min_clearance_mm:g} mm off the scalp "
                    f"and within yaw_range_deg={limits.yaw_range_deg}; relax the constraints or raise "
                    f"distance_mm={limits.distance_mm:g}"
                )
            functionals, yaw_error = functionals_over_yaw(
                field,
                self.coil,
                poses,
                yaw_deg,
                self.didt,
                direct=None if model.error <= EXTERIOR_TRUSTED else self.currents,
                progress=lambda fraction: self.clock.report("search", fraction),
            )
        values = self.goal.of_functionals(functionals)
        return _Found(grid, field, model, poses, values, feasible, yaw_error)

    def grid_placements(self, found, count):
        """(pose, search value) of the best distinct grid placements."""
        picks = _distinct_maxima(found, self.search.yaw_deg, count)
        return [(_turned(found.poses[i], self.search.yaw_deg[j]), found.values[i, j]) for i, j in picks]

    def refine(self, found, count):
        """(pose, search value) of the best distinct placements, polished."""
        polished = []
        picks = _distinct_maxima(found, self.search.yaw_deg, count)
        for done, (i, j) in enumerate(picks):
            start = (_turned(found.poses[i], self.search.yaw_deg[j]), found.values[i, j])
            if _is_local_maximum(found, i, j):
                polished.append(self._polished(found, i, j, start))
            else:
                polished.append(start)
            self.clock.report("refine", (done + 1) / len(picks))
        return _distinct(polished)

    def _polished(self, found, i, j, start):
        pose, value = polish(
            found.field,
            self.coil,
            self.goal,
            ScalpChart.at(self.head.scalp, found.grid.points_mm[i], self.constraints.distance_mm),
            np.radians(self.search.yaw_deg[j]),
            didt=self.didt,
            reach_mm=2 * self.search.spacing_mm,
            yaw_reach=np.radians(max(10.0, 2 * self.search.yaw_step_deg)),
            allowed=lambda pose, point: self._allowed(found.grid, pose, point),
        )
        return start if value < start[1] else (pose, value)

    def _allowed(self, grid, pose, point):
        inside = np.linalg.norm(point - grid.center_mm) <= grid.radius_mm
        if not inside or not self.constraints.allows_yaw(yaw_to_midline(pose)):
            return False
        least = self.constraints.min_clearance_mm - CONTACT_MM
        return clearance_mm(self.head.scalp, self.coil, pose) >= least

    def judge(self, chosen):
        """The chosen placements, best first by the objective itself, and the winner's field."""
        placements = [Placement(pose) for pose, _ in chosen]
        values, batches = [], []
        for start in range(0, len(placements), BLOCK):
            batch = solve_potentials(self.prepared, self.coil, placements[start : start + BLOCK], self.didt)
            values += [self.value_of(batch.on_elements(k, self.region.elements)) for k in batch.columns]
            batches += [(batch, k) for k in batch.columns]
            self.clock.report("check", len(values) / len(placements))
        order = _ranked(values, placements)
        best = [
            BestPlacement(
                placement=placements[i],
                info=describe_placement(self.head, placements[i]),
                value=values[i],
                search_value=float(chosen[i][1]),
            )
            for i in order
        ]
        batch, k = batches[order[0]]
        return tuple(best), batch.field(k, placements[order[0]])

    def value_of(self, e_field):
        """The objective of E on the target's elements, V/m."""
        return self.goal.of_field(e_field, self.volumes)

    def check(self, field):
        """Forward functionals against reciprocity by direct summation."""
        positions, moments = dipoles_in_head(self.coil, field.placement)
        reciprocal = self.currents.coil_functionals(positions, moments * self.didt)
        e_field = field.E[self.region.elements]
        forward = self.goal.functionals(e_field, self.volumes)
        difference = float(np.linalg.norm(forward - reciprocal) / np.linalg.norm(forward))
        return Check(
            forward_value=self.value_of(e_field), relative_difference=difference, warn_above=CHECK_WARN_ABOVE
        )

    def result(self, found, best, field, check, warnings):
        top = best[0]
        warnings = [*warnings, *self._warnings(found, check)]
        grid_best = float(found.values.max())
        return OptimizeResult(
            placement=top.placement,
            placement_info=top.info,
            objective=ObjectiveValue(self.goal.name, top.value),
            didt=self.didt,
            target=self.region.summary(),
            metrics=field_metrics(
                self.head,
                field.magnitude,
                self.region.elements,
                scalp_mm=top.info["scalp_mm"],
                tilt_deg=0.0,
                clearance_mm=clearance_mm(self.head.scalp, self.coil, top.placement.matsimnibs),
            ),
            candidates=Candidates(
                scalp_mm=found.grid.points_mm,
                normals=found.grid.normals,
                yaw_deg=self.search.yaw_deg,
                values=np.where(found.feasible, found.values, np.nan),
                feasible=found.feasible,
            ),
            best=best,
            check=check,
            search={
                "n_positions": len(found.grid.points_mm),
                "n_yaw": len(self.search.yaw_deg),
                "n_placements": int(found.feasible.sum()),
                "radius_mm": found.grid.radius_mm,
                "spacing_mm": found.grid.spacing_mm,
                "center_mm": found.grid.center_mm.tolist(),
                "searched_as": self.goal.searched_as,
                "grid_best": grid_best,
                "refined_gain": max(b.search_value for b in best) / grid_best - 1.0,
                "exterior_error": found.model.error,
                "exterior_error_height_mm": found.model.error_height_mm,
                "yaw_error": found.yaw_error,
            },
            warnings=tuple(warnings),
            timings=self.clock.total(),
            provenance=provenance(
                self.head,
                self.coil,
                target=self.region.name,
                search=asdict(self.search),
                constraints=asdict(self.constraints),
                objective=self.goal.name,
                adjoint_residual=self.currents.residual.max(),
                forward_residual=field.residual,
            ),
            field=field,
        )

    def _warnings(self, found, check):
        if self.region.moved_mm > 0:
            yield ResultWarning(
                "target_moved",
                f"the target's centre was moved {self.region.moved_mm:.1f} mm to reach its tissue",
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
        if check is not None and abs(check.relative_difference) > check.warn_above:
            yield ResultWarning(
                "check",
                f"forward and reciprocity values differ by {check.relative_difference:.1e}; "
                "look at the mesh with `efield head check`",
            )


def _edge_warning(grid):
    return ResultWarning(
        "edge_of_search",
        f"the optimum lies on the edge of the search region ({grid.radius_mm:g} mm, extended once); "
        "enlarge the search radius, or check the target",
    )


def _turned(base, yaw_deg):
    angle = np.radians(yaw_deg)
    pose = base.copy()
    pose[:3, 0] = np.cos(angle) * base[:3, 0] + np.sin(angle) * base[:3, 1]
    pose[:3, 1] = np.cos(angle) * base[:3, 1] - np.sin(angle) * base[:3, 0]
    return pose


def _distinct_maxima(found, yaw_deg, count):
    """Indices (position, yaw) of the best placements, each distinct from the ones before."""
    values = found.values.copy()
    picks = []
    while len(picks) < count:
        i, j = np.unravel_index(np.argmax(values), values.shape)
        if not np.isfinite(values[i, j]):
            break
        picks.append((int(i), int(j)))
        near = np.linalg.norm(found.grid.points_mm - found.grid.points_mm[i], axis=1) < DISTINCT_MM
        turn = np.abs((yaw_deg - yaw_deg[j] + 180.0) % 360.0 - 180.0) < DISTINCT_DEG
        values[np.ix_(near, turn)] = -np.inf
    return picks


def _is_local_maximum(found, i, j):
    """Whether no neighbour on the grid, in position or yaw, has a larger value."""
    near = np.linalg.norm(found.grid.points_mm - found.grid.points_mm[i], axis=1)
    near = near < 1.6 * found.grid.spacing_mm
    around = found.values[near][:, [j - 1, j, (j + 1) % found.values.shape[1]]]
    return bool(around.max() <= found.values[i, j])


def _distinct(chosen):
    """Drop polished placements that ran into one already kept, best first."""
    kept = []
    for pose, value in sorted(chosen, key=lambda item: -item[1]):
        if all(not _same(pose, other) for other, _ in kept):
            kept.append((pose, value))
    return kept


def _same(pose, other):
    apart = np.linalg.norm(pose[:3, 3] - other[:3, 3])
    return apart < 0.25 * DISTINCT_MM and pose[:3, 1] @ other[:3, 1] > np.cos(np.radians(DISTINCT_DEG / 4))


def _ranked(values, placements):
    """Indices by falling value; of those that tie with the best, handle-posterior first."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    top = values[order[0]]
    tied = [i for i in order if top - values[i] <= TIE * abs(top)]
    tied.sort(key=lambda i: (abs(placements[i].yaw_to_midline_deg) > 90.0, order.index(i)))
    return tied + [i for i in order if i not in tied]
