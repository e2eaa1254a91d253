"""The trade-off between the field in the target and what else the coil does, as a Pareto front."""

from dataclasses import dataclass, replace

import numpy as np

from efield.errors import SearchError
from efield.forward import solve_potentials
from efield.metrics import peak_metrics
from efield.model.placement import Placement
from efield.search.avoid import AvoidedRegion
from efield.search.candidates import Search
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.objectives import make_objective
from efield.search.run import start_run
from efield.tissues import TISSUE_TAGS

HALF_VALUE_VOLUME = "half_value_volume"
"""Name of the grey-matter volume above half of the peak of |E|, as something to trade against."""

FOCUS_SHARE = 0.7
"""Of the largest value in the target: weaker placements are not solved for their focus."""

FOCUS_MM, FOCUS_DEG = 5.0, 20.0
"""Placements nearer than both of these are not solved twice for their focus."""

FOCUS_SOLVED = 128
"""Placements solved for their focus."""


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """Placements none of which is better in both respects than another, strongest in the target first.

    Attributes
    ----------
    placements : tuple of Placement
    target_values : (n,) array
        The objective in the target at `didt`, by forward solutions.
    off_values : (n,) array
        What it is traded against: V/m at `didt`, or mm^3.
    target, objective, against, unit : str
        Names of the region, of the objective, and of what it is traded against; unit of the latter.
    didt : float, A/s
    n_solved : int
        Forward solutions from which the front was taken.
    """

    placements: tuple
    target_values: np.ndarray
    off_values: np.ndarray
    target: str
    objective: str
    against: str
    unit: str
    didt: float
    n_solved: int

    def __len__(self):
        return len(self.placements)

    def to_dict(self):
        """Everything as plain Python values."""
        return {
            "target": self.target,
            "objective": self.objective,
            "against": self.against,
            "unit": self.unit,
            "didt": self.didt,
            "n_solved": self.n_solved,
            "placements": [
                {"matsimnibs": p.matsimnibs.tolist(), "target_value": float(t), "off_value": float(o)}
                for p, t, o in zip(self.placements, self.target_values, self.off_values, strict=True)
            ],
        }


def pareto_front(
    head,
    coil,
    target,
    against,
    *,
    objective="mean_magnitude",
    direction=None,
    off_objective="mean_magnitude",
    search=None,
    constraints=None,
    didt=1e6,
    n_points=12,
    progress=None,
):
    """Trade the field in a target against the field elsewhere, or against its spread.

    Against a region: on the whole grid both values are known; levels of the off-target value are
    spread over the grid's own front, at each the target's value is polished under that limit, and
    all are solved forward. Against the half-value volume: distinct placements with at least
    `FOCUS_SHARE` of the largest value, up to `FOCUS_SOLVED`, are solved forward; this front is one
    of these placements, not polished.

    Parameters
    ----------
    head, coil, target, objective, direction, search, constraints, didt, progress
        As in :func:`efield.optimize_coil`.
    against : Target, str or (x, y, z)
        A region apart from the target, or "half_value_volume".
    off_objective : str or callable
        What is measured over that region, as in :class:`Avoid`.
    n_points : int
        Points of the front at most, from 2; against a region.

    Returns
    -------
    ParetoFront

    Raises
    ------
    EfieldError
        As for :func:`efield.optimize_coil`.
    """
    if not isinstance(n_points, int | np.integer) or n_points < 2:
        raise SearchError(f"n_points must be a whole number of at least 2, not {n_points!r}")
    focus = isinstance(against, str) and against == HALF_VALUE_VOLUME
    goal = make_objective(objective, direction)
    if not focus and make_objective(off_objective).exact:
        raise SearchError(
            f"off_objective is mean_magnitude, percentile:Q or a function, not {off_objective!r}"
        )
    clock = Clock(progress)

    def avoided(model, region):
        return () if focus else (AvoidedRegion.of(model, region, against, off_objective),)

    search, constraints = search or Search(), constraints or Constraints()
    run = start_run(
        head,
        coil,
        target,
        goal,
        search=search,
        constraints=constraints,
        didt=didt,
        clock=clock,
        avoided=avoided,
    )
    found = run.explore()
    with clock.stage("refine"):
        poses = _spread_over_yaw(run, found) if focus else _along_the_front(run, found, n_points)
    with clock.stage("check"):
        values, off = _solved(run, poses, focus)
    order = _non_dominated(values, off)
    return ParetoFront(
        placements=tuple(Placement(poses[i]) for i in order),
        target_values=values[order],
        off_values=off[order],
        target=run.region.name,
        objective=run.goal.name,
        against=HALF_VALUE_VOLUME if focus else f"{run.avoided[0].name} in {run.avoided[0].region.name}",
        unit="mm3" if focus else "V/m",
        didt=run.didt,
        n_solved=len(poses),
    )


def _along_the_front(run, found, n_points):
    """Poses of largest target value at off-target levels spread over the grid's front."""
    values, off = found.values.ravel(), found.off_target[..., 0].ravel()
    feasible = np.flatnonzero(found.feasible.ravel())
    front = feasible[_non_dominated(values[feasible], off[feasible])][::-1]  # least off-target first
    wanted = np.linspace(off[front[0]], off[front[-1]], n_points)
    picks = np.unique(np.searchsorted(off[front], wanted * (1 + 1e-12), side="right") - 1)
    poses = []
    for done, k in enumerate(front[picks]):
        i, j = np.unravel_index(k, found.values.shape)
        limited = replace(found.goal, limits=np.array([off[k]]))
        start = run.start(found, i, j)
        poses.append(run.polished(replace(found, goal=limited), i, j, start)[0])
        run.clock.report("refine", (done + 1) / len(picks))
    return poses


def _spread_over_yaw(run, found):
    """Distinct poses of the grid, strongest first."""
    values = found.values.copy()
    least = FOCUS_SHARE * values.max()
    poses = []
    while len(poses) < FOCUS_SOLVED:
        i, j = np.unravel_index(np.argmax(values), values.shape)
        if not values[i, j] >= least:
            break
        poses.append(run.placed(found, i, j))
        near = np.linalg.norm(found.grid.points_mm - found.grid.points_mm[i], axis=1) < FOCUS_MM
        turn = np.abs((found.yaw_deg - found.yaw_deg[j] + 180.0) % 360.0 - 180.0) < FOCUS_DEG
        values[np.ix_(near, turn)] = -np.inf
    return poses


def _solved(run, poses, focus):
    """Target and off-target values (n,), (n,) of poses by forward solutions."""
    grey = np.flatnonzero(run.head.tags == TISSUE_TAGS["grey_matter"])
    values, off = [], []
    block = run.prepared.block
    for start in range(0, len(poses), block):
        placements = [Placement(pose) for pose in poses[start : start + block]]
        batch = solve_potentials(run.prepared, run.coil, placements, run.didt)
        for k in batch.columns:
            values.append(run.value_of(batch.on_elements(k, run.region.elements)))
            if focus:
                off.append(_half_value_volume(run.head, grey, batch.on_elements(k, grey)))
            else:
                avoided = run.avoided[0]
                off.append(avoided.value(batch.on_elements(k, avoided.region.elements)))
        run.clock.report("check", len(values) / len(poses))
    return np.array(values), np.array(off)


def _half_value_volume(head, grey, e_field):
    metrics = peak_metrics(
        np.linalg.norm(e_field, axis=1), head.mesh.volumes_mm3[grey], head.mesh.barycentres_mm[grey]
    )
    if metrics["half_value_volume_mm3"] is None:
        raise SearchError(
            f"the head has {len(grey)} grey-matter tetrahedra, too few for a half-value volume; "
            "trade against a region instead"
        )
    return metrics["half_value_volume_mm3"]


def _non_dominated(values, off):
    """Indices of points that no other beats in one respect and equals in the other, best value first."""
    order = np.lexsort((off, -values))
    lowest = np.minimum.accumulate(off[order])
    better = np.concatenate([[True], off[order][1:] < lowest[:-1]])
    return order[better]
