"""NIfTI files: masks, and A-fields, a coil's vector potential sampled on a grid.

SimNIBS writes A-fields as ``.nii.gz`` with three components per stimulator: A in T m per ampere of
coil current, which is dA/dt in V/m per A/s. The affine maps voxels to the coil frame in mm.
"""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import CoilError, FormatError

__all__ = [
    "AFieldRecord",
    "VolumeRecord",
    "check_extent",
    "load_values",
    "read_a_field",
    "read_volume",
    "sample_a_field",
    "voxel_to_mm",
]

MAX_VALUES = 1 << 29
"""4 GiB of float64: a header that claims more is taken to be corrupt."""


@dataclass(frozen=True, eq=False)
class AFieldRecord:
    """A sampled vector potential.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel indices to the coil frame, mm.
    data : (nx, ny, nz, 3 k) array
        Vector potential of each of k stimulators, T m per ampere, components along the coil's axes.
    """

    affine: np.ndarray
    data: np.ndarray


def read_a_field(path):
    """Read an A-field NIfTI file.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``.

    Returns
    -------
    AFieldRecord

    Raises
    ------
    FormatError
        Not a readable NIfTI file, not three components per stimulator, values that are not finite,
        a singular affine, or a header that declares a unit other than mm.
    """
    image, data = load_values(path)
    shape = data.shape
    if data.ndim == 5 and shape[3] == 1:  # the NIfTI convention for one vector per voxel
        data = data[:, :, :, 0]
    if data.ndim != 4 or data.shape[3] % 3 or not data.size:
        raise FormatError(f"{path}: shape {shape}; an A-field has shape (nx, ny, nz, 3 x stimulators)")
    affine = voxel_to_mm(path, image)
    bad = np.argwhere(~np.isfinite(data))
    if len(bad):
        raise FormatError(f"{path}: value at voxel and component {bad[0].tolist()} is not finite")
    return AFieldRecord(affine, data)


def sample_a_field(record, points_mm):
    """Vector potential at points, by trilinear interpolation.

    Parameters
    ----------
    record : AFieldRecord
    points_mm : (n, 3) array
        Points in the coil frame, mm.

    Returns
    -------
    (n, 3 k) array
        T m per ampere.

    Raises
    ------
    CoilError
        Points outside the sampled box; nothing is extrapolated or filled with zeros.
    """
    from scipy.ndimage import map_coordinates

    points = np.atleast_2d(np.asarray(points_mm, dtype=np.float64))
    to_voxel = np.linalg.inv(record.affine)
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    last = np.array(record.data.shape[:3]) - 1
    # A millionth of a voxel: a grid point mapped there and back must count as inside.
    inside = ((voxels >= -1e-6) & (voxels <= last + 1e-6)).all(axis=1)
    if not inside.all():
        worst = points[np.argmin(inside)].tolist()
        raise CoilError(
            f"{np.count_nonzero(~inside)} of {len(points)} points lie outside the box where the coil's field "
            f"is sampled, the first at {worst} mm in the coil frame; use a coil file that covers the head"
        )
    voxels = np.clip(voxels, 0, last).T
    return np.stack([map_coordinates(a, voxels, order=1) for a in np.moveaxis(record.data, 3, 0)], axis=1)


@dataclass(frozen=True, eq=False)
class VolumeRecord:
    """A scalar volume, such as a mask.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel indices to world coordinates, mm.
    data : (nx, ny, nz) array
        NaN where a voxel has no value.
    """

    affine: np.ndarray
    data: np.ndarray

    def nearest(self, points_mm):
        """Values (n,) of the voxels that hold some points (n, 3), mm; 0 outside every mask.

        Outside are points beyond the volume and, as SPM writes them, voxels that are NaN.
        """
        points = np.atleast_2d(np.asarray(points_mm, dtype=np.float64))
        to_voxel = np.linalg.inv(self.affine)
        voxels = np.floor(points @ to_voxel[:3, :3].T + to_voxel[:3, 3] + 0.5)
        inside = ((voxels >= 0) & (voxels < self.data.shape)).all(axis=1)
        values = np.zeros(len(points))
        values[inside] = self.data[tuple(voxels[inside].astype(np.int64).T)]
        return np.where(np.isnan(values), 0.0, values)


def read_volume(path):
    """Read a three-dimensional NIfTI volume, such as a mask.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``; trailing dimensions of length one are dropped.

    Returns
    -------
    VolumeRecord

    Raises
    ------
    FormatError
        Not a readable NIfTI file, not three-dimensional, no frame (both form codes are 0), a
        singular affine, a header that declares a unit other than mm, or infinite values.
    """
    image, data = load_values(path)
    if data.ndim < 3 or any(n != 1 for n in data.shape[3:]) or not data.size:
        raise FormatError(f"{path}: shape {data.shape}; a mask is one volume of shape (nx, ny, nz)")
    if not image.header["sform_code"] and not image.header["qform_code"]:
        raise FormatError(
            f"{path}: sform_code and qform_code are 0, so the header does not say where the voxels lie; "
            "write the mask again with the affine of the image it was drawn on"
        )
    affine = voxel_to_mm(path, image)
    bad = np.argwhere(np.isinf(data))
    if len(bad):
        raise FormatError(f"{path}: value at voxel {bad[0].tolist()} is infinite")
    return VolumeRecord(affine, data.reshape(data.shape[:3]))


def load_values(path, dtype=np.float64):
    """A NIfTI image and its values as real numbers.

    Raises
    ------
    FormatError
        Not a readable NIfTI file, far too large, or values that are not real numbers.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        if not Path(path).is_file():
            raise FormatError(f"{path} does not exist, or is no file; give a .nii or .nii.gz")
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise FormatError(f"{path}: is {type(image).__name__}, not NIfTI; give a .nii or .nii.gz")
        check_extent(path, image.shape)
        if image.get_data_dtype().kind not in "biuf":
            raise FormatError(f"{path}: holds {image.get_data_dtype()}; values must be real numbers")
        return image, np.asarray(image.dataobj, dtype=dtype)
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read as NIfTI, damaged or another format: {error}") from error


def check_extent(path, shape):
    """Refuse the shape of a damaged header.

    Raises
    ------
    FormatError
        A side without voxels, or more values than `MAX_VALUES`.
    """
    if min(shape, default=0) < 1 or math.prod(shape) > MAX_VALUES:
        raise FormatError(f"{path}: header claims {shape} values; corrupt, or far too large")


def voxel_to_mm(path, image):
    """(4, 4) affine of an image: voxel indices to mm.

    Raises
    ------
    FormatError
        Another unit, or a singular affine.
    """
    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError as error:
        raise FormatError(f"{path}: its header has no known unit of positions: code {error}") from None
    if unit not in ("mm", "unknown"):
        raise FormatError(f"{path}: header declares positions in {unit}; they must be in mm")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise FormatError(f"{path}: the voxel-to-mm affine is singular: {affine.tolist()}")
    return affine
