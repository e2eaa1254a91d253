"""The stages of one optimization: grid, exact search, polish, forward judgement."""

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from efield.adjoint.current import adjoint_currents
from efield.adjoint.exterior import FitLayout
from efield.adjoint.spline import SPACING_MM, CoilExtent, SplineField, closeness
from efield.adjoint.yaw import YawExpansion
from efield.errors import SearchError
from efield.fem.source import dipoles_in_head
from efield.forward import DEFAULT_RTOL, check_didt, known_fields, solve_potentials
from efield.model.coils import load_coil
from efield.model.heads import load_head
from efield.model.placement import Placement, describe_placement
from efield.model.target import as_target
from efield.results.parts import BestPlacement, Check
from efield.search.candidates import ScalpGrid, scalp_grid
from efield.search.constraints import HIGHEST_MM, FeasibleSet, Places
from efield.search.evaluate import TRUSTED, functionals_over_yaw
from efield.search.maxima import blocks_of_turns, distinct, distinct_maxima, is_local_maximum, ranked, turned
from efield.search.operator import build_operator, every_nth, grid_values, relative_errors
from efield.search.polish import ScalpChart, polish
from efield.solve.prepared import PreparedHead, prepare
from efield.units import point_words, to_mm

CHECK_WARN_ABOVE = 1e-3
"""Relative difference of forward and reciprocity that calls for a warning."""

EXTERIOR_TRUSTED = 5e-4
"""Relative error of the exterior model at held-out points above which the grid is summed directly."""

JUDGED_RTOL = {1: DEFAULT_RTOL, 2: 1e-5}
"""Relative residual of the placements that are ranked, by order of the elements.

At second order, where each takes long; there a value moved by 1e-7 (`mni152`)."""

EXTENSION = 1.5
"""Factor on the search radius when the optimum lies on its edge; applied once."""

LEANS = 8
"""Directions of tilt that the exterior field is made to hold."""

FREE_REACH_MM, FREE_REACH_DEG = 8.0, 30.0
"""How far the polish may move a coil that may tilt or was lifted: the grid knows it less well."""


@dataclass(frozen=True, eq=False)
class Found:
    """Outcome of one grid search.

    Attributes
    ----------
    grid : ScalpGrid
    poses : (n, 4, 4) array
        At yaw 0.
    lift_mm : (n,) array
        How far beyond the smallest distance each is lifted to keep the clearance.
    yaw_deg : (n_yaw,) array
    functionals : (n, n_yaw, k) array
        Of the mean field.
    values : (n, n_yaw) array
        Search value; -inf where not feasible.
    feasible : (n, n_yaw) bool array
    field : SplineField or JointField
    goal : Objective or ModeObjective
        What `field`'s functionals are worth.
    exterior : Exterior
    model : HarmonicField
        Exterior model of the mean field.
    yaw_error : float
    operator : TargetOperator or None
        Where the objective needs the element fields.
    off_target : (n, n_yaw, n_avoided) array or None
        What is measured in the regions to avoid.
    """

    grid: ScalpGrid
    poses: np.ndarray
    lift_mm: np.ndarray
    yaw_deg: np.ndarray
    functionals: np.ndarray
    values: np.ndarray
    feasible: np.ndarray
    field: object
    goal: object
    exterior: object
    model: object
    yaw_error: float
    operator: object = None
    off_target: np.ndarray | None = None

    @property
    def models(self):
        """Exterior models of everything that `goal` takes, one after the other."""
        return (self.model,) if self.operator is None else self.operator.models

    @property
    def on_edge(self):
        """Whether the best placement lies on the edge of the search region."""
        return self.grid.near_edge(self.grid.points_mm[self.values.max(axis=1).argmax()])

    @property
    def grid_source(self):
        """What the grid's values come from where the exterior model is not trusted, in words."""
        if self.yaw_error <= TRUSTED and self.operator is None:
            return "were summed directly; only the polish used the model"
        if self.yaw_error <= TRUSTED:
            return "carry its error beside the mean field, which was summed directly"
        return "carry the model's error: this coil has no yaw expansion to sum directly"


@dataclass(frozen=True, eq=False)
class Exterior:
    """Exterior models and splines over one grid, for any functionals.

    Attributes
    ----------
    coil : Coil
    layout : FitLayout
    extent : CoilExtent
    poses : (n, 4, 4) array
        On the grid.
    reached : (m, 4, 4) array
        Those that the splines hold.
    spacing_mm : float
    """

    coil: object
    layout: FitLayout
    extent: CoilExtent
    poses: np.ndarray
    reached: np.ndarray
    spacing_mm: float

    @classmethod
    def over(cls, run, grid, poses):
        """For the coil of a run at the poses of a grid."""
        height = run.dipole_height_mm
        layout = FitLayout.over(run.head.scalp, grid.center_mm, grid.radius_mm, check_height_mm=height)
        spacing = SPACING_MM[closeness(height)]
        return cls(run.coil, layout, CoilExtent.of(run.coil), poses, run.leaning(poses), spacing)

    @cached_property
    def expansion(self):
        """The coil's :class:`YawExpansion` for the fields of these charges."""
        return YawExpansion.of(self.coil, self.layout.charges, self.poses)

    def of(self, currents):
        """Harmonic model of some currents and its spline."""
        model = self.layout.fit(currents)
        centres, axes = self.reached[:, :3, 3], self.reached[:, :3, 2]
        return model, SplineField.over(model, self.extent, centres, axes, spacing_mm=self.spacing_mm)


class Run:
    """What the stages of one optimization share."""

    def __init__(self, prepared, coil, region, goal, search, constraints, didt, clock, avoided=()):
        self.prepared, self.head, self.coil, self.region = prepared, prepared.head, coil, region
        self.goal, self.search, self.constraints, self.didt = goal, search, constraints, didt
        self.clock, self.avoided = clock, avoided
        self.volumes = region.volumes_mm3 * 1e-9
        with clock.stage("adjoint"):
            self.currents = adjoint_currents(prepared, region.elements, goal.weights(self.volumes))

    def with_(self, **changes):
        """The run with another coil, search, constraints or didt; the adjoint currents are shared."""
        new = copy(self)
        for name, value in changes.items():
            setattr(new, name, value)
        new.__dict__.pop("dipole_height_mm", None)
        return new

    @property
    def objective_name(self):
        """Name of what is maximised."""
        off = [f" - {a.weight:g} x {a.name} in {a.region.name}" for a in self.avoided if a.weight > 0]
        return "".join([self.goal.name, *off])

    def explore(self):
        """Search the grid, once more with a larger radius where the optimum lies on its edge."""
        found = self.search_grid(self.search.radius_mm)
        if not found.on_edge:
            found = self.on_elements(found)
        if found.on_edge:
            found = self.on_elements(self.search_grid(EXTENSION * self.search.radius_mm))
        return found

    def search_grid(self, radius_mm):
        """Evaluate the mean field's functionals at every placement of a region."""
        yaw_deg = self.search.yaw_deg
        with self.clock.stage("places"):
            grid, lift, feasible = self.places(radius_mm, yaw_deg)
        poses = grid.base_poses(self.constraints.distance_mm + lift)
        with self.clock.stage("exterior"):
            exterior = Exterior.over(self, grid, poses)
            model, field = exterior.of(self.currents)
        with self.clock.stage("search"):
            functionals, yaw_error = functionals_over_yaw(
                field,
                self.coil,
                exterior.expansion,
                poses,
                yaw_deg,
                self.didt,
                direct=None if model.error <= EXTERIOR_TRUSTED else self.currents,
                progress=lambda fraction: self.clock.report("search", fraction),
            )
        return Found(
            grid=grid,
            poses=poses,
            lift_mm=lift,
            yaw_deg=yaw_deg,
            functionals=functionals,
            values=np.where(feasible, self.goal.of_functionals(functionals), -np.inf),
            feasible=feasible,
            field=field,
            goal=self.goal,
            exterior=exterior,
            model=model,
            yaw_error=yaw_error,
        )

    def places(self, radius_mm, yaw_deg):
        """The grid of a region, how far each of its places is lifted, and its feasible yaw angles.

        Raises
        ------
        SearchError
            Nothing is left of the region.
        """
        limits = self.constraints
        center = self.search.center_mm or self.region.center_mm
        grid = scalp_grid(self.head.scalp, center, radius_mm, self.search.spacing_mm)
        kept = np.flatnonzero(~limits.excludes(grid.points_mm))
        if len(kept) == 0:
            raise SearchError(
                f"exclude={limits.exclude} leaves none of the {len(grid.points_mm)} scalp points within "
                f"{radius_mm:g} mm of {point_words(grid.center_mm)} mm; shrink the balls or widen the search"
            )
        grid = grid.among(kept)
        base = grid.base_poses(limits.distance_mm)
        places = Places.over(self.head, self.coil, base, yaw_deg, limits)
        if len(places.index) == 0:
            allowed = int(limits.allows_yaw(yaw_deg).sum())
            raise SearchError(
                f"none of {len(kept)} positions x {allowed} of {len(yaw_deg)} yaw angles (yaw_range_deg="
                f"{limits.yaw_range_deg}) keeps {limits.min_clearance_mm:g} mm off the scalp, even with the "
                f"coil lifted by {HIGHEST_MM:g} mm from distance_mm={limits.distance_mm:g}; widen the "
                "sector or the search, or check the coil's casing and axes with `efield coil info`"
            )
        return grid.among(places.index), places.lift_mm, places.feasible

    @cached_property
    def dipole_height_mm(self):
        """Height over the scalp under which no dipole comes: by the distance, or by the contact rule."""
        limits, extent = self.constraints, CoilExtent.of(self.coil)
        tilted = to_mm(extent.radius) * np.sin(np.radians(limits.max_tilt_deg))
        inside = cKDTree(self.coil.extent_mm).query(to_mm(self.coil.positions))[0].min()
        contact = inside + limits.least_clearance_mm(self.coil)
        return max(extent.height_mm(limits.distance_mm) - tilted, contact)

    def leaning(self, poses):
        """Poses, and the same tilted as far as is allowed: what the exterior field must hold."""
        angle = np.radians(self.constraints.max_tilt_deg)
        if angle == 0:
            return poses
        turns = np.tile(np.eye(4), (LEANS, 1, 1))
        azimuth = 2 * np.pi * np.arange(LEANS) / LEANS
        axes = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(LEANS)], axis=1)
        turns[:, :3, :3] = Rotation.from_rotvec(angle * axes).as_matrix()
        leaning = poses[:, None] @ turns
        distance = self.constraints.distance_mm
        leaning[..., :3, 3] += distance * (poses[:, None, :3, 2] - leaning[..., :3, 2])
        return np.concatenate([poses, leaning.reshape(-1, 4, 4)])

    def on_elements(self, found):
        """The grid valued by an objective of the element fields; unchanged where none is needed."""
        if self.goal.exact and not self.avoided:
            return found
        with self.clock.stage("modes"):
            operator = build_operator(self, found)
            measures = [self.goal.measure, *(a.measure for a in self.avoided)]
            coarsest = max(m.yaw_step_deg for m in measures if m is not None)
            every = every_nth(len(found.yaw_deg), coarsest)
            found = replace(
                found,
                yaw_deg=found.yaw_deg[every],
                functionals=found.functionals[:, every],
                feasible=found.feasible[:, every],
                field=operator.field,
                goal=operator.goal,
                operator=operator,
            )
            grid = grid_values(self, found)
            found = replace(found, yaw_error=max(found.yaw_error, grid.yaw_error), off_target=grid.off_target)
            return self._within_limits(found, grid.values)

    def _within_limits(self, found, values):
        feasible = found.feasible
        if self.avoided:
            feasible = feasible & np.all(~(found.off_target > found.goal.limits), axis=-1)
        if not feasible.any():
            lowest = np.nanmin(found.off_target, axis=(0, 1))
            wanted = ", ".join(
                f"{a.name} in {a.region.name} at most {a.limit:g} V/m (the lowest alone is {low:.4g})"
                for a, low in zip(self.avoided, lowest, strict=True)
                if a.limit is not None
            )
            raise SearchError(
                f"none of {np.count_nonzero(found.feasible)} placements keeps {wanted}; raise the limit, "
                "lower didt, or widen the search"
            )
        return replace(found, feasible=feasible, values=np.where(feasible, values, -np.inf))

    def grid_placements(self, found, count):
        """(pose, search value) of the best distinct grid placements."""
        return [self.start(found, i, j) for i, j in distinct_maxima(found, count)]

    def refine(self, found, count):
        """(pose, search value) of the best distinct placements, polished."""
        polished = []
        picks = distinct_maxima(found, count)
        for done, (i, j) in enumerate(picks):
            start = self.start(found, i, j)
            if is_local_maximum(found, i, j):
                polished.append(self.polished(found, i, j, start))
            else:
                polished.append(start)
            self.clock.report("refine", (done + 1) / len(picks))
        return distinct(polished)

    def placed(self, found, i, j):
        """The pose of a grid placement, its coil exactly where it keeps its clearance."""
        pose = turned(found.poses[i], found.yaw_deg[j])
        if found.lift_mm[i]:  # the grid's distances are steps
            pose[:3, 3] += found.lift_mm[i] * pose[:3, 2]
        return self.feasible_set(found.grid).lifted(pose)[0]

    def start(self, found, i, j):
        """(pose, search value) of a grid placement; valued anew where it is not on the grid."""
        pose = self.placed(found, i, j)
        if np.array_equal(pose, turned(found.poses[i], found.yaw_deg[j])):
            return pose, found.values[i, j]
        functionals = found.field.functionals(self.coil, pose[None], self.didt)[0]
        return pose, float(found.goal.of_functionals(functionals))

    def polished(self, found, i, j, start):
        """(pose, search value) of one grid placement polished; `start` where that gains nothing."""
        step = 360.0 / len(found.yaw_deg)
        free = bool(self.constraints.max_tilt_deg or found.lift_mm[i])
        pose, value = polish(
            found.field,
            self.coil,
            found.goal,
            self.chart(found, i),
            np.radians(found.yaw_deg[j]),
            didt=self.didt,
            reach_mm=max(FREE_REACH_MM if free else 0.0, 2 * self.search.spacing_mm),
            yaw_reach=np.radians(max(FREE_REACH_DEG if free else 10.0, 2 * step)),
            **self.limits(found, i),
        )
        return start if value < start[1] else (pose, value)

    def chart(self, found, i):
        """The chart of a position of the grid."""
        limits = self.constraints
        point = found.grid.points_mm[i]
        return ScalpChart.at(self.head.scalp, point, limits.distance_mm, limits.max_tilt_deg)

    def limits(self, found, i):
        """What the polish of a position of the grid must keep."""
        limits = self.feasible_set(found.grid)
        distance = self.constraints.distance_mm + found.lift_mm[i]
        return {"allowed": limits.allowed, "limits": limits, "distance_mm": distance}

    def feasible_set(self, grid):
        """The placements over a grid's region that keep the constraints."""
        return FeasibleSet(self.head.scalp, self.coil, self.constraints, grid.center_mm, grid.radius_mm)

    def judge(self, chosen, *, in_order=False):
        """The chosen placements, best first by the objective itself, and the winner's field.

        Those that break a limit by the forward solution come last. With `in_order` they stay
        as chosen: a measure under noise decided already.
        """
        placements = [Placement(pose) for pose, _ in chosen]
        values, off_target, solved = ([None] * len(placements) for _ in range(3))
        batches, rtol = [], JUDGED_RTOL[self.prepared.element_order]
        for own in blocks_of_turns(placements, self.prepared.block):
            some = [placements[i] for i in own]
            batch = known_fields(batches, self.coil, some)
            if batch is None:
                batch = solve_potentials(self.prepared, self.coil, some, self.didt, rtol)
                batches.append(batch)
            for k, i in enumerate(own):
                values[i], off_target[i] = self.values_of(batch, k)
                solved[i] = batch, k
            self.clock.report("check", sum(one is not None for one in solved) / len(placements))
        kept = [self.keeps(off) for off in off_target]
        order = range(len(values)) if in_order else ranked(values, placements)
        order = sorted(order, key=lambda i: not kept[i])
        best = [
            BestPlacement(
                placement=placements[i],
                info=describe_placement(self.head, placements[i]) | self._off_target_info(off_target[i]),
                value=values[i],
                search_value=float(chosen[i][1]),
            )
            for i in order
        ]
        batch, k = solved[order[0]]
        return tuple(best), batch.field(k, placements[order[0]])

    def values_of(self, batch, k):
        """What is maximised at a solved placement, and the list of off-target values."""
        off = [a.value(batch.on_elements(k, a.region.elements)) for a in self.avoided]
        value = self.value_of(batch.on_elements(k, self.region.elements))
        return value - sum(a.weight * v for a, v in zip(self.avoided, off, strict=True)), off

    def keeps(self, off_target):
        """Whether off-target values are within their limits."""
        return all(a.keeps(value) for a, value in zip(self.avoided, off_target, strict=True))

    def _off_target_info(self, off_target):
        return {"off_target": off_target} if self.avoided else {}

    def value_of(self, e_field):
        """The objective of E on the target's elements."""
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


def start_run(
    head, coil, target, goal, *, search, constraints, didt, clock, element_order=None, avoided=lambda *_: ()
):
    """Load and prepare what a search needs.

    Parameters
    ----------
    head, coil, target, search, constraints, didt, element_order
        As in :func:`efield.optimize_coil`.
    goal : Objective
    clock : Clock
    avoided : callable (HeadModel, TargetRegion) -> tuple of AvoidedRegion

    Returns
    -------
    Run
    """
    didt = check_didt(didt)
    if didt == 0:
        raise SearchError("didt must not be 0: every placement would have the value 0")
    with clock.stage("load"):
        coil = load_coil(coil)
        if not isinstance(head, PreparedHead):
            head = load_head(head)
        model = getattr(head, "head", head)
        region = as_target(target).resolve(model)
        goal = goal.on_target(model, region)
        avoided = avoided(model, region)
    with clock.stage("setup"):
        prepared = prepare(head, element_order=element_order)
    return Run(prepared, coil, region, goal, search, constraints, didt, clock, avoided)


def judged_operator(operator, best):
    """The operator with its error widened by placements that were solved to be ranked."""
    if operator is None:
        return None
    errors = relative_errors(*np.array([(b.search_value, b.value) for b in best]).T)
    return replace(
        operator, n_unseen=operator.n_unseen + len(best), worst=max(operator.worst, float(errors.max()))
    )
