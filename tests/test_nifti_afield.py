"""Sampled A-field files."""

import nibabel
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efield.errors import CoilError, FormatError
from efield.io.ccd import read_ccd
from efield.io.nifti import AFieldRecord, read_a_field, sample_a_field

AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, -9], [0, 0, 4, -8], [0, 0, 0, 1]])


def save(path, data, affine=AFFINE, unit="mm"):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def linear_field(shape=(6, 7, 5), affine=AFFINE, stimulators=1):
    """Data whose components are linear in the coordinates: trilinear interpolation is exact."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    slopes = np.random.default_rng(3).normal(size=(3, 3 * stimulators))
    return points @ slopes + 0.5, slopes


@pytest.mark.parametrize("stimulators", [1, 2])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_reads_and_interpolates(tmp_path, name, stimulators):
    tilted = AFFINE.copy()
    tilted[:3, :3] = AFFINE[:3, :3] @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    data, slopes = linear_field(affine=tilted, stimulators=stimulators)
    record = read_a_field(save(tmp_path / name, data, tilted))
    assert record.data.shape == (6, 7, 5, 3 * stimulators)
    np.testing.assert_allclose(record.affine, tilted)
    voxels = np.random.default_rng(0).uniform(0, [5, 6, 4], size=(50, 3))
    points = voxels @ tilted[:3, :3].T + tilted[:3, 3]
    np.testing.assert_allclose(sample_a_field(record, points), points @ slopes + 0.5, atol=1e-6)


def test_corners_of_the_box_are_inside_and_beyond_is_refused():
    data, slopes = linear_field()
    record = AFieldRecord(AFFINE, data)
    corners = np.array([[-10.0, -9, -8], [0, 9, 8]])
    np.testing.assert_allclose(sample_a_field(record, corners), corners @ slopes + 0.5, atol=1e-12)
    with pytest.raises(CoilError, match=r"1 of 3 points .* \[0.1, 9.0, 8.0\] mm"):
        sample_a_field(record, [*corners, [0.1, 9, 8]])


def test_one_vector_per_voxel_in_five_dimensions(tmp_path):
    data, _ = linear_field()
    record = read_a_field(save(tmp_path / "a.nii.gz", data[:, :, :, None]))
    np.testing.assert_allclose(record.data, data, atol=1e-6)


def with_nan():
    data, _ = linear_field()
    data[1, 2, 3, 2] = np.nan
    return data


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((4, 4, 4)), {}, "3 x stimulators"),
        (np.zeros((4, 4, 4, 4)), {}, "3 x stimulators"),
        (with_nan(), {}, r"voxel and component \[1, 2, 3, 2\]"),
        (np.zeros((4, 4, 4, 3)), {"unit": "meter"}, "positions in meter"),
    ],
    ids=["scalar", "four components", "NaN", "metres"],
)
def test_refuses_what_is_no_a_field(tmp_path, data, options, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_a_field(save(tmp_path / "a.nii.gz", data, **options))
    assert "a.nii.gz" in str(caught.value)


def test_damaged_files(tmp_path):
    good = save(tmp_path / "good.nii.gz", linear_field()[0]).read_bytes()
    plain = save(tmp_path / "good.nii", linear_field()[0]).read_bytes()
    huge = plain[:42] + np.array([32000, 32000, 32000, 3], dtype="<i2").tobytes() + plain[50:]
    cases = {
        "cut.nii.gz": good[: len(good) // 2],
        "cut.nii": plain[: len(plain) // 2],
        "noise.nii.gz": bytes(range(256)) * 4,
        "empty.nii": b"",
        "huge.nii": huge,
        "text.nii.gz": b"# not a NIfTI file\n",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=name):
            read_a_field(tmp_path / name)
    with pytest.raises(FormatError, match=r"none\.nii"):
        read_a_field(tmp_path / "none.nii")


def test_another_image_format_is_refused(tmp_path):
    path = tmp_path / "a.mgz"
    nibabel.save(nibabel.MGHImage(np.zeros((3, 3, 3, 3), np.float32), np.eye(4)), path)
    with pytest.raises(FormatError, match="MGHImage, not NIfTI"):
        read_a_field(path)


@pytest.mark.parametrize("name", ["Magstim_70mm_Fig8", "testcoil"])
def test_ccd_and_nifti_of_one_coil_agree(shared, name):
    coil = read_ccd(shared(f"data/coils/{name}.ccd"))
    record = read_a_field(shared(f"data/coils/{name}.nii.gz"))
    rng = np.random.default_rng(7)
    voxels = np.stack([rng.integers(0, n, 1500) for n in record.data.shape[:3]], axis=1)
    points = voxels @ record.affine[:3, :3].T + record.affine[:3, 3]
    distance = np.linalg.norm(points[:, None] - 1e3 * coil.positions_m[None], axis=2).min(axis=1)
    points = points[distance > 15]
    assert len(points) > 1000
    expected = oracles.dipole_a(coil.positions_m, coil.moments, points / 1e3)
    difference = np.linalg.norm(sample_a_field(record, points) - expected)
    assert difference < 1e-7 * np.linalg.norm(expected)  # the grid is float32


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_header_is_read_or_refused_but_never_crashes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(save(folder / "good.nii", linear_field()[0].astype(np.float32)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    path = folder / "a.nii"
    path.write_bytes(content[: data.draw(st.integers(300, len(content)))])
    try:
        record = read_a_field(path)
    except FormatError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(record.data).all() and np.isfinite(record.affine).all()
