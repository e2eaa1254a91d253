"""The exterior field on a grid of cubic B-splines: values and pose gradients of any coil."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import spline_filter

from efield.adjoint.current import GROUP
from efield.errors import SearchError
from efield.kernels import spline as kernel
from efield.kernels._jit import run_chunks
from efield.units import to_m, to_mm

NEAR_MM = 6.5
"""Coils whose lowest dipoles come closer to the scalp than this need the finer resolution."""

SPACING_MM = {"near": 2.0, "far": 3.0}
"""Grid spacing: on the built-in head an error below 3e-5 of the largest value, at contact too."""

MARGIN = 5
"""Grid cells round the box of the coils: the spline's own two and what the polish may move."""

NEAREST_CHARGE_MM = 2.5
"""Grid points under the scalp see no charge nearer than this."""


def closeness(height_mm):
    """Resolution class of a coil, "near" or "far", by the height of its lowest dipoles over the scalp."""
    return "near" if height_mm < NEAR_MM else "far"


@dataclass(frozen=True, eq=False)
class CoilExtent:
    """The cylinder round a coil's z axis that holds its dipoles, m."""

    radius: float
    low: float
    high: float

    @classmethod
    def of(cls, coil):
        """Extent of a coil's dipoles."""
        return cls.of_points(coil.positions)

    @classmethod
    def of_points(cls, points):
        """Extent of points (n, 3) in the coil's frame, m."""
        return cls(
            float(np.hypot(points[:, 0], points[:, 1]).max()),
            float(points[:, 2].min()),
            float(points[:, 2].max()),
        )

    def height_mm(self, distance_mm):
        """Height of the lowest dipoles over the plane `distance_mm` in front of the coil's origin."""
        return distance_mm - to_mm(self.high)

    def box(self, centres, axes):
        """Bounds (n, 3), (n, 3) of the cylinder at coil origins and z axes, for any yaw; m."""
        along = np.stack([self.low * axes, self.high * axes])
        across = self.radius * np.sqrt(np.clip(1.0 - axes**2, 0.0, None))
        return centres + along.min(axis=0) - across, centres + along.max(axis=0) + across


@dataclass(frozen=True, eq=False)
class SplineField:
    """Spline of a harmonic model's field over the box that a search needs.

    Attributes
    ----------
    coefficients : tuple of (nx, ny, nz, 16) float32 arrays
        One per group of three functionals, whose nine components come first in a row.
    n_functionals : int
    rotation : (3, 3) array
        Head to grid.
    origin : (3,) array, m
        Grid point (0, 0, 0) in the grid's frame.
    step : float, m
    """

    coefficients: tuple
    n_functionals: int
    rotation: np.ndarray
    origin: np.ndarray
    step: float

    @classmethod
    def over(cls, model, extent, centres_mm, axes, *, spacing_mm):
        """Fill a grid that holds a coil at every given position, whatever its yaw.

        Parameters
        ----------
        model : HarmonicField
        extent : CoilExtent
        centres_mm, axes : (n, 3) arrays
            Coil origins and z axes; a margin for the polish is the caller's.
        """
        rotation = _grid_rotation(axes.mean(axis=0))
        low, high = extent.box(to_m(centres_mm) @ rotation.T, axes @ rotation.T)
        step = to_m(spacing_mm)
        origin = low.min(axis=0) - MARGIN * step
        shape = np.ceil((high.max(axis=0) - origin) / step).astype(int) + MARGIN + 1
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
        points = (origin + step * grid.reshape(-1, 3)) @ rotation
        field = model.field(points, closest=to_m(NEAREST_CHARGE_MM))
        k = field.shape[1]
        # components in the grid's frame, so that a coil needs one rotation only
        field = np.einsum("nkc,dc->nkd", field, rotation).reshape(*shape, k, 3)
        groups = tuple(_coefficients(field[..., i : i + GROUP, :]) for i in range(0, k, GROUP))
        return cls(groups, k, rotation, origin, float(step))

    def field(self, points):
        """Field at points (n, 3) in metres, head frame; returns (n, k, 3), T per unit weight.

        Raises
        ------
        SearchError
            A point leaves the grid.
        """
        local = points @ self.rotation.T
        self._require_inside(local, local)
        values = np.empty((len(local), len(self.coefficients), GROUP, 3))
        for g, coefficients in enumerate(self.coefficients):
            out = np.empty((len(local), kernel.COLUMNS), np.float32)
            run_chunks(kernel.field_values, len(local), coefficients, self.origin, self.step, local, out)
            values[:, g] = out[:, : 3 * GROUP].reshape(-1, GROUP, 3)
        return values.reshape(len(local), -1, 3)[:, : self.n_functionals] @ self.rotation

    def in_frames(self, points, poses):
        """Field at points of a coil, along the coil's axes, at several poses.

        Parameters
        ----------
        points : (n_points, 3) array, m
            In the coil's frame.
        poses : (n, 4, 4) array
            matsimnibs.

        Returns
        -------
        (n, k, n_points, 3) float32 array, T per unit weight

        Raises
        ------
        SearchError
            A point may leave the grid.
        """
        local = self._local(CoilExtent.of_points(points), poses)
        values = np.empty((len(poses), GROUP * len(self.coefficients), len(points), 3), np.float32)
        for g, coefficients in enumerate(self.coefficients):
            part = np.empty((len(poses), GROUP, len(points), 3), np.float32)
            run_chunks(
                kernel.frame_values,
                len(poses),
                coefficients,
                self.origin,
                self.step,
                points,
                local,
                part,
                min_chunk=8,
            )
            values[:, GROUP * g : GROUP * (g + 1)] = part
        return values[:, : self.n_functionals]

    def functionals(self, coil, poses, didt):
        """Target functionals of the field of a coil at many poses.

        Parameters
        ----------
        coil : Coil
        poses : (n, 4, 4) array
            matsimnibs.
        didt : float, A/s

        Returns
        -------
        (n, k) array

        Raises
        ------
        SearchError
            A pose leaves the grid.
        """
        local = self._local(CoilExtent.of(coil), poses)
        values = np.empty((len(poses), GROUP * len(self.coefficients)))
        for g, coefficients in enumerate(self.coefficients):
            out = np.empty((len(poses), GROUP))
            run_chunks(
                kernel.coil_values,
                len(poses),
                coefficients,
                self.origin,
                self.step,
                coil.positions,
                coil.moments,
                local,
                out,
                min_chunk=4,
            )
            values[:, GROUP * g : GROUP * (g + 1)] = out
        return -didt * values[:, : self.n_functionals]

    def gradients(self, coil, poses, didt):
        """Functionals (n, k) and their pose derivatives (n, k, 6) in the head's frame.

        The first three derivatives are per metre of translation, the last three per radian
        of rotation about the coil's origin.
        """
        local = self._local(CoilExtent.of(coil), poses)
        size = GROUP * len(self.coefficients)
        values, slopes = np.empty((len(poses), size)), np.empty((len(poses), size, 6))
        for g, coefficients in enumerate(self.coefficients):
            out, gradient = np.empty((len(poses), GROUP)), np.empty((len(poses), GROUP, 6))
            run_chunks(
                kernel.coil_gradients,
                len(poses),
                coefficients,
                self.origin,
                self.step,
                coil.positions,
                coil.moments,
                local,
                out,
                gradient,
                min_chunk=2,
            )
            part = slice(GROUP * g, GROUP * (g + 1))
            values[:, part] = out
            slopes[:, part] = np.concatenate(
                [gradient[..., :3] @ self.rotation, gradient[..., 3:] @ self.rotation], axis=-1
            )
        k = self.n_functionals
        return -didt * values[:, :k], -didt * slopes[:, :k]

    def _local(self, extent, poses):
        """Poses (n, 3, 4) in the grid's frame, m; checked to lie inside the grid."""
        local = np.empty((len(poses), 3, 4))
        local[:, :, :3] = self.rotation @ poses[:, :3, :3]
        local[:, :, 3] = to_m(poses[:, :3, 3]) @ self.rotation.T
        low, high = extent.box(local[:, :, 3], local[:, :, 2])
        self._require_inside(low, high)
        return local

    def _require_inside(self, low, high):
        """Raise unless the boxes (n, 3), (n, 3) in the grid's frame lie inside the grid."""
        last = self.origin + self.step * (np.array(self.coefficients[0].shape[:3]) - 1)
        inside = np.all((low >= self.origin + self.step) & (high <= last - 2 * self.step), axis=1)
        if not inside.all():
            bad = int(np.argmin(inside))
            centre = to_mm(0.5 * (low[bad] + high[bad]) @ self.rotation)
            raise SearchError(
                f"pose or point {bad} at {np.round(centre, 1).tolist()} mm leaves the region in which the "
                "exterior field was prepared; enlarge the search radius"
            )


def _grid_rotation(axis):
    """Rotation whose rows are two tangents and `axis`: flat coils fill a flat box."""
    axis = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    first = np.cross(helper, axis)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(axis, first), axis])


def _coefficients(field):
    """Spline coefficients (nx, ny, nz, 16) of up to three vector fields (nx, ny, nz, k, 3)."""
    shape = field.shape[:3]
    packed = np.zeros((*shape, kernel.COLUMNS), np.float32)
    for c in range(3 * field.shape[3]):
        component = np.ascontiguousarray(field.reshape(*shape, -1)[..., c], dtype=np.float64)
        packed[..., c] = spline_filter(component, order=3, mode="mirror")
    return packed
