"""Diffusion tensor images: six components a voxel (FSL ``dtifit --save_tensor``, SimNIBS ``dwi2cond``)."""

from dataclasses import dataclass

import numpy as np

from efield.errors import FormatError
from efield.io.nifti import load_values, voxel_to_mm

COMPONENTS = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
"""Which of the six (xx, xy, xz, yy, yz, zz) stands where in the matrix."""

SYMMETRIC_MATRIX_INTENT = 1005
"""NIfTI intent SYMMATRIX, whose order is another one: xx, xy, yy, xz, yz, zz."""

FRAMES = ("fsl", "world")
"""What the components of a tensor refer to, see :func:`read_dti`."""


@dataclass(frozen=True, eq=False)
class TensorImage:
    """Diffusion tensors as a file holds them, and what they refer to.

    Attributes
    ----------
    affine : (4, 4) array
        Voxel indices to mm.
    axes : (3, 3) orthogonal array
        Its columns are the axes of the components in the world (RAS).
    components : (nx, ny, nz, 6) float32 array
        xx, xy, xz, yy, yz, zz in the unit of the file; 0 where there are no data.
    known : (nx, ny, nz) bool array
        Voxels with data: finite, and not all six 0.
    """

    affine: np.ndarray
    axes: np.ndarray
    components: np.ndarray
    known: np.ndarray

    def sample(self, points_mm):
        """Tensors (n, 3, 3) along x, y, z (RAS) at points (n, 3), and the share of data (n,) in each.

        Linear between the voxels with data; 0 where there are none.
        """
        from scipy.ndimage import map_coordinates

        to_voxel = np.linalg.inv(self.affine)
        voxels = (points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
        share = map_coordinates(self.known.astype(np.float32), voxels, order=1)
        six = [map_coordinates(one, voxels, order=1) for one in np.moveaxis(self.components, 3, 0)]
        six = np.stack(six, axis=1).astype(np.float64) / np.where(share > 0, share, 1.0)[:, None]
        return self.axes @ six[:, COMPONENTS] @ self.axes.T, share


def read_dti(path, frame="fsl"):
    """Read a tensor image.

    Parameters
    ----------
    path : path-like
        NIfTI of shape (nx, ny, nz, 6), components in the order xx, xy, xz, yy, yz, zz.
    frame : {"fsl", "world"}
        What the components refer to. "fsl", also of SimNIBS's ``DTI_coregT1_tensor.nii.gz``: the voxel
        axes, the first of them reversed where the affine has a positive determinant (FSL fits tensors to
        b-vectors in a "radiological" frame). "world": x, y, z (RAS) as they are.

    Returns
    -------
    TensorImage

    Raises
    ------
    FormatError
        Not a readable NIfTI file, another shape or order, no frame (both form codes are 0), a
        singular affine, no data at all, an unknown `frame`.
    """
    check_frame(frame)
    image, data = load_values(path, np.float32)
    if int(image.header["intent_code"]) == SYMMETRIC_MATRIX_INTENT:
        raise FormatError(
            f"{path}: has the NIfTI intent SYMMATRIX (1005), whose components are in another order; write it "
            "as four-dimensional image xx, xy, xz, yy, yz, zz"
        )
    if data.ndim != 4 or data.shape[3] != 6 or not data.size:
        raise FormatError(
            f"{path}: shape {data.shape}; a tensor image has shape (nx, ny, nz, 6): xx, xy, xz, yy, yz, zz"
        )
    if not image.header["sform_code"] and not image.header["qform_code"]:
        raise FormatError(
            f"{path}: sform_code and qform_code are 0, so the header does not say where it lies"
        )
    affine = voxel_to_mm(path, image)
    known = np.isfinite(data).all(axis=3) & (data != 0).any(axis=3)
    if not known.any():
        raise FormatError(f"{path}: holds no tensor: all voxels are 0 or not finite")
    data[~known] = 0.0
    axes = np.eye(3) if frame == "world" else _fsl_axes(affine)
    return TensorImage(affine, axes, data, known)


def check_frame(frame):
    """Refuse what is none of `FRAMES`.

    Raises
    ------
    FormatError
    """
    if frame not in FRAMES:
        raise FormatError(f"unknown frame of a tensor image {frame!r}; known: {', '.join(FRAMES)}")


def _fsl_axes(affine):
    """(3, 3) rotation or reflection from FSL's frame to the world: the voxel axes without scale or shear."""
    linear = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    u, _, vt = np.linalg.svd(linear)
    axes = u @ vt
    return axes * [-1.0, 1.0, 1.0] if np.linalg.det(axes) > 0 else axes
