"""The exact search: an objective of the element fields at every placement, by the target's modes.

Forward solutions spread over the search region give the modes; one adjoint solve each and the
exterior field of their currents give the coefficients of any pose. As many modes are taken as the
objective needs on snapshots left out; the error that is reported adds placements that had no part
in anything. Modes and the functionals beside the mean field are of first order in any case: they are a
small part of the field, and cost many solves; the placements that measure the error are of the run's.
"""

from dataclasses import dataclass

import numpy as np

from efield.adjoint.current import adjoint_currents
from efield.adjoint.modes import N_MEAN, JointField, LeftOut, TargetModes
from efield.forward import solve_potentials
from efield.model.placement import Placement
from efield.search.avoid import GuardedObjective
from efield.search.evaluate import functionals_over_yaw
from efield.search.maxima import turned
from efield.search.objectives import ModeObjective

UNSEEN = {1: 8, 2: 4}
"""Placements solved forward only to measure the error, by order of the elements: at second order one takes a
second. Those that are solved to be ranked count as well."""

RTOL = 1e-5
"""Relative residual of snapshots and of the adjoints of modes, which are small parts of the field."""

UNSEEN_RTOL = 1e-4
"""Relative residual of the others: their values err by some 1e-5 then, at most 4e-5."""

RANK_STEP = 3
"""Modes are added by as many as one pass of the kernels carries."""

MARGIN = 2.0
"""The reported error is this many times the largest one found: few placements miss the worst."""

FLOOR = 0.2
"""Errors are relative to the value, or to this share of the largest where the value is smaller."""

AT_ONCE = 15
"""Modes whose adjoints are solved and held at once: a block of the solver, whole passes of the kernels."""

POSITIONS = 1024
"""Scalp positions whose coefficients are held at once."""

GOLDEN = 0.5 * (5**0.5 - 1)
"""Step of the yaw from one snapshot to the next, in turns: spreads any number of them evenly."""


@dataclass(frozen=True, eq=False)
class TargetOperator:
    """An objective at any pose of the search region, and how well it is known.

    Attributes
    ----------
    field : JointField
        Coefficients of the modes from the coil's pose.
    goal : ModeObjective
    models : tuple of HarmonicField
        What the parts of `field` are the splines of, one each.
    n_snapshots, n_unseen : int
        Forward solutions that made the modes, and others that the error comes from.
    worst : float
        Largest relative error of the objective at unseen placements so far.
    """

    field: JointField
    goal: ModeObjective
    models: tuple
    n_snapshots: int
    n_unseen: int
    worst: float

    @property
    def error(self):
        """`MARGIN` times the largest relative error of the objective at unseen placements."""
        return MARGIN * self.worst


def spread_poses(found, count):
    """Feasible poses over the whole search region: positions farthest from all before, turning yaw.

    Parameters
    ----------
    found : Found
    count : int
        More than there are positions repeats them at other angles.

    Returns
    -------
    (count, 4, 4) array
    """
    usable = np.flatnonzero(found.feasible.any(axis=1))
    points = found.grid.points_mm[usable]
    order = _farthest_first(points, found.grid.center_mm, min(count, len(points)))
    poses = []
    for k in range(count):
        again, place = divmod(k, len(order))
        i = usable[order[place]]
        angles = np.flatnonzero(found.feasible[i])
        j = angles[int((place + again) * GOLDEN % 1.0 * len(angles))]
        poses.append(turned(found.poses[i], found.yaw_deg[j]))
    return np.stack(poses)


def _farthest_first(points, start, count):
    order = [int(np.argmin(np.linalg.norm(points - start, axis=1)))]
    distance = np.linalg.norm(points - points[order[0]], axis=1)
    while len(order) < count:
        order.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[order[-1]], axis=1))
    return order


def fields_on_target(prepared, coil, poses, elements, didt, rtol=RTOL, report=None):
    """E (n, n_elements, 3) of forward solutions on some elements; `report` gets a fraction."""
    fields = []
    for start in range(0, len(poses), prepared.block):
        batch = [Placement(pose) for pose in poses[start : start + prepared.block]]
        solved = solve_potentials(prepared, coil, batch, didt, rtol)
        fields += [solved.on_elements(k, elements) for k in solved.columns]
        if report is not None:
            report(len(fields) / len(poses))
    return np.stack(fields)


def choose_modes(measure, snapshots, volumes):
    """Modes of a target, as many as its objective needs, and the error on left-out snapshots.

    Returns
    -------
    modes : TargetModes
    worst : float
    """
    exact, left_out = _values(measure, snapshots, volumes), LeftOut(snapshots, volumes)
    for rank in range(RANK_STEP, max(len(snapshots), RANK_STEP + 1), RANK_STEP):
        again = _values(measure, left_out.fields(rank), volumes)
        worst = relative_errors(again, exact).max()
        if worst <= measure.tolerance:
            break
    return TargetModes.of(snapshots, volumes, rank), worst


def build_operator(run, found):
    """The operator over the region of a grid search.

    Parameters
    ----------
    run : Run
    found : Found
        Grid search of the mean field.

    Returns
    -------
    TargetOperator
    """
    measured = _measured(run)
    count = max(m.measure.snapshots for m in measured)
    # The grid's clearance is a little off: a dipole in the head has no forward solution.
    clear = run.feasible_set(found.grid)
    n_unseen = UNSEEN[run.prepared.element_order]
    poses = np.stack([clear.lifted(pose)[0] for pose in spread_poses(found, count + n_unseen)])
    everywhere = np.concatenate([m.elements for m in measured])

    def solved(prepared, poses, rtol):
        def report(fraction):
            run.clock.report("modes", 0.4 * fraction)

        return fields_on_target(prepared, run.coil, poses, everywhere, run.didt, rtol, report)

    snapshots = solved(run.prepared.first_order, poses[:count], RTOL)
    fields = np.concatenate([snapshots, solved(run.prepared, poses[count:], UNSEEN_RTOL)])
    fields = _split(fields, [len(m.elements) for m in measured], axis=1)
    modes, left_out_errors = zip(
        *(choose_modes(m.measure, e[:count], m.volumes) for m, e in zip(measured, fields, strict=True)),
        strict=True,
    )
    field, models = _joint_field(run, found, measured, modes)
    goals = [
        ModeObjective(m.measure, own, m.measure.is_smooth(e[0], m.volumes))
        for m, own, e in zip(measured, modes, fields, strict=True)
    ]
    sizes = [len(own.fields) for own in modes]
    if run.goal.exact:
        sizes = [found.field.n_functionals, *sizes]
    parts = _split(field.functionals(run.coil, poses[count:], run.didt), sizes, axis=1)
    worst = [
        max(seen, _unseen_error(m, goal, part, e[count:]))
        for m, goal, part, e, seen in zip(
            measured, goals, parts[-len(measured) :], fields, left_out_errors, strict=True
        )
    ]
    goal = _joint_goal(run, goals, sizes, worst)
    return TargetOperator(field, goal, models, count, n_unseen, float(max(worst)))


@dataclass(frozen=True, eq=False)
class _Measured:
    """A measure on the elements of one region, `known` of its modes' functionals being there already."""

    measure: object
    elements: np.ndarray
    volumes: np.ndarray
    known: int = 0


def _measured(run):
    target = _Measured(run.goal.measure, run.region.elements, run.volumes, N_MEAN)
    avoided = [_Measured(a.measure, a.region.elements, a.volumes) for a in run.avoided]
    return avoided if run.goal.exact else [target, *avoided]


def _joint_field(run, found, measured, modes):
    """The mean field's exterior field, followed by those of all other modes, and their models."""
    new = [own.weights[m.known :] for m, own in zip(measured, modes, strict=True)]
    if not sum(map(len, new)):
        return found.field, (found.model,)
    weights = np.zeros((sum(map(len, new)), sum(w.shape[1] for w in new), 3))
    row = column = 0
    for block in new:
        weights[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    elements = np.concatenate([m.elements for m in measured])
    parts = [(found.model, found.field)]
    for start in range(0, len(weights), AT_ONCE):
        currents = adjoint_currents(
            run.prepared.first_order, elements, weights[start : start + AT_ONCE], rtol=RTOL
        )
        parts.append(found.exterior.of(currents))
        run.clock.report("modes", 0.4 + 0.4 * min(1.0, (start + AT_ONCE) / len(weights)))
    models, fields = zip(*parts, strict=True)
    return JointField(fields), models


def _joint_goal(run, goals, sizes, worst):
    """The objective on the joint field; limits are tightened by what their operator may err."""
    if not run.avoided:
        return goals[0]
    n = len(run.avoided)
    limits = [np.inf if a.limit is None else a.limit for a in run.avoided]
    return GuardedObjective(
        goal=run.goal if run.goal.exact else goals[0],
        off_target=tuple(goals[-n:]),
        sizes=tuple(sizes),
        weights=np.array([a.weight for a in run.avoided]),
        limits=np.array(limits) * (1.0 - MARGIN * np.array(worst[-n:])),
    )


def _unseen_error(measured, goal, coefficients, fields):
    exact = _values(measured.measure, fields, measured.volumes)
    return float(relative_errors(np.array([goal.of_functionals(c) for c in coefficients]), exact).max())


def _split(array, sizes, axis):
    return np.split(array, np.cumsum(sizes)[:-1], axis=axis)


@dataclass(frozen=True, eq=False)
class GridValues:
    """What an operator says of every placement of a grid.

    Attributes
    ----------
    values : (n, n_yaw) array
        -inf where not feasible.
    off_target : (n, n_yaw, n_avoided) array
        NaN where not feasible.
    yaw_error : float
        Of the modes beside the mean field, see :func:`functionals_over_yaw`.
    """

    values: np.ndarray
    off_target: np.ndarray
    yaw_error: float


def grid_values(run, found):
    """The objective, and what it is weighed against, at every placement of a grid.

    Parameters
    ----------
    run : Run
    found : Found
        With its operator; its functionals are the mean field's.

    Returns
    -------
    GridValues
    """
    values, worst = np.full(found.feasible.shape, -np.inf), 0.0
    off_target = np.full((*found.feasible.shape, len(run.avoided)), np.nan)
    for start in range(0, len(found.poses), POSITIONS):
        part = slice(start, start + POSITIONS)
        feasible, coefficients = found.feasible[part], found.functionals[part]
        if isinstance(found.field, JointField):
            beside, error = functionals_over_yaw(
                JointField(found.field.parts[1:]),
                run.coil,
                found.exterior.expansion,
                found.poses[part],
                found.yaw_deg,
                run.didt,
                progress=lambda _: None,
            )
            coefficients = np.concatenate([coefficients, beside], axis=-1)
            worst = max(worst, error)
        values[part][feasible] = found.goal.of_functionals(coefficients[feasible])
        if run.avoided:
            off_target[part][feasible] = found.goal.off_values(coefficients[feasible])
        run.clock.report("modes", 0.8 + 0.2 * min(1.0, (start + POSITIONS) / len(found.poses)))
    return GridValues(values, off_target, worst)


def every_nth(n_yaw, step_deg):
    """Slice of a round of yaw angles that goes round evenly in steps up to `step_deg`."""
    strides = [n for n in range(1, n_yaw + 1) if n_yaw % n == 0 and n * 360.0 / n_yaw <= step_deg + 1e-9]
    stride = max(strides, default=1)
    return slice(stride - 1, None, stride)


def relative_errors(values, exact):
    """Errors (n,) of values, relative to the exact ones or to `FLOOR` times the largest."""
    size = np.abs(exact)
    scale = np.maximum(size, max(FLOOR * size.max(), 1e-300))
    return np.abs(values - exact) / scale


def _values(measure, fields, volumes):
    return np.array([measure.value(e_field, volumes) for e_field in fields])
