"""Damaged and truncated files of the kinds that have no such test beside their own: read, or refused by name.

Reference images, cortical surfaces, casings, recorded pulses, logs of SimNIBS's optimizations.
"""

from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from boxes import box_record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from test_coil_assembly import CUBE, FACES

from efield.errors import EfieldError, FormatError
from efield.io.gifti import read_surface
from efield.io.images import read_surface_points, write_nifti
from efield.io.navigation.image import canonical_frame, corner_frame, quaternion_info, read_header
from efield.io.nifti import read_a_field, read_volume
from efield.io.stimulator import Waveform, read_waveforms, write_waveforms
from efield.io.stl import read_stl, write_stl
from efield.model.session import load_placements

POSE = np.eye(4)
POSE[:3, :3] = Rotation.from_euler("xyz", [0.3, 0.2, 0.1]).as_matrix()
POSE[:3, 3] = [-52, 44, 54]

BOX = box_record(2)
HEAD = SimpleNamespace(nodes_mm=BOX.nodes, tets=BOX.tets)


def surface(path, encoding):
    parts = ((np.float32(CUBE), "POINTSET", "FLOAT32"), (np.int32(FACES), "TRIANGLE", "INT32"))
    arrays = [
        nibabel.gifti.GiftiDataArray(
            data,
            intent=f"NIFTI_INTENT_{intent}",
            datatype=f"NIFTI_TYPE_{kind}",
            encoding=f"GIFTI_ENCODING_{encoding}",
        )
        for data, intent, kind in parts
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


def image(path):
    """Voxels of 12 mm over the box."""
    made = nibabel.Nifti1Image(np.ones((8, 9, 7), np.int16), np.diag([12.0, 12, 12, 1]))
    made.header.set_xyzt_units("mm")
    nibabel.save(made, path)


def ascii_stl(path):
    facets = ("outer loop\n" + "".join("vertex {} {} {}\n".format(*v) for v in t) for t in CUBE[FACES])
    path.write_text("solid x\n" + "".join(f"facet\n{f}endloop\nendfacet\n" for f in facets) + "endsolid x\n")


def pulse(path):
    time = np.linspace(0, 3e-4, 20)
    write_waveforms(path, (Waveform("a", time, np.cos(2e4 * time), np.cos(2e4 * time)),))


def log(heading):
    """Writer of a log that ends in an optimum."""
    return lambda path: path.write_text(f"INFO: {heading}\n{POSE}\nINFO: end\n")


def use_image(path):
    """All that is taken from a reference image."""
    read_header(path)
    corner_frame(path), canonical_frame(path), quaternion_info(path)
    write_nifti(path.with_name("out.nii"), HEAD, np.ones((len(HEAD.tets), 3)), image=path)


def use_surface(path):
    read_surface(path), read_surface_points(path)


KINDS = {
    "image.nii": (image, use_image),
    "image.nii.gz": (image, use_image),
    "mask.nii": (image, read_volume),
    "ascii.surf.gii": (lambda path: surface(path, "ASCII"), use_surface),
    "packed.surf.gii": (lambda path: surface(path, "B64GZ"), use_surface),
    "casing.stl": (lambda path: write_stl(path, CUBE[FACES]), read_stl),
    "ascii.stl": (ascii_stl, read_stl),
    "pulse.tsv": (pulse, read_waveforms),
    "grid.log": (log("Best coil position\n===="), load_placements),
    "flex.log": (log("Matsimnibs result:"), load_placements),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name, (write, _) in KINDS.items():
        write(folder / name)
    return {name: (folder / name).read_bytes() for name in KINDS}, tmp_path_factory.mktemp("damaged")


def read_or_refused(files, name, data):
    path = files[1] / name
    path.write_bytes(data)
    try:
        KINDS[name][1](path)
    except EfieldError as error:
        assert name in str(error)


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_read(files, name):
    path = files[1] / name
    path.write_bytes(files[0][name])
    KINDS[name][1](path)


@pytest.mark.parametrize("name", KINDS)
@given(share=st.floats(0, 1))
@settings(max_examples=25)
def test_truncated_files(files, name, share):
    data = files[0][name]
    read_or_refused(files, name, data[: int(share * len(data))])


@pytest.mark.parametrize("name", KINDS)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5)
)
@settings(max_examples=60)
def test_damaged_bytes(files, name, edits):
    data = bytearray(files[0][name])
    for place, value in edits:
        data[int(place * min(len(data), 2000))] = value
    read_or_refused(files, name, bytes(data))


HEADER = {
    "a unit that is none": ({"xyzt_units": 5}, "unit"),
    "a unit of metres": ({"xyzt_units": 1}, "meter"),
    "no extent": ({"dim": [3, 8, -9, 7, 1, 1, 1, 1]}, r"\(8, -9, 7\)"),
    "a huge extent": ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "30000"),
    "an affine that is not finite": ({"srow_x": [np.nan, 0, 0, 0]}, "singular"),
    "a singular affine": ({"srow_x": [0, 0, 0, 0]}, "singular"),
}


@pytest.mark.parametrize("what", HEADER)
def test_headers_of_images_that_cannot_be_used(tmp_path, what):
    fields, words = HEADER[what]
    path = tmp_path / "image.nii"
    image(path)
    header = nibabel.load(path).header.copy()
    for key, value in fields.items():
        header[key] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    with pytest.raises(FormatError, match=rf"image\.nii: .*{words}"):
        use_image(path)
    for read in (read_volume, read_a_field):
        with pytest.raises(FormatError, match=r"image\.nii: "):
            read(path)


def test_an_image_whose_axes_fall_together_is_refused(tmp_path):
    image(tmp_path / "image.nii")
    made = nibabel.load(tmp_path / "image.nii")
    made.header["srow_x"], made.header["srow_y"] = [1e10, 1e10, 0, 0], [0, 1e-6, 0, 0]
    (tmp_path / "image.nii").write_bytes(made.header.binaryblock + bytes(1200))
    with pytest.raises(FormatError, match=r"image\.nii: its voxel axes are not orthogonal"):
        corner_frame(tmp_path / "image.nii")
