"""Targets: what they resolve to in a head, and what is said where they do not; mask files."""

import nibabel
import numpy as np
import pytest
from oracles import random_rotation
from small_heads import TARGET_MM, mni_small, sphere

from efield.errors import FormatError, MeshError, TargetError
from efield.io.nifti import read_volume
from efield.model.heads import load_head
from efield.model.named_targets import NAMED_TARGETS
from efield.model.target import Target, as_target

GREY = 2


def ball(head, center, radius, tag=GREY):
    """Indices by brute force from the nodes."""
    barycentres = head.nodes_mm[head.tets].mean(axis=1)
    return np.flatnonzero((np.linalg.norm(barycentres - center, axis=1) <= radius) & (head.tags == tag))


def volumes(head, elements):
    a, b, c, d = np.moveaxis(head.nodes_mm[head.tets[elements]], 1, 0)
    return np.abs(np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)) / 6


@pytest.fixture
def mni():
    return mni_small().head


@pytest.fixture
def head():
    return sphere().head


# --- balls


@pytest.mark.parametrize(
    ("radius", "tissue", "tag"), [(8.0, "grey_matter", 2), (6.0, "white_matter", 1), (7.0, 3, 3)]
)
def test_ball(mni, radius, tissue, tag):
    center = np.array([-40.0, 42, 28])
    region = Target.sphere(center, radius, tissue).resolve(mni)
    np.testing.assert_array_equal(region.elements, ball(mni, center, radius, tag))
    np.testing.assert_allclose(region.volumes_mm3, volumes(mni, region.elements))
    np.testing.assert_array_equal(region.center_mm, center)
    assert region.moved_mm == 0


def test_summary(mni):
    region = Target.sphere((-40, 42, 28), 8).resolve(mni)
    summary = region.summary()
    assert summary["n_elements"] == len(ball(mni, (-40, 42, 28), 8))
    assert summary["volume_mm3"] == pytest.approx(volumes(mni, region.elements).sum())
    assert summary["center_mm"] == [-40.0, 42.0, 28.0]
    assert summary["moved_mm"] == 0.0
    assert summary["space"] == "mni"
    with pytest.raises(ValueError, match="read-only"):
        region.elements[0] = 1


def test_outside_the_head(mni):
    with pytest.raises(
        TargetError, match=r"within 5 mm of \(-42.0, 44.0, 300.0\) mm, a point outside the head"
    ):
        Target.sphere((-42, 44, 300)).resolve(mni)


def test_in_no_element_of_the_tissue(mni):
    """Inside the head, in its scalp: the message says how far the tissue is and where."""
    with pytest.raises(TargetError, match="a point inside the head; the nearest lies") as caught:
        Target.sphere((-50.0, 51.0, 35.0), 2.0).resolve(mni)
    barycentres = mni.nodes_mm[mni.tets].mean(axis=1)[mni.tags == GREY]
    apart = np.linalg.norm(barycentres - (-50.0, 51.0, 35.0), axis=1)
    assert f"{apart.min():.1f} mm away at" in str(caught.value)


def test_a_tissue_the_head_does_not_have(head):
    with pytest.raises(TargetError, match="the head has no eyes at all"):
        Target.sphere(TARGET_MM, tissue="eyes").resolve(head)


@pytest.mark.parametrize("center", [(1, 2), (1, 2, np.nan), "somewhere", None, np.zeros((1, 3))])
def test_unusable_centres(center):
    with pytest.raises(TargetError, match="three finite coordinates"):
        Target.sphere(center)
    with pytest.raises(TargetError, match="three finite coordinates"):
        Target.mni(center)


@pytest.mark.parametrize("radius", [0, -5, np.nan, np.inf])
def test_unusable_radius(radius):
    with pytest.raises(TargetError, match="radius must be positive"):
        Target.sphere((0, 0, 0), radius)


def test_unknown_tissue():
    with pytest.raises(MeshError, match="unknown tissue 'gray_matter'; known: white_matter, grey_matter"):
        Target.sphere((0, 0, 0), tissue="gray_matter")


# --- MNI coordinates


def test_mni_inside_the_tissue_stays(mni):
    region = Target.mni((-42, 44, 30)).resolve(mni)
    assert region.moved_mm == 0
    np.testing.assert_array_equal(region.elements, ball(mni, (-42, 44, 30), 5))


def test_mni_point_off_the_cortex_is_projected():
    """README of the head: the nearest grey-matter element centre is 6.4 mm away."""
    mni = load_head("mni152")
    point = np.array([-46.0, 45, 38])
    region = Target.mni(point).resolve(mni)
    barycentres = mni.nodes_mm[mni.tets].mean(axis=1)[mni.tags == GREY]
    nearest = barycentres[np.argmin(np.linalg.norm(barycentres - point, axis=1))]
    assert region.moved_mm == pytest.approx(6.4, abs=0.05)
    assert region.moved_mm == pytest.approx(np.linalg.norm(nearest - point))
    np.testing.assert_allclose(region.center_mm, nearest)
    np.testing.assert_array_equal(region.elements, ball(mni, nearest, 5))


def test_mni_outside_the_head(mni):
    with pytest.raises(TargetError, match=r"\(-142.0, 44.0, 30.0\) lies outside the head"):
        Target.mni((-142, 44, 30)).resolve(mni)


def test_mni_in_a_head_without_transform(head):
    with pytest.raises(TargetError, match="'sphere' carries no MNI transform"):
        Target.mni(TARGET_MM).resolve(head)
    with pytest.raises(TargetError, match="'dlpfc-left' is in MNI space: head 'sphere' carries no"):
        Target.named("dlpfc-left").resolve(head)


# --- names


def test_named(mni):
    region = Target.named("dlpfc-left").resolve(mni)
    np.testing.assert_array_equal(region.elements, ball(mni, (-42, 44, 30), 5))
    assert region.name == "dlpfc-left"


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(TargetError, match=r"unknown target 'dlpfc'; valid: .*dlpfc-left"):
        Target.named("dlpfc")


def test_what_a_pipeline_passes(mni):
    by_name, by_point = as_target("dlpfc-left").resolve(mni), as_target((-42, 44, 30)).resolve(mni)
    np.testing.assert_array_equal(by_name.elements, by_point.elements)
    target = Target.elements([1])
    assert as_target(target) is target
    assert as_target([-42.0, 44, 30]).resolve(mni).elements.size
    for name in NAMED_TARGETS:
        assert as_target(name).name == name
    with pytest.raises(TargetError, match="three finite coordinates"):
        as_target((1, 2))


# --- indices


def test_elements(mni):
    region = Target.elements([7, 3, 7, 100]).resolve(mni)
    assert region.elements.tolist() == [3, 7, 100]
    expected = volumes(mni, region.elements)
    np.testing.assert_allclose(region.volumes_mm3, expected)
    barycentres = mni.nodes_mm[mni.tets[[3, 7, 100]]].mean(axis=1)
    np.testing.assert_allclose(region.center_mm, expected @ barycentres / expected.sum())


@pytest.mark.parametrize("indices", [[-1, 3], [3, 10**6]])
def test_elements_out_of_range(mni, indices):
    with pytest.raises(
        TargetError, match=rf"elements {indices[0]}\.\.{indices[1]} are outside the head's 0\.\."
    ):
        Target.elements(indices).resolve(mni)


def test_no_elements(mni):
    with pytest.raises(TargetError, match="no elements"):
        Target.elements([]).resolve(mni)


# --- masks


def write_mask(path, data, affine, *, unit="mm", code=1):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units(unit)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.to_filename(path)
    return path


def oblique(center, shape, voxel_mm, seed=1):
    """Affine of turned voxels whose middle one lies at `center`."""
    affine = np.eye(4)
    affine[:3, :3] = random_rotation(np.random.default_rng(seed)) * voxel_mm
    affine[:3, 3] = center - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def voxel_centres(shape, affine):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return grid @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_mask_of_a_ball(tmp_path, mni, name):
    center, shape = np.array([-41.0, 43, 29]), (21, 23, 25)
    affine = oblique(center, shape, 1.0)
    data = (np.linalg.norm(voxel_centres(shape, affine) - center, axis=-1) <= 7).astype(np.uint8)
    region = Target.mask(write_mask(tmp_path / name, data, affine)).resolve(mni)
    grey = np.flatnonzero(mni.tags == GREY)
    barycentres = mni.nodes_mm[mni.tets[grey]].mean(axis=1)
    voxels = np.rint(np.linalg.solve(affine[:3, :3], (barycentres - affine[:3, 3]).T)).astype(int)
    within = np.all((voxels >= 0) & (voxels < np.array(shape)[:, None]), axis=0)
    expected = grey[within][data[tuple(voxels[:, within])] == 1]
    np.testing.assert_array_equal(region.elements, expected)
    assert set(ball(mni, center, 6)) < set(region.elements) < set(ball(mni, center, 8))
    assert name in region.name
    weight = volumes(mni, region.elements)
    np.testing.assert_allclose(
        region.center_mm, weight @ mni.nodes_mm[mni.tets[region.elements]].mean(axis=1) / weight.sum()
    )


def test_threshold_of_a_mask(tmp_path, mni):
    shape = (20, 20, 20)
    affine = oblique(np.array([-41.0, 43, 29]), shape, 1.0)
    data = np.full(shape, 0.3, np.float32)
    data[:10] = 0.6
    path = write_mask(tmp_path / "probability.nii", data, affine)
    low, half = (Target.mask(path, threshold=t).resolve(mni).elements for t in (0.2, 0.5))
    assert set(half) < set(low)
    with pytest.raises(TargetError, match=r"above 0.7 overlaps no grey_matter of head 'mni152-small'"):
        Target.mask(path, threshold=0.7).resolve(mni)
    for threshold in (-0.1, np.nan):
        with pytest.raises(TargetError, match="threshold must be at least 0"):
            Target.mask(path, threshold=threshold)


def test_an_image_or_an_atlas_is_no_mask(tmp_path, mni):
    shape = (20, 20, 20)
    affine = oblique(np.array([-41.0, 43, 29]), shape, 1.0)
    data = np.zeros(shape, np.float32)
    data[:10] = 1.0
    image = write_mask(tmp_path / "T1.nii", 100 * data + 3, affine)
    with pytest.raises(TargetError, match=r"T1\.nii holds 2 different values up to 103.*a mask of 0 and 1"):
        Target.mask(image).resolve(mni)
    one = Target.mask(write_mask(tmp_path / "255.nii", 255 * data, affine)).resolve(mni)
    np.testing.assert_array_equal(Target.mask(image, threshold=50).resolve(mni).elements, one.elements)
    with pytest.raises(FormatError, match=r"gone\.nii does not exist"):
        Target.mask(tmp_path / "gone.nii").resolve(mni)


def test_mask_that_misses_the_head(tmp_path, mni):
    path = write_mask(
        tmp_path / "far.nii", np.ones((5, 5, 5), np.uint8), oblique([0, 0, 500], (5, 5, 5), 1.0)
    )
    with pytest.raises(TargetError, match=r"far.nii above 0.5 overlaps no grey_matter"):
        Target.mask(path).resolve(mni)


def test_empty_mask(tmp_path, mni):
    path = write_mask(
        tmp_path / "empty.nii", np.zeros((200, 200, 200), np.uint8), oblique([0, 0, 0], (200,) * 3, 1.0)
    )
    with pytest.raises(TargetError, match=r"empty.nii above 0.5 overlaps no grey_matter"):
        Target.mask(path).resolve(mni)


def test_space_of_a_mask(tmp_path, mni, head):
    path = write_mask(
        tmp_path / "mask.nii", np.ones((9, 9, 9), np.uint8), oblique([-42, 44, 30], (9,) * 3, 1.0)
    )
    assert Target.mask(path, space="mni").resolve(mni).elements.size
    with pytest.raises(TargetError, match="in MNI space: head 'sphere' carries no MNI transform"):
        Target.mask(path, space="mni").resolve(head)
    with pytest.raises(TargetError, match="unknown space 'MNI152'; valid: subject, mni"):
        Target.mask(path, space="MNI152")


# --- mask files


def test_nearest_voxel_and_outside(tmp_path):
    shape, rng = (4, 5, 6), np.random.default_rng(2)
    affine = oblique(np.array([10.0, -20, 30]), shape, 3.0)
    data = rng.uniform(1, 2, shape)
    volume = read_volume(write_mask(tmp_path / "values.nii", data, affine))
    centres = voxel_centres(shape, affine)
    shift = rng.uniform(-0.49, 0.49, centres.shape) @ affine[:3, :3].T
    np.testing.assert_allclose(volume.nearest((centres + shift).reshape(-1, 3)), data.ravel())
    beyond = np.array([[-0.51, 0, 0], [0, 4.51, 0], [3, 4, 5.51], [-100, 0, 0]])
    assert np.all(volume.nearest(beyond @ affine[:3, :3].T + affine[:3, 3]) == 0)


def test_voxels_without_value_are_outside(tmp_path):
    data = np.array([np.nan, 1.0, 2.0]).reshape(3, 1, 1)
    volume = read_volume(write_mask(tmp_path / "nan.nii", data, np.eye(4)))
    assert volume.nearest(np.array([[0.0, 0, 0], [1, 0, 0]])).tolist() == [0.0, 1.0]


def test_trailing_dimensions_of_one(tmp_path):
    data = np.arange(24.0).reshape(2, 3, 4, 1, 1)
    volume = read_volume(write_mask(tmp_path / "five.nii", data, np.eye(4)))
    assert volume.nearest(np.array([1.0, 2, 3])).tolist() == [23.0]


def test_files_that_are_no_mask(tmp_path):
    ones = np.ones((3, 3, 3))
    with pytest.raises(FormatError, match=r"four.nii: shape \(3, 3, 3, 2\); a mask is one volume"):
        read_volume(write_mask(tmp_path / "four.nii", np.ones((3, 3, 3, 2)), np.eye(4)))
    with pytest.raises(FormatError, match=r"flat.nii: shape \(3, 3\)"):
        read_volume(write_mask(tmp_path / "flat.nii", ones[0], np.eye(4)))
    with pytest.raises(FormatError, match=r"lost.nii: sform_code and qform_code are 0"):
        read_volume(write_mask(tmp_path / "lost.nii", ones, np.eye(4), code=0))
    with pytest.raises(FormatError, match=r"metres.nii: header declares positions in meter"):
        read_volume(write_mask(tmp_path / "metres.nii", ones, np.eye(4), unit="meter"))
    ones[1, 2, 0] = np.inf
    with pytest.raises(FormatError, match=r"infinite.nii: value at voxel \[1, 2, 0\] is infinite"):
        read_volume(write_mask(tmp_path / "infinite.nii", ones, np.eye(4)))
    with pytest.raises(FormatError, match=r"complex.nii: holds complex128; values must be real"):
        read_volume(write_mask(tmp_path / "complex.nii", ones.astype(complex), np.eye(4)))


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_damaged_files(tmp_path, name):
    data = np.random.default_rng(3).uniform(size=(9, 9, 9))
    whole = write_mask(tmp_path / name, data, np.eye(4)).read_bytes()
    for length in (0, 200, len(whole) // 2, len(whole) - 20):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(FormatError, match=name):
            read_volume(tmp_path / name)
    with pytest.raises(FormatError, match=r"none\.nii"):
        read_volume(tmp_path / "none.nii")
    (tmp_path / "text.nii").write_text("no image")
    with pytest.raises(FormatError, match=r"text\.nii"):
        read_volume(tmp_path / "text.nii")


def test_a_mask_that_cannot_be_read_is_named(tmp_path, mni):
    with pytest.raises(FormatError, match=r"none\.nii"):
        Target.mask(tmp_path / "none.nii").resolve(mni)
