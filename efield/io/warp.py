"""Non-linear transforms as SimNIBS and SPM write them: in each voxel the mapped coordinate, mm."""

from dataclasses import dataclass

import numpy as np

from efield.errors import FormatError
from efield.io.nifti import load_values, voxel_to_mm

DISPLACEMENT_INTENT = 1006
"""NIfTI intent DISPVECT: the voxels hold shifts, not coordinates."""


@dataclass(frozen=True, eq=False)
class WarpRecord:
    """A sampled mapping.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel indices to mm, in the frame that is mapped from.
    data : (nx, ny, nz, 3) float32 array
        Coordinates in the frame that is mapped to, mm.
    """

    affine: np.ndarray
    data: np.ndarray


def read_warp(path):
    """Read a ``*_nonl.nii.gz``.

    Parameters
    ----------
    path : path-like
        Shape (nx, ny, nz, 3) or (nx, ny, nz, 1, 3).

    Returns
    -------
    WarpRecord

    Raises
    ------
    FormatError
        Not a readable NIfTI file, another shape, a file of displacements, values that are not
        finite, a singular affine.
    """
    image, data = load_values(path, np.float32)
    if int(image.header["intent_code"]) == DISPLACEMENT_INTENT:
        raise FormatError(f"{path}: holds displacements (intent 1006); a transform holds coordinates in mm")
    shape = data.shape
    if data.ndim == 5 and shape[3] == 1:
        data = data[:, :, :, 0]
    if data.ndim != 4 or data.shape[3] != 3 or not data.size:
        raise FormatError(f"{path}: shape {shape}; a transform has shape (nx, ny, nz, 3)")
    if not np.isfinite(data).all():
        bad = np.argwhere(~np.isfinite(data))[0].tolist()
        raise FormatError(f"{path}: value at voxel and component {bad} is not finite")
    return WarpRecord(voxel_to_mm(path, image), data)
