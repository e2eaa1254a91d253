"""Folders ``m2m_<subject>`` made for tests: a head carried from MNI space by maps known in closed form.

Layout, shapes and headers follow what SimNIBS writes: four-dimensional float32 maps whose voxels hold
the mapped coordinate in mm, MNI2Conform on a grid in MNI space, Conform2MNI on the T1's grid.
"""

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", [8, -5, 11], degrees=True).as_matrix() * [0.95, 1.04, 0.98]
AFFINE[:3, 3] = [3.0, -12.0, 21.0]

RIGID = np.eye(4)
RIGID[:3, :3] = Rotation.from_euler("xyz", [8, -5, 11], degrees=True).as_matrix()
RIGID[:3, 3] = [3.0, -12.0, 21.0]

WAVE_MM = 4.0
WAVE_NUMBER = 2 * np.pi / 170.0


def bent(points):
    """A smooth displacement of up to 4 mm."""
    x, y, z = (WAVE_NUMBER * np.asarray(points, float)).T
    return points + WAVE_MM * np.stack([np.sin(y), np.sin(z + 0.5), np.cos(x)], axis=1)


def to_subject(points):
    """MNI to subject: bent, then the affine."""
    return bent(np.atleast_2d(points)) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def to_mni(points):
    """The inverse, by fixed-point iteration (the displacement's slope is at most 0.15)."""
    straight = (np.atleast_2d(points) - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T
    found = straight.copy()
    for _ in range(40):
        found += straight - bent(found)
    return found


def write_volume(path, data, affine):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.to_filename(path)


def grid(shape, affine):
    """World coordinates of every voxel, (nx, ny, nz, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def write_map(path, mapping, shape, affine):
    values = mapping(grid(shape, affine).reshape(-1, 3)).reshape(*shape, 3)
    write_volume(path, values.astype(np.float32), affine)


def axes(origin, step):
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = origin
    return affine


MNI_GRID = ((50, 60, 55), axes([-98.0, -134.0, -98.0], 4.0))
SUBJECT_GRID = ((56, 64, 60), axes([-110.0, -150.0, -85.0], 4.0))


def make_folder(parent, head, *, affines=True, subject="ernie"):
    """``m2m_<subject>`` of a head in MNI space, carried to the subject by :func:`to_subject`."""
    folder = parent / f"m2m_{subject}"
    for name in ("toMNI", "surfaces", "eeg_positions"):
        (folder / name).mkdir(parents=True)
    nodes = to_subject(head.nodes_mm)
    write_msh(folder / f"{subject}.msh", MeshRecord(nodes, np.asarray(head.tets), np.asarray(head.tags)))
    write_map(folder / "toMNI/MNI2Conform_nonl.nii.gz", to_subject, *MNI_GRID)
    write_map(folder / "toMNI/Conform2MNI_nonl.nii.gz", to_mni, *SUBJECT_GRID)
    if affines:
        np.savetxt(folder / "toMNI/MNI2conform_12DOF.txt", AFFINE)
        np.savetxt(folder / "toMNI/MNI2conform_6DOF.txt", RIGID)
    t1 = np.linspace(0, 1, int(np.prod(SUBJECT_GRID[0]))).reshape(SUBJECT_GRID[0])
    write_volume(folder / "T1.nii.gz", t1.astype(np.float32), SUBJECT_GRID[1])
    return folder


def write_eeg(path, rows):
    """Rows of (type, point, name)."""
    lines = [",".join([kind, *(f"{x:.6f}" for x in point), name]) for kind, point, name in rows]
    path.write_text("\n".join(lines) + "\n")


def write_surface(path, vertices, triangles):
    from nibabel.gifti import GiftiDataArray, GiftiImage

    points = GiftiDataArray(np.float32(vertices), intent="NIFTI_INTENT_POINTSET")
    faces = GiftiDataArray(np.int32(triangles), intent="NIFTI_INTENT_TRIANGLE")
    GiftiImage(darrays=[points, faces]).to_filename(path)
