"""Two coils at once, each with a place and a dI/dt of its own.

Fields superpose as vectors, and so do linear functionals of them: with F_1 and F_2 those of the
two coils' grids, every pair's are F_1 + F_2, and no pair needs a solve.
"""

from dataclasses import dataclass, field

import numpy as np

from efield.errors import SearchError
from efield.forward import check_didt, simulate, solve_potentials
from efield.frames import yaw_to_midline
from efield.model.coil_joined import join_coils
from efield.model.coils import load_coil
from efield.model.placement import Placement, describe_placement
from efield.results.parts import ObjectiveValue
from efield.search.candidates import Search
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.maxima import turned
from efield.search.objectives import make_objective
from efield.search.polish import ScalpChart, polish
from efield.search.run import start_run

PAIR_SPACING_MM, PAIR_YAW_DEG = 4.0, 10.0
"""Grid of each coil from which pairs are made."""

N_PAIRS = 5
"""Distinct pairs that are polished and solved forward."""

APART_MM, APART_DEG = 8.0, 30.0
"""Pairs whose coils both lie closer together than this count as one."""

SWEEPS, GAIN = 6, 1e-5
"""Most turns of the polish, and the relative gain below which it ends."""

ROWS = 50_000
"""Pairs whose coils are held against each other at once."""


@dataclass(frozen=True, eq=False)
class CoilsResult:
    """Where two coils must lie together.

    Attributes
    ----------
    placements : (Placement, Placement)
    objective : ObjectiveValue
        Of the forward field of both.
    alone : (float, float)
        The objective with either coil alone, where it lies now.
    didt : (float, float)
        A/s.
    search_value : float
        What the search maximised: the objective, or |mean E| in its stead.
    searched : str
        Name of that.
    n_pairs : int
        Pairs of grid placements looked at.
    field : Field
        Of both, at ``didt[0]`` of the joined coil.
    """

    placements: tuple
    objective: ObjectiveValue
    alone: tuple
    didt: tuple
    search_value: float
    searched: str
    n_pairs: int
    field: object = field(repr=False)


def optimize_coils(
    head,
    coils,
    target,
    *,
    objective="magnitude_of_mean",
    direction=None,
    searches=None,
    constraints=None,
    didt=1e6,
    progress=None,
):
    """Place two coils so that their fields together maximise the objective.

    Every pair of placements of two grids is valued exactly, best first, until enough are found
    whose coils keep apart; those are polished in turn, one coil after the other, and ranked by
    forward solutions. What is searched is a function of the mean field: |mean E| stands in for
    objectives of the element fields, which then only rank. The grid's best pair is certain, the
    polish climbs from there.

    Parameters
    ----------
    head, target, objective, direction, progress
        As in :func:`efield.optimize_coil`.
    coils : sequence of two Coil, str or path
        Each may have several stimulators, see :meth:`Coil.weighted`.
    searches : sequence of two Search, or one Search, optional
        Where each coil is looked for. Coils do not fit in the same place: give centres apart.
    constraints : sequence of two Constraints, or one, optional
    didt : float or sequence of two
        A/s of each coil; a negative one turns its current round.

    Returns
    -------
    CoilsResult

    Raises
    ------
    SearchError
        Not two coils, or coils that overlap wherever they are looked for.
    """
    coils = [load_coil(coil) for coil in coils]
    if len(coils) != 2:
        raise SearchError(
            f"optimize_coils places two coils, not {len(coils)}; join rigid ones with join_coils"
        )
    searches, limits = _two(searches or Search(), Search), _two(constraints or Constraints(), Constraints)
    rates = _rates(didt)
    clock, goal = Clock(progress), make_objective(objective, direction)
    one = start_run(
        head, coils[0], target, goal, search=searches[0], constraints=limits[0], didt=rates[0], clock=clock
    )
    other = one.with_(coil=coils[1], search=searches[1], constraints=limits[1], didt=rates[1])
    runs = (one, other)
    found = tuple(run.search_grid(run.search.radius_mm) for run in runs)
    pairs, n_pairs = _best_pairs(runs, found)
    with clock.stage("refine"):
        polished = [_polished(runs, found, pair) for pair in pairs]
    with clock.stage("check"):
        values, alone = _forward(runs, [poses for poses, _ in polished])
    best = int(np.argmax(values))
    placements = tuple(Placement(pose) for pose in polished[best][0])
    joined = join_coils(coils, placements).weighted(_shares(coils, rates))
    return CoilsResult(
        placements=placements,
        objective=ObjectiveValue(one.goal.name, float(values[best]), one.goal.unit),
        alone=tuple(alone[best]),
        didt=tuple(rates),
        search_value=float(polished[best][1]),
        searched=one.goal.functional,
        n_pairs=n_pairs,
        field=simulate(one.prepared, joined, placements[0], didt=rates[0]),
    )


def _two(given, kind):
    both = (given, given) if isinstance(given, kind) else tuple(given)
    if len(both) != 2 or not all(isinstance(item, kind) for item in both):
        raise SearchError(f"give one {kind.__name__} for each of the two coils, not {given!r}")
    return both


def _rates(didt):
    """dI/dt of each of two coils, A/s."""
    given = [didt, didt] if np.ndim(didt) == 0 else list(didt)
    if len(given) != 2:
        raise SearchError(f"give one didt, or one for each of the two coils, not {didt!r}")
    rates = [check_didt(rate) for rate in given]
    if 0.0 in rates:
        raise SearchError(f"didt={didt!r}: a coil without current has no best place; use optimize_coil")
    return rates


def _shares(coils, rates):
    """dI/dt of each stimulator of the joined coil relative to the first coil's."""
    return np.repeat(np.array(rates) / rates[0], [coil.n_stimulators for coil in coils])


@dataclass(frozen=True, eq=False)
class _Grid:
    """Placements of one coil: indices on its grid, functionals (n, k), and poses (n, 4, 4)."""

    place: np.ndarray
    functionals: np.ndarray
    poses: np.ndarray

    @classmethod
    def of(cls, run, found):
        """About `PAIR_SPACING_MM` and `PAIR_YAW_DEG` apart."""
        every = max(1, round(PAIR_YAW_DEG * len(found.yaw_deg) / 360.0))
        stride = max(1, round(PAIR_SPACING_MM / run.search.spacing_mm)) ** 2
        thinned = np.zeros(found.feasible.shape, bool)
        thinned[::stride, ::every] = True
        thinned[np.unravel_index(found.values.argmax(), thinned.shape)] = True
        place = np.argwhere(thinned & found.feasible)
        poses = np.stack([turned(found.poses[i], found.yaw_deg[j]) for i, j in place])
        return cls(place, found.functionals[place[:, 0], place[:, 1]], poses)


def _best_pairs(runs, found):
    """The best distinct pairs of grid placements whose coils keep apart, and how many pairs there are."""
    grids = [_Grid.of(run, one) for run, one in zip(runs, found, strict=True)]
    a, b = grids
    values = np.concatenate(
        [runs[0].goal.of_functionals(f + b.functionals).astype(np.float32) for f in a.functionals]
    )
    order = np.argsort(-values, kind="stable")
    boxes = [_Box.of(run.coil) for run in runs]
    picks = []
    for first in range(0, len(order), ROWS):
        i, j = np.divmod(order[first : first + ROWS], len(b.poses))
        apart = keep_apart(boxes, a.poses[i], b.poses[j])
        for k in np.flatnonzero(apart):
            poses = a.poses[i[k]], b.poses[j[k]]
            if not any(all(map(_near, poses, other)) for other, _ in picks):
                picks.append((poses, (tuple(a.place[i[k]]), tuple(b.place[j[k]]))))
                if len(picks) == N_PAIRS:
                    return [place for _, place in picks], len(values)
    if not picks:
        raise SearchError(
            f"coils {runs[0].coil.name!r} and {runs[1].coil.name!r} overlap in all {len(values)} pairs of "
            "placements; give their searches centres farther apart (searches=[Search(center_mm=...), ...])"
        )
    return [place for _, place in picks], len(values)


def _near(pose, other):
    apart = np.linalg.norm(pose[:3, 3] - other[:3, 3])
    return apart < APART_MM and pose[:3, 1] @ other[:3, 1] > np.cos(np.radians(APART_DEG))


@dataclass(frozen=True, eq=False)
class _Box:
    """The box along a coil's axes that holds its casing or dipoles, mm."""

    centre: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, coil):
        points = coil.positions_mm if coil.casing_mm is None else coil.casing_mm
        low, high = points.min(axis=0), points.max(axis=0)
        return cls(0.5 * (low + high), 0.5 * (high - low))


def keep_apart(boxes, one, other):
    """Which pairs of poses (n, 4, 4), (n, 4, 4) keep two coils' boxes apart (n,).

    By separating axes (Gottschalk, Lin and Manocha 1996): boxes are apart where some axis of either, or
    some cross product of two, separates them.
    """
    a, b = boxes
    turns = np.swapaxes(one[:, :3, :3], 1, 2) @ other[:, :3, :3]
    shift = (other[:, :3, :3] @ b.centre + other[:, :3, 3]) - (one[:, :3, :3] @ a.centre + one[:, :3, 3])
    shift = np.einsum("nji,nj->ni", one[:, :3, :3], shift)
    size = np.abs(turns)
    apart = np.any(np.abs(shift) > a.half + size @ b.half, axis=1)
    across = np.einsum("nij,ni->nj", turns, shift)
    apart |= np.any(np.abs(across) > b.half + np.swapaxes(size, 1, 2) @ a.half, axis=1)
    for i in range(3):
        p, q = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            r, s = (j + 1) % 3, (j + 2) % 3
            reach = a.half[p] * size[:, q, j] + a.half[q] * size[:, p, j]
            reach += b.half[r] * size[:, i, s] + b.half[s] * size[:, i, r]
            apart |= np.abs(shift[:, q] * turns[:, p, j] - shift[:, p] * turns[:, q, j]) > reach + 1e-9
    return apart


@dataclass(frozen=True, eq=False)
class _Beside:
    """An objective beside the constant functionals of another coil."""

    goal: object
    others: np.ndarray

    smooth, limited = True, False

    def of_functionals(self, functionals):
        return self.goal.of_functionals(functionals + self.others)

    def slope(self, functionals):
        return self.goal.slope(functionals + self.others)


def _polished(runs, found, places):
    """Poses of a pair and their search value, either coil polished in turn while the other stays."""
    poses = [run.placed(f, i, j) for run, f, (i, j) in zip(runs, found, places, strict=True)]
    functionals = [_functionals(run, f, pose) for run, f, pose in zip(runs, found, poses, strict=True)]
    boxes = [_Box.of(run.coil) for run in runs]
    value = float(runs[0].goal.of_functionals(functionals[0] + functionals[1]))
    for _ in range(SWEEPS if runs[0].search.refine else 0):
        before = value
        for k in (0, 1):
            pose, higher = _climb(runs[k], found[k], poses[k], functionals[1 - k], boxes, poses[1 - k], k)
            if higher > value:
                poses[k], value = pose, higher
                functionals[k] = _functionals(runs[k], found[k], pose)
        if value - before <= GAIN * abs(before):
            break
    return poses, value


def _functionals(run, found, pose):
    return found.field.functionals(run.coil, pose[None], run.didt)[0]


def _climb(run, found, pose, others, boxes, other, k):
    """Polish of one coil from a pose, the other staying."""
    limits = run.feasible_set(found.grid)
    info = describe_placement(run.head, Placement(pose))

    def allowed(moved, point):
        ordered = (moved, other) if k == 0 else (other, moved)
        return limits.allowed(moved, point) and keep_apart(boxes, *(p[None] for p in ordered))[0]

    return polish(
        found.field,
        run.coil,
        _Beside(run.goal, others),
        ScalpChart.at(
            run.head.scalp,
            np.array(info["scalp_mm"]),
            run.constraints.distance_mm,
            run.constraints.max_tilt_deg,
        ),
        np.radians(yaw_to_midline(pose)),
        didt=run.didt,
        reach_mm=2 * PAIR_SPACING_MM,
        yaw_reach=np.radians(2 * PAIR_YAW_DEG),
        allowed=allowed,
        limits=limits,
        distance_mm=max(info["distance_mm"], run.constraints.distance_mm),
    )


def _forward(runs, pairs):
    """The objective (n,) of pairs, and (n, 2) of each coil alone, by forward solutions that are added up."""
    fields = []
    for run, poses in zip(runs, zip(*pairs, strict=True), strict=True):
        batch = solve_potentials(run.prepared, run.coil, [Placement(p) for p in poses], run.didt)
        fields.append([batch.on_elements(k, run.region.elements) for k in batch.columns])
    both = np.array([runs[0].value_of(e + f) for e, f in zip(*fields, strict=True)])
    alone = [tuple(float(runs[0].value_of(e)) for e in pair) for pair in zip(*fields, strict=True)]
    return both, alone
