"""Maps between frames, above all MNI space and a subject's own; each knows its frames."""

from dataclasses import dataclass

import numpy as np

from efield.errors import FrameError
from efield.model.arrays import FieldsOnlyPickle, read_only

DIFFERENCE_MM = 0.5
"""Step of the differences that turn directions by a sampled map."""


@dataclass(frozen=True, eq=False)
class Affine(FieldsOnlyPickle):
    """An affine map that knows its frames.

    Parameters
    ----------
    matrix : (4, 4) array
        mm to mm; the last row 0 0 0 1.
    source, target : str
        Frame mapped from, frame mapped to, such as "mni" and "subject".

    Raises
    ------
    FrameError
        Wrong shape, values that are not finite, another last row, a singular or mirrored map.
    """

    matrix: np.ndarray
    source: str
    target: str

    def __post_init__(self):
        matrix = read_only(self.matrix, np.float64)
        name = f"transform {self.source} to {self.target}"
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
            raise FrameError(f"the {name} must be a finite 4 x 4 matrix, not {np.shape(self.matrix)}")
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise FrameError(f"the last row of the {name} must be 0 0 0 1, not {matrix[3].tolist()}")
        if np.linalg.det(matrix[:3, :3]) < 1e-6:
            raise FrameError(f"the {name} is singular or mirrors the head: {matrix.tolist()}")
        object.__setattr__(self, "matrix", matrix)

    def points(self, points_mm):
        """(n, 3) points in `target`."""
        return np.atleast_2d(points_mm) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def directions(self, points_mm, directions):
        """(n, 3) unit directions in `target` of directions (n, 3) at points."""
        return _unit(np.atleast_2d(directions) @ self.matrix[:3, :3].T)

    @property
    def inverse(self):
        """The map back."""
        return Affine(np.linalg.inv(self.matrix), self.target, self.source)

    def __matmul__(self, first):
        """This map after another one; their frames must meet."""
        if first.target != self.source:
            raise FrameError(
                f"cannot apply {self.source} to {self.target} after {first.source} to {first.target}"
            )
        return Affine(self.matrix @ first.matrix, first.source, self.target)


@dataclass(frozen=True, eq=False)
class Warp(FieldsOnlyPickle):
    """A sampled non-linear map that knows its frames.

    Parameters
    ----------
    voxel_to_mm : (4, 4) array
        Voxel indices to mm in `source`.
    values : (nx, ny, nz, 3) array
        The mapped coordinate of each voxel, mm in `target`.
    source, target : str
    """

    voxel_to_mm: np.ndarray
    values: np.ndarray
    source: str
    target: str

    def __post_init__(self):
        object.__setattr__(self, "voxel_to_mm", read_only(self.voxel_to_mm, np.float64))
        object.__setattr__(self, "values", read_only(self.values))

    def points(self, points_mm):
        """(n, 3) points in `target`: linear between voxels, that of the nearest voxel beyond them."""
        from scipy.ndimage import map_coordinates

        back = np.linalg.inv(self.voxel_to_mm)
        voxels = (np.atleast_2d(points_mm) @ back[:3, :3].T + back[:3, 3]).T
        axes = np.moveaxis(self.values, 3, 0)
        return np.stack(
            [map_coordinates(a, voxels, output=np.float64, order=1, mode="nearest") for a in axes], axis=1
        )

    def directions(self, points_mm, directions):
        """(n, 3) unit directions in `target` of directions (n, 3) at points, by central differences."""
        points, step = np.atleast_2d(points_mm), DIFFERENCE_MM * _unit(np.atleast_2d(directions))
        return _unit(self.points(points + step) - self.points(points - step))


def _unit(vectors):
    """Vectors (n, 3) of length one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.all(length > 0):
        raise FrameError("a direction of length zero has no image in another frame")
    return vectors / length


@dataclass(frozen=True, eq=False)
class MniTransform(FieldsOnlyPickle):
    """Both ways between a head's own space and MNI space.

    Attributes
    ----------
    kind : {"nonlinear", "12dof", "6dof", "identity"}
    to_mni, to_subject : Affine or Warp
    """

    kind: str
    to_mni: Affine | Warp
    to_subject: Affine | Warp


MNI_ITSELF = MniTransform("identity", Affine(np.eye(4), "mni", "mni"), Affine(np.eye(4), "mni", "mni"))
"""For a head that is its own MNI space."""
