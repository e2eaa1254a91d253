"""What navigation systems take from the header of the NIfTI image that is navigated on."""

import numpy as np

from efield.errors import FormatError
from efield.io.nifti import check_extent, voxel_to_mm

XFORM_NAMES = {1: "Scanner", 2: "Aligned", 3: "MNI-152", 4: "Talairach", 5: "Other-Template"}
"""Names of the NIfTI form codes, as Brainsight spells them."""


def read_header(path):
    """A NIfTI image whose header can be used; its voxels are not read.

    Raises
    ------
    FormatError
        Not NIfTI, not three-dimensional, no frame, another unit than mm, or no voxels.
    """
    import nibabel

    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds on a damaged file
        raise FormatError(f"{path}: cannot be read as NIfTI: {error}") from error
    if not isinstance(image, nibabel.Nifti1Pair) or len(image.shape) < 3:
        raise FormatError(f"{path}: is no three-dimensional NIfTI image")
    if not image.header["sform_code"] and not image.header["qform_code"]:
        raise FormatError(f"{path}: sform_code and qform_code are 0; its header does not say where it lies")
    check_extent(path, image.shape)
    voxel_to_mm(path, image)
    return image


def xform_name(path):
    """``"Scanner"``, ``"Aligned"``, ...: the frame of an image after its sform, else its qform."""
    header = read_header(path).header
    code = int(header["sform_code"]) or int(header["qform_code"])
    if code not in XFORM_NAMES:
        raise FormatError(f"{path}: form code {code} has no name in NIfTI")
    return XFORM_NAMES[code]


def corner_frame(path):
    """Brainsight's own coordinates to RAS: (4, 4), mm.

    They count towards left, posterior and superior from the centre of the corner voxel that lies
    right, anterior and inferior.
    """
    return _rigid_from_corner(path, ("L", "P", "S"))[0]


def canonical_frame(path):
    """InVesalius's image coordinates (mm from the first voxel of the image turned to RAS) to RAS.

    Returns
    -------
    frame : (4, 4) array
    y_extent_mm : float
        From the first to the last voxel along y: InVesalius counts y from the last.
    """
    frame, spacing, shape = _rigid_from_corner(path, ("R", "A", "S"))
    return frame, float(spacing[1] * (shape[1] - 1))


def _rigid_from_corner(path, directions):
    from nibabel import orientations

    image = read_header(path)
    now = orientations.io_orientation(image.affine)
    if np.isnan(now).any():
        raise FormatError(f"{path}: its voxel axes are not orthogonal: {image.affine.tolist()}")
    turn = orientations.ornt_transform(now, orientations.axcodes2ornt(directions))
    affine = image.affine @ orientations.inv_ornt_aff(turn, image.shape[:3])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    shape = np.empty(3, int)
    shape[turn[:, 0].astype(int)] = image.shape[:3]
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = affine[:3, :3] / spacing, affine[:3, 3]
    if not np.allclose(frame[:3, :3].T @ frame[:3, :3], np.eye(3), atol=1e-3):
        raise FormatError(f"{path}: its voxel axes are not orthogonal: {image.affine.tolist()}")
    u, _, vt = np.linalg.svd(frame[:3, :3])
    frame[:3, :3] = u @ vt
    return frame, spacing, shape


def quaternion_info(path):
    """The header fields by which an ANT ``.mrk`` names its image."""
    header = read_header(path).header
    return {
        "NIfTI_quatern": [float(header[f"quatern_{axis}"]) for axis in "bcd"],
        "NIfTI_qoffset": [float(header[f"qoffset_{axis}"]) for axis in "xyz"],
        "NIfTI_pixdim": [float(v) for v in header["pixdim"][:4]],
    }
