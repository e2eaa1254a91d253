"""Equivalent dipoles: magnetic dipoles that make the field of wires or of a sampled A on the head's side.

Above its sources (z points into the head) a coil's field is fixed by what passes through any surface
between them and the head. So dipoles on a sheet that follows the coil's upper side, a little way behind
it, can stand for any coil, flat, bent or bowl-shaped: the method of fundamental solutions (G. Fairweather
and A. Karageorghis, Adv. Comput. Math. 9, 1998, 69). Their moments solve a least-squares problem for A in
shells around the sources, each shell weighted alike from `HEAD_MM` on and less below it, where the field
has more detail than the head ever sees. Points that took no part measure the error.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import generate_binary_structure, map_coordinates, maximum_filter, rank_filter
from scipy.spatial import QhullError, cKDTree

from efield.errors import CoilError
from efield.kernels import wire
from efield.kernels._jit import run_chunks
from efield.model.coil import dipole_a_field
from efield.model.coil_few import few_dipoles, potential_matrix
from efield.units import to_m

__all__ = ["DEFAULT_SPACING_MM", "HEAD_MM", "Fit", "fit_grid", "fit_wires", "wire_field"]

DEFAULT_SPACING_MM = 8.0

SHELLS_MM = (4.0, 6.0, 9.0, 13.0, 18.0, 26.0, 40.0, 60.0, 90.0, 130.0)
"""Distances from the sources between which shells of points lie."""

HEAD_MM = 12.0
"""Winding to brain is never less: the casing, hair and scalp lie between."""

NEAR_POWER = 3
"""Nearer than `HEAD_MM` a shell counts for (distance / HEAD_MM) to this power."""

SIDE_MM = 96.0
"""The sheet and the points reach this far beyond the sources sideways."""

FINE, COARSE = 0.1, 0.03
"""Of the largest |A| over the sheet: where dipoles stand at the spacing, and at twice the spacing."""

LIFT_MM = 8.0
"""Where |A| is looked at for that, above the coil's upper side."""

FEWEST, MOST = 250, 700
"""Dipoles of a fit; small coils get a closer spacing, large ones a wider."""

POINTS_PER_DIPOLE = 6

RIDGE = 1e-11
"""Of the normal matrix with unit diagonal: keeps moments from growing against one another."""

ROUGH = 0.02
"""Part of the neighbouring |A| above which a second difference shows a source within some two voxels."""

CLOSE = 1e-3
"""Part of the largest |A| below which a second difference is the file's noise or a coarse grid's own."""

SPIKE = 1.5
"""|A| counts for no more than this many times that of its second smallest neighbour: a sample may
lie a hundredth of a millimetre from a dipole and outshine all others, which are sources none the less."""

REFUSED = 0.05
"""A larger error means that the field is not that of closed currents behind the sheet."""

BLUR_MM = 4.0
"""Sources found in a sampled field reach beyond the windings by about this, or by two voxels where less."""

FADED = 0.2
"""Of the largest second difference within two voxels: weaker ones lie beside sources, not at them."""

BLOCK = 512


@dataclass(frozen=True, eq=False)
class Fit:
    """Equivalent dipoles and how well they do.

    Attributes
    ----------
    positions_mm : (n, 3) array
    moments : (n, 3) array
        A m^2 per ampere.
    extent_mm : (m, 3) array
        Where the coil itself is, as far as its field tells; the sheet reaches beyond.
    error : float
        Error of A at held-out points from `HEAD_MM` above the windings on, rms over rms.
    near_error : float or None
        The same nearer, down to 4 mm above the sources; None where no point lies there.
    """

    positions_mm: np.ndarray
    moments: np.ndarray
    extent_mm: np.ndarray
    error: float
    near_error: float | None


def fit_wires(starts_mm, ends_mm, *, spacing_mm=DEFAULT_SPACING_MM, progress=None):
    """Equivalent dipoles of straight segments that carry one ampere from start to end.

    Parameters
    ----------
    starts_mm, ends_mm : (n, 3) arrays
    spacing_mm : float
        Between dipoles.
    progress : callable, optional
        Told the share of the work that is done.

    Returns
    -------
    Fit

    Raises
    ------
    CoilError
        The error exceeds `REFUSED`: the currents are not closed.
    """
    sources = _along(starts_mm, ends_mm, spacing_mm / 2)
    sheet = _Sheet(sources, spacing_mm)

    def field(points_mm):
        return wire_field(starts_mm, ends_mm, points_mm)

    dipoles = sheet.dipoles(field)
    points = sheet.points_above(2 * POINTS_PER_DIPOLE * len(dipoles))
    return _fit(sheet, dipoles, points, field(points), sources, 0.0, progress)


def wire_field(starts_mm, ends_mm, points_mm):
    """A (n, 3), T m per ampere, of straight segments that carry one ampere from start to end."""
    out = np.empty((len(points_mm), 3))
    arrays = (np.ascontiguousarray(to_m(a)) for a in (points_mm, starts_mm, ends_mm))
    run_chunks(wire.segment_potential, len(out), *arrays, out, min_chunk=64)
    return out


def fit_grid(affine, data, *, spacing_mm=DEFAULT_SPACING_MM, progress=None):
    """Equivalent dipoles of a sampled A.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel indices to mm in the coil frame.
    data : (nx, ny, nz, 3) array, T m per ampere
    spacing_mm : float
        Between dipoles.
    progress : callable, optional
        Told the share of the work that is done.

    Returns
    -------
    Fit

    Raises
    ------
    CoilError
        The field is zero, the grid is too small to fit, or the error exceeds `REFUSED`.
    """
    affine, data = np.asarray(affine, float), np.asarray(data, float)
    if min(data.shape[:3]) < 4 or not data.any():
        what = "is zero everywhere" if not data.any() else f"has shape {data.shape[:3]}, each side needs 4"
        raise CoilError(f"a coil's sampled field {what}: nothing can be fitted to it")
    corners = np.stack(np.meshgrid(*([0, n - 1] for n in data.shape[:3])), axis=-1).reshape(-1, 3)
    reach = np.abs(corners @ affine[:3, :3].T + affine[:3, 3]).max()
    if not 10 <= reach <= 2000:
        raise CoilError(f"the box of a coil's sampled field reaches {reach:g} mm; its affine must be in mm")
    voxels = np.stack(np.meshgrid(*map(np.arange, data.shape[:3]), indexing="ij"), axis=-1).reshape(-1, 3)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    few = few_dipoles(points, data.reshape(-1, 3), np.linalg.norm(affine[:3, :3], axis=0).max())
    if few is not None:
        distance = cKDTree(few[0]).query(points)[0]
        return Fit(*few, few[0], *_errors(*few, points, data.reshape(-1, 3), distance))
    sources = points[_near_sources(affine, data).ravel()]
    sheet = _Sheet(sources, spacing_mm)
    to_voxel = np.linalg.inv(affine)

    def field(points_mm):
        at = (points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
        return np.stack([map_coordinates(data[..., c], at, order=1, cval=0.0) for c in range(3)], axis=1)

    dipoles = sheet.dipoles(field)
    # The samples themselves: between them the file knows less than the dipoles do.
    above = np.flatnonzero(sheet.reaches(points))
    blur_mm = min(2 * np.linalg.norm(affine[:3, :3], axis=0).min(), BLUR_MM)
    return _fit(sheet, dipoles, points[above], data.reshape(-1, 3)[above], None, blur_mm, progress)


class _Sheet:
    """The coil's upper side as a height over x and y, and dipoles that follow it a little behind.

    Parameters
    ----------
    sources_mm : (n, 3) array
        Points where current may flow.
    spacing_mm : float
        Between dipoles, and from the upper side to them.
    """

    def __init__(self, sources_mm, spacing_mm):
        self.spacing = spacing_mm
        self.sources = cKDTree(sources_mm)
        self.low, self.high = sources_mm.min(axis=0), sources_mm.max(axis=0)
        cell, member = np.unique(np.floor(sources_mm[:, :2] / spacing_mm), axis=0, return_inverse=True)
        xy, top = (cell + 0.5) * spacing_mm, np.full(len(cell), -np.inf)
        np.maximum.at(top, member.ravel(), sources_mm[:, 2])
        self.columns, self.cell = cKDTree(xy), spacing_mm
        # The highest within a cell and a half: a gap between wires is no way up.
        near = self.columns.query_ball_point(xy, 1.5 * spacing_mm)
        self._heights, self._origin = self._height_lattice(xy, np.array([top[n].max() for n in near]))

    def _height_lattice(self, xy_mm, top):
        """Heights on a lattice of cells, and its corner: between columns linear, level beyond."""
        x, y = self._sides(self.cell)
        nodes = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
        heights = top[self.columns.query(nodes)[1]]
        try:
            between = LinearNDInterpolator(xy_mm, top)(nodes)
            heights = np.where(np.isnan(between), heights, between)
        except QhullError:  # columns on a line
            pass
        return heights, np.array([x[0], y[0]])

    def height(self, xy_mm):
        """(n,) height of the coil's upper side, mm."""
        at = (xy_mm - self._origin).T / self.cell
        return map_coordinates(self._heights, at, order=1, mode="nearest")

    def lift(self, points_mm):
        """(n,) mm above the coil's upper side."""
        return points_mm[:, 2] - self.height(points_mm[:, :2])

    def dipoles(self, field):
        """(n, 3) positions, mm, as dense as `field` is strong just above them; neither few nor many."""
        dipoles = self._dipoles(field)
        while 0 < len(dipoles) < FEWEST:
            self.spacing /= 1.25
            dipoles = self._dipoles(field)
        while len(dipoles) > MOST:
            self.spacing *= max(1.05, math.sqrt(len(dipoles) / MOST))
            dipoles = self._dipoles(field)
        if not len(dipoles):
            raise CoilError(
                "no field is given above the coil's sources, where the head is (z points into it)"
            )
        return dipoles

    def _dipoles(self, field):
        fine = self._behind(self.spacing)
        coarse = self._behind(2 * self.spacing)
        strength = [np.linalg.norm(field(self._lifted(p)), axis=1) for p in (fine, coarse)]
        largest = max(strength[0].max(), strength[1].max())
        fine = fine[strength[0] > FINE * largest]
        apart = cKDTree(fine).query(coarse)[0] > 1.2 * self.spacing  # all are, of no fine ones
        return np.vstack([fine, coarse[(strength[1] > COARSE * largest) & apart]])

    def _lifted(self, points_mm):
        """Points above the sheet, over some on it."""
        xy = points_mm[:, :2]
        return np.column_stack([xy, self.height(xy) + LIFT_MM])

    def _behind(self, spacing):
        """Points of the sheet, about `spacing` apart, steep parts included."""
        x, y = self._sides(spacing)
        xy = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
        flat = xy.reshape(-1, 2)
        # Beyond the coil the sheet turns away from the head.
        beyond = np.maximum(0.0, self.columns.query(flat)[0] - self.cell)
        z = self.height(flat) - spacing - 0.5 * beyond
        grid = np.concatenate([xy, z.reshape(*xy.shape[:2], 1)], axis=2)
        return np.vstack([grid.reshape(-1, 3), _steps(grid, spacing), _steps(grid.swapaxes(0, 1), spacing)])

    def _sides(self, step):
        """Coordinates along x and y of a lattice centred on the coil."""
        middle, half = (self.low + self.high)[:2] / 2, (self.high - self.low)[:2] / 2 + SIDE_MM
        counts = np.ceil(half / step).astype(int)
        return [m + step * np.arange(-n, n + 1) for m, n in zip(middle, counts, strict=True)]

    def points_above(self, count):
        """About `count` points on the head's side, scattered through the shells."""
        rng = np.random.default_rng(0)
        xy = rng.uniform(self.low[:2] - SIDE_MM, self.high[:2] + SIDE_MM, (4 * count, 2))
        lift = np.exp(rng.uniform(np.log(SHELLS_MM[0]), np.log(SHELLS_MM[-1]), 4 * count))
        points = np.column_stack([xy, self.height(xy) + lift])
        return points[self.reaches(points)]

    def reaches(self, points_mm):
        """Which points lie above the coil's upper side and not too far beside it."""
        xy = points_mm[:, :2]
        beside = ((xy >= self.low[:2] - SIDE_MM) & (xy <= self.high[:2] + SIDE_MM)).all(axis=1)
        result = np.zeros(len(xy), bool)
        result[beside] = points_mm[beside, 2] > self.height(xy[beside])
        return result


def _steps(grid, spacing):
    """Points on the steep edges between neighbours of a lattice along its first axis."""
    a, b = grid[:-1].reshape(-1, 3), grid[1:].reshape(-1, 3)
    steep = np.abs(b - a)[:, 2] > 1.5 * spacing
    return _along(a[steep], b[steep], spacing) if steep.any() else np.empty((0, 3))


def _along(starts_mm, ends_mm, spacing):
    """(n, 3) points on segments, not more than `spacing` apart."""
    starts, ends = np.asarray(starts_mm, float), np.asarray(ends_mm, float)
    parts = np.maximum(1, np.ceil(np.linalg.norm(ends - starts, axis=1) / spacing)).astype(int)
    segment = np.repeat(np.arange(len(starts)), parts)
    share = (np.arange(len(segment)) - np.repeat(np.cumsum(parts) - parts, parts) + 0.5) / parts[segment]
    return starts[segment] + share[:, None] * (ends - starts)[segment]


def _near_sources(affine, data):
    """(nx, ny, nz) bool: voxels within some two of a source, or where the box is cut nearest to one.

    Away from currents each component of A is harmonic: its second differences add up to next to nothing.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    size = np.linalg.norm(data, axis=-1)
    rough, around = np.zeros_like(data), size.copy()
    for axis in range(3):
        inner, ahead, behind = (_shifted(axis, k) for k in (0, 1, -1))
        second = data[ahead] + data[behind] - 2 * data[inner]
        rough[inner] += (edges.min() / edges[axis]) ** 2 * second
        around[inner] = np.maximum(around[inner], np.maximum(size[ahead], size[behind]))
    interior = (slice(1, -1),) * 3
    strength = np.linalg.norm(rough, axis=-1)
    strength[interior] *= -1
    strength = np.maximum(0.0, -strength)
    neighbours = generate_binary_structure(3, 1)
    neighbours[1, 1, 1] = False
    tame = np.minimum(size, SPIKE * rank_filter(size, 1, footprint=neighbours, mode="nearest"))
    capped = np.minimum(strength, tame)
    near = (strength > ROUGH * around) & (capped > CLOSE * tame.max())
    near &= capped >= FADED * maximum_filter(capped, 5)
    cut = tame >= 0.5 * tame.max()
    cut[interior] = tame[interior] >= 0.9 * tame.max()
    return near | cut


def _shifted(axis, by):
    """Index of the voxels that have neighbours on both sides along an axis, moved by one or none."""
    index = [slice(None)] * 3
    index[axis] = slice(1 + by, -1 + by or None)
    return tuple(index)


def _fit(sheet, dipoles_mm, points_mm, field, extent_mm, blur_mm, progress):
    """Moments by weighted least squares in shells, the error at points left out.

    The windings lie some `blur_mm` behind the sources that distances are taken from.
    """
    distance = np.minimum(sheet.sources.query(points_mm)[0], sheet.lift(points_mm))
    used, held = _chosen(distance, POINTS_PER_DIPOLE * len(dipoles_mm), sheet.spacing)
    if not (len(used) and len(held)):
        raise CoilError("no field is given where the head is, above the coil's sources: nothing to fit to")
    shell = np.digitize(distance, SHELLS_MM)
    weight = np.zeros(len(points_mm))
    for k in np.unique(shell[used]):
        members = used[shell[used] == k]
        rms = np.sqrt((field[members] ** 2).sum(axis=1).mean())
        closeness = min(1.0, distance[members].mean() / HEAD_MM) ** NEAR_POWER
        weight[members] = closeness / (rms * math.sqrt(len(members))) if rms > 0 else 0.0
    moments = _solve(to_m(dipoles_mm), to_m(points_mm[used]), field[used], weight[used], progress)
    error, near_error = _errors(dipoles_mm, moments, points_mm[held], field[held], distance[held] + blur_mm)
    if not error <= REFUSED:
        raise CoilError(
            f"magnetic dipoles behind the coil reproduce its field to {100 * error:.2g} % only: its currents "
            "are not closed, or some flow on the head's side of its upper surface (z points into the head)"
        )
    if extent_mm is None:
        strength = np.linalg.norm(dipole_a_field(dipoles_mm, moments, sheet._lifted(dipoles_mm)), axis=1)
        extent_mm = dipoles_mm[strength >= 0.5 * strength.max()]
    return Fit(dipoles_mm, moments, extent_mm, error, near_error)


def _errors(dipoles_mm, moments, points_mm, field, distance):
    """`Fit.error` and `Fit.near_error` at points (n, 3), `distance` mm from the sources."""
    difference = dipole_a_field(dipoles_mm, moments, points_mm) - field
    far = distance >= HEAD_MM
    if not far.any():
        raise CoilError(
            f"no field is given {HEAD_MM:g} mm or more above the coil's sources, where the head is: the fit "
            "cannot be checked there; sample a larger box"
        )
    near_error = None if far.all() else _relative(difference[~far], field[~far])
    return _relative(difference[far], field[far]), near_error


def _chosen(distance, count, spacing):
    """Indices of points to fit and of others to check with: fewer, the farther out the shell."""
    rng = np.random.default_rng(1)
    shell, used, held = np.digitize(distance, SHELLS_MM), [], []
    share = np.array([max(0.8 * spacing, 0.5 * r) ** -2.0 for r in SHELLS_MM[:-1]])
    for k, part in enumerate(share / share.sum(), 1):
        members = rng.permutation(np.flatnonzero(shell == k))
        n_used = min(math.ceil(part * count), math.ceil(0.8 * len(members)))
        used.append(members[:n_used])
        held.append(members[n_used:][: math.ceil(0.3 * n_used)])
    return np.concatenate(used), np.concatenate(held)


def _solve(positions, points, field, weight, progress):
    """(n, 3) moments that minimise the weighted error of A; the normal matrix is nearly all the work."""
    n = 3 * len(positions)
    normal, right = np.zeros((n, n)), np.zeros(n)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        rows = potential_matrix(positions, points[part]) * np.repeat(weight[part], 3)[:, None]
        normal += rows.T @ rows
        right += rows.T @ (field[part] * weight[part, None]).ravel()
        if progress is not None:
            progress(min(1.0, (start + BLOCK) / len(points)))
    scale = 1 / np.sqrt(np.diag(normal))
    normal *= scale[:, None] * scale
    normal[np.diag_indices(n)] += RIDGE
    try:
        factor = cho_factor(normal, overwrite_a=True)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise CoilError(f"no dipoles can be fitted to the coil's field: {error}") from error
    return (scale * cho_solve(factor, scale * right)).reshape(-1, 3)


def _relative(difference, reference):
    return float(np.linalg.norm(difference) / np.linalg.norm(reference))
