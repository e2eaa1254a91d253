"""A bound on every placement of a search region: that nothing much better was missed.

Branch and bound over cells, each a piece of a scalp triangle times an interval of yaw: the
functionals at a reference placement, their second-order model over the cell, and a bound of the
rest from the third derivatives of the spline field (docs/certificate.md). The stated exterior
model is the spline itself.
"""

import time
from dataclasses import dataclass, fields, replace
from itertools import combinations_with_replacement

import numpy as np

from efield.adjoint.current import GROUP
from efield.adjoint.spline import CoilExtent
from efield.errors import SearchError
from efield.frames import tangent_axes
from efield.kernels._jit import run_chunks
from efield.kernels.bounds import cell_bounds
from efield.kernels.normals import normal_bounds
from efield.model.surface import NORMAL_RADIUS_MM
from efield.search.measures import MeanMagnitude
from efield.units import to_m, to_mm

EPSILON = 0.01
"""Share of the reported value by which no placement may beat it."""

FIRST_INTERVALS = 48
"""Intervals of yaw at the start."""

FINEST_MM = 0.6
"""Pieces of a triangle over which the smoothed normal is expanded."""

MOST_CELLS = 400_000
"""Cells after which the certificate stops and reports the bound it has."""

ASSUMPTIONS = (
    "the exterior model is the spline of the field, float32 coefficients as stored",
    "the coil is tangential to the smoothed scalp, its origin at the search's distance",
    "every yaw, whether or not a sector or the clearance forbids it",
    "sums are rounded in float64 and not enclosed by interval arithmetic",
)
"""What every certificate rests on."""

TRIPLES = tuple(combinations_with_replacement(range(3), 3))
"""Axes of the third derivatives, in the order of the tables."""

SLAB = 4
"""Layers of the grid whose derivatives are bounded at once: they stay in the cache."""

ROUNDING = 1e-6
"""Relative widening of tabulated bounds: they are stored, and their spline is, in float32."""


FLOAT32 = 1e-5
"""Relative widening of values that are summed over modes in float32."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """A bound on the searched functional over every tangential placement of a search region.

    Attributes
    ----------
    functional : str
        What is bounded, e.g. "magnitude_of_mean".
    value : float
        Of the reported placement in the stated exterior model, V/m.
    bound : float or None
        No placement of the region has a larger value; None where none was found.
    epsilon : float or None
        ``bound / value - 1``.
    wanted : float
        The epsilon that was asked for.
    best_seen : float
        Largest value at any reference placement that was looked at.
    better : (4, 4) array or None
        matsimnibs of the placement with that value, where it beats the reported one by more
        than `wanted`; it need not keep the clearance or the yaw sector.
    cells : int
        Cells looked at.
    seconds : float
    assumptions : tuple of str
    """

    functional: str
    value: float
    bound: float | None
    epsilon: float | None
    wanted: float
    best_seen: float
    better: np.ndarray | None
    cells: int
    seconds: float
    assumptions: tuple

    @property
    def holds(self):
        """Whether the bound is as tight as was asked for."""
        return self.epsilon is not None and self.epsilon <= self.wanted

    def as_dict(self):
        """Plain values for a result, without what changes between runs."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "seconds"}
        return {**values, "holds": self.holds}


def certify(field, coil, objective, grid, scalp, pose, *, functional, distance_mm, didt, epsilon=EPSILON):
    """Bound the searched functional over every tangential placement of a search region.

    Parameters
    ----------
    field : SplineField
        The stated exterior model.
    coil : Coil
    objective : Objective or ModeObjective
        Its ``of_functionals`` must be convex, grow at most as fast as its argument, and not
        exceed it in size: a norm, a component, or mean |E| of orthonormal modes.
    grid : ScalpGrid
        The region: every point of the scalp within its radius whose triangle faces outwards.
    scalp : TriSurface
    pose : (4, 4) array
        The reported placement.
    functional : str
        Name of what is bounded.
    distance_mm, didt : float
    epsilon : float
        Cells are divided until none can beat the reported value by more than this; or the
        best seen, once that does.

    Returns
    -------
    Certificate

    Raises
    ------
    SearchError
        An epsilon that is not positive.
    """
    start = time.perf_counter()
    if not 0 < epsilon < np.inf:
        raise SearchError(f"epsilon of the certificate must be positive, not {epsilon!r}")
    value = float(objective.of_functionals(field.functionals(coil, pose[None], didt))[0])
    bounding = _Bounding.of(field, coil, objective, grid, scalp, distance_mm, didt)
    cells = bounding.first_cells()
    seen, looked_at, bound, better, beaten = value, 0, value, None, False
    while len(cells.yaw) and looked_at < MOST_CELLS:
        highest, values, poses = bounding.evaluate(cells)
        looked_at += len(highest)
        top = int(np.argmax(values))
        if values[top] > seen:
            seen, better = float(values[top]), poses[top]
        beaten = seen > (1.0 + epsilon) * value
        open_ = highest > (1.0 + epsilon) * (seen if beaten else value)
        bound = max(bound, highest[~open_].max(initial=-np.inf))
        left = highest[open_].max(initial=-np.inf)
        cells = bounding.divided(cells.among(open_))
    if len(cells.yaw):
        bound = max(bound, left)
    known = bool(np.isfinite(bound))
    return Certificate(
        functional=functional,
        value=value,
        bound=float(bound) if known else None,
        epsilon=float(bound / value - 1.0) if known else None,
        wanted=float(epsilon),
        best_seen=seen,
        better=bounding.in_head(better) if beaten else None,
        cells=looked_at,
        seconds=time.perf_counter() - start,
        assumptions=ASSUMPTIONS,
    )


def require_certifiable(run, found):
    """Refuse what the certificate does not cover, before the rest of a run is spent.

    Raises
    ------
    SearchError
        Tilt is allowed, or the coil had to be lifted.
    """
    tilt, lift = run.constraints.max_tilt_deg, found.lift_mm.max()
    if tilt or lift:
        raise SearchError(
            f"the certificate covers tangential placements at one distance, not max_tilt_deg={tilt:g} "
            f"and lifts up to {lift:g} mm; leave out certify"
        )


def certify_run(run, found, pose, epsilon):
    """:func:`certify` for a placement of a run.

    For what is convex in its functionals: an objective of the mean field, and mean |E| by its modes;
    for others, and beside regions to avoid, |mean E| stands in.
    """
    parts = getattr(found.field, "parts", (found.field,))
    by_modes = isinstance(run.goal.measure, MeanMagnitude) and not run.avoided
    if not by_modes:
        parts = parts[:1]  # the mean field's
    field = replace(
        parts[0],
        coefficients=tuple(group for part in parts for group in part.coefficients),
        n_functionals=sum(part.n_functionals for part in parts),
    )
    return certify(
        field,
        run.coil,
        found.goal if by_modes else run.goal,
        found.grid,
        run.head.scalp,
        pose,
        functional=run.goal.name if by_modes else run.goal.functional,
        distance_mm=run.constraints.distance_mm,
        didt=run.didt,
        epsilon=epsilon,
    )


@dataclass(frozen=True, eq=False)
class _Patches:
    """Triangles of scalp (n, 3, 3), m, and the bounds of their normals."""

    corners: np.ndarray
    normals: np.ndarray
    slopes: np.ndarray
    rests: np.ndarray

    def among(self, chosen):
        return _Patches(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def joined(self, other):
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Patches(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, eq=False)
class _Cells:
    """Patches times intervals of yaw: rows of `patches`, middles and half widths, rad."""

    patches: _Patches
    patch: np.ndarray
    yaw: np.ndarray
    half_yaw: np.ndarray

    def among(self, chosen):
        return _Cells(self.patches, self.patch[chosen], self.yaw[chosen], self.half_yaw[chosen])


@dataclass(frozen=True, eq=False)
class _Bounding:
    """What bounds cells, in the grid's frame and metres."""

    field: object
    coefficients: np.ndarray
    jerks: np.ndarray
    coil: object
    rates: np.ndarray
    objective: object
    central: np.ndarray
    centre: np.ndarray
    radius: float
    distance: float
    region: np.ndarray
    centroids: np.ndarray
    area_normals: np.ndarray
    arm: float

    @classmethod
    def of(cls, field, coil, objective, grid, scalp, distance_mm, didt):
        outward = scalp.smooth_normal(grid.center_mm)[0]
        reach = np.linalg.norm(scalp.corners_mm - scalp.centroids_mm[:, None], axis=2).max(axis=1)
        nearest = np.linalg.norm(scalp.centroids_mm - grid.center_mm, axis=1) - reach
        region = np.flatnonzero(nearest <= grid.radius_mm)
        normals = scalp.smooth_normal(scalp.centroids_mm[region])
        region = region[np.sum(normals * scalp.area_normals_mm2[region], axis=1) > 0]
        around = nearest <= grid.radius_mm + NORMAL_RADIUS_MM + 2 * reach[region].max()
        turn = field.rotation
        zero, quarter = tangent_axes(-outward)
        strength = np.linalg.norm(coil.moments, axis=1)
        coefficients = np.concatenate([c[..., : 3 * GROUP] for c in field.coefficients], axis=-1)
        coefficients = np.ascontiguousarray(coefficients[..., : 3 * field.n_functionals])
        across2 = np.sum(coil.positions[:, :2] ** 2, axis=1)
        return cls(
            field=field,
            coefficients=coefficients,
            jerks=spline_jerks(coefficients, field.step),
            coil=coil,
            rates=-didt * coil.moments,
            objective=objective,
            central=turn @ np.stack([-quarter, zero, -outward], axis=1),
            centre=turn @ to_m(grid.center_mm),
            radius=to_m(grid.radius_mm),
            distance=float(to_m(distance_mm)),
            region=to_m(scalp.corners_mm[region]) @ turn.T,
            centroids=to_m(scalp.centroids_mm[around]) @ turn.T,
            area_normals=scalp.area_normals_mm2[around] @ turn.T,
            arm=float(np.sqrt(across2 @ strength / strength.sum())),
        )

    def first_cells(self):
        """Every triangle of the region times `FIRST_INTERVALS` of yaw."""
        half = np.pi / FIRST_INTERVALS
        rows = np.repeat(np.arange(len(self.region)), FIRST_INTERVALS)
        yaw = np.tile((2 * np.arange(FIRST_INTERVALS) + 1) * half, len(self.region))
        return _Cells(self.patches(self.region), rows, yaw, np.full(len(yaw), half))

    def patches(self, corners):
        """Triangles (n, 3, 3) with what is known of the normals over them."""
        n = len(corners)
        normals, slopes, rests = np.empty((n, 3)), np.empty((n, 3, 3)), np.empty(n)
        run_chunks(
            normal_bounds,
            n,
            corners,
            float(to_m(FINEST_MM)),
            self.centroids,
            self.area_normals,
            float(to_m(NORMAL_RADIUS_MM)),
            normals,
            slopes,
            rests,
            min_chunk=8,
        )
        return _Patches(corners, normals, slopes, rests)

    def evaluate(self, cells):
        """Upper bounds (n,) over cells, values (n,) at their references and those poses."""
        poses, values, affine, slack = self.hulls(cells)
        hull = self.objective.of_functionals(affine).max(axis=1)
        highest = hull + FLOAT32 * np.abs(hull) + slack
        found = self.objective.of_functionals(values)
        return highest, np.where(np.isfinite(slack), found, -np.inf), poses

    def hulls(self, cells):
        """What :func:`cell_bounds` says of cells: poses, values, affine, slack."""
        n, extent = len(cells.yaw), CoilExtent.of(self.coil)
        k = self.field.n_functionals
        poses, values = np.empty((n, 3, 4)), np.empty((n, k))
        affine, slack = np.empty((n, 6, k)), np.empty(n)
        patches = cells.patches.among(cells.patch)
        run_chunks(
            cell_bounds,
            n,
            self.coefficients,
            self.jerks,
            self.field.origin,
            self.field.step,
            self.coil.positions,
            self.rates,
            np.array([extent.radius, extent.low, extent.high]),
            self.distance,
            self.central,
            patches.corners,
            patches.normals,
            patches.slopes,
            patches.rests,
            cells.yaw,
            cells.half_yaw,
            poses,
            values,
            affine,
            slack,
            min_chunk=16,
        )
        return poses, values, affine, slack

    def divided(self, cells):
        """Halves of cells along what moves the coil most, but for those that left the region."""
        corners = cells.patches.corners
        sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        turn = 2 * cells.half_yaw * self.arm > sides.max(axis=1)[cells.patch]
        half = 0.5 * cells.half_yaw[turn]
        in_yaw = (
            np.tile(cells.patch[turn], 2),
            np.concatenate([cells.yaw[turn] - half, cells.yaw[turn] + half]),
            np.tile(half, 2),
        )
        cut, row = np.unique(cells.patch[~turn], return_inverse=True)
        longest = np.argmax(sides[cut], axis=1)
        a, b, c = (corners[cut, (longest + k) % 3] for k in range(3))
        middle = 0.5 * (a + b)
        pieces = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
        in_place = (
            len(corners) + np.concatenate([row, len(cut) + row]),
            np.tile(cells.yaw[~turn], 2),
            np.tile(cells.half_yaw[~turn], 2),
        )
        halves = _Cells(
            cells.patches.joined(self.patches(pieces)),
            *(np.concatenate(both) for both in zip(in_yaw, in_place, strict=True)),
        )
        return halves.among(self._in_region(halves.patches.corners)[halves.patch])

    def _in_region(self, corners):
        """Which triangles may hold a point of the region."""
        middle = corners.mean(axis=1)
        reach = np.linalg.norm(corners - middle[:, None], axis=2).max(axis=1)
        return np.linalg.norm(middle - self.centre, axis=1) - reach <= self.radius

    def in_head(self, pose):
        """matsimnibs of a pose (3, 4) of the grid's frame."""
        back = self.field.rotation.T
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = back @ pose[:, :3], to_mm(back @ pose[:, 3])
        return matrix


def spline_jerks(coefficients, step):
    """Bounds of the third derivatives of the spline in every grid cell.

    In a cell each derivative is a polynomial, bounded by its coefficients in the Bernstein
    basis; those follow from the B-spline coefficients by knot insertion.

    Parameters
    ----------
    coefficients : (nx, ny, nz, 3 n_functionals) array
    step : float, m

    Returns
    -------
    (nx, ny, nz, 30) float32 array
        For `TRIPLES` of axes and the components B_x, B_y, B_z the largest norm over the
        functionals; 0 where the spline has no value.
    """
    jerks = np.zeros((*coefficients.shape[:3], 30), np.float32)
    run_chunks(_fill_jerks, len(jerks) - 3, coefficients, step, jerks, min_chunk=1)
    return jerks


def _fill_jerks(begin, end, coefficients, step, jerks):
    """The cells ``begin + 1`` ... ``end`` along the first axis of :func:`spline_jerks`."""
    for first in range(begin, end, SLAB):
        last = min(first + SLAB, end)
        slab = coefficients[first : last + 3].astype(np.float64)
        fields = np.moveaxis(slab.reshape(*slab.shape[:3], -1, 3), (3, 4), (0, 1)).copy()
        largest = np.zeros((10, 3, *(n - 3 for n in slab.shape[:3])))
        for k, axes in enumerate(TRIPLES):
            orders = [axes.count(axis) for axis in range(3)]
            for x, x_shared in _bernstein(fields, 2, orders[0]):
                for y, y_shared in _bernstein(x, 3, orders[1]):
                    for z, z_shared in _bernstein(y, 4, orders[2]):
                        size = np.einsum("kcxyz,kcxyz->cxyz", z, z)
                        for axis, shared in ((1, x_shared), (2, y_shared), (3, z_shared)):
                            if shared:
                                n = size.shape[axis] - 1
                                size = np.maximum(_run(size, axis, 0, n), _run(size, axis, 1, n))
                        np.maximum(largest[k], size, out=largest[k])
        cells = np.moveaxis(np.sqrt(largest), (0, 1), (3, 4)) * ((1 + ROUNDING) / step**3)
        jerks[first + 1 : last + 1, 1:-2, 1:-2] = cells.reshape(*cells.shape[:3], 30)


def _bernstein(c, axis, order):
    """Bernstein coefficients along one axis of a derivative of a cubic spline, cells 1 ... n - 3.

    Pairs (values, shared): shared ones belong to the cells on both sides of a grid point.
    """
    n = c.shape[axis] - 3
    if order == 3:
        one, two, three, four = (_run(c, axis, i, n) for i in range(4))
        return [(four - 3 * three + 3 * two - one, False)]
    before, here, after = (_run(c, axis, i, n + 1) for i in range(3))
    if order == 2:
        return [(before - 2 * here + after, True)]
    left, right = (_run(c, axis, i, n) for i in (1, 2))
    if order == 1:
        return [((after - before) / 2, True), (right - left, False)]
    return [
        ((before + 4 * here + after) / 6, True),
        ((2 * left + right) / 3, False),
        ((left + 2 * right) / 3, False),
    ]


def _run(values, axis, start, count):
    """View of `count` entries along an axis."""
    return values[(slice(None),) * axis + (slice(start, start + count),)]
