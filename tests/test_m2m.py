"""m2m folders and the maps between MNI space and a subject's own; oracles in closed form."""

import pickle

import nibabel
import numpy as np
import pytest
from m2m_folders import (
    AFFINE,
    MNI_GRID,
    RIGID,
    grid,
    make_folder,
    to_mni,
    to_subject,
    write_eeg,
    write_surface,
    write_volume,
)
from small_heads import mni_small, sphere

from efield.errors import FormatError, FrameError, MeshError, TargetError
from efield.io.eeg import read_eeg_positions
from efield.io.gifti import read_surface
from efield.io.warp import read_warp
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.named_targets import NAMED_TARGETS
from efield.model.target import Target
from efield.model.transforms import Affine, Warp

INTERPOLATION_MM = 0.02
"""4 mm voxels, 4 mm waves of 170 mm: h^2 / 8 times the second derivative is 0.011 mm an axis."""

CORTEX = np.array([[-42.0, 44, 30], [38, 40, 25], [-37, -21, 58], [0, -90, 5], [6, 16, -10]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("subject"), mni_small().head)


@pytest.fixture(scope="module")
def head(folder):
    return load_head(folder)


# --- opening


def test_the_folder_comes_with_the_head(head, folder):
    assert (head.name, head.space) == ("ernie", "subject")
    assert head.folder.path == folder
    assert load_head(folder / "ernie.msh").folder.path == folder
    assert head.folder.t1.data.shape == (56, 64, 60)
    copy = pickle.loads(pickle.dumps(head))
    np.testing.assert_allclose(copy.mni().to_mni.points(CORTEX), head.mni().to_mni.points(CORTEX))


def test_a_mesh_beside_the_subjects_own_brings_nothing(folder, tmp_path):
    other = tmp_path / "m2m_x"
    other.mkdir()
    (other / "scan.msh").write_bytes((folder / "ernie.msh").read_bytes())
    assert load_head(other / "scan.msh").folder is None


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    bare = make_folder(tmp_path, mni_small().head, affines=False, subject="bare")
    for name in ("toMNI/MNI2Conform_nonl.nii.gz", "T1.nii.gz"):
        (bare / name).write_bytes(b"damaged")
    head = load_head(bare)
    with pytest.raises(FormatError, match=r"MNI2Conform_nonl\.nii\.gz: cannot be read"):
        head.mni()
    with pytest.raises(FormatError, match=r"T1\.nii\.gz"):
        _ = head.folder.t1
    with pytest.raises(
        FrameError, match=r"has no MNI2conform_12DOF\.txt, which the 12dof .*MNI2Conform_nonl"
    ):
        head.mni("12dof")
    with pytest.raises(FormatError, match=r"has no lh\.central\.gii \(there: nothing\)"):
        head.folder.surface("lh.central")


# --- points and directions


@pytest.mark.parametrize("kind", ["nonlinear", "12dof", "6dof"])
def test_points_there_and_back(head, kind):
    matrix = {"12dof": AFFINE, "6dof": RIGID}.get(kind)
    expected = to_subject(CORTEX) if matrix is None else CORTEX @ matrix[:3, :3].T + matrix[:3, 3]
    mni = head.mni(kind)
    assert (mni.kind, mni.to_mni.source, mni.to_mni.target) == (kind, "subject", "mni")
    assert (mni.to_subject.source, mni.to_subject.target) == ("mni", "subject")
    np.testing.assert_allclose(mni.to_subject.points(CORTEX), expected, atol=INTERPOLATION_MM)
    np.testing.assert_allclose(mni.to_mni.points(expected), CORTEX, atol=INTERPOLATION_MM)
    assert head.mni(kind) is mni


def test_directions_turn_with_the_map(head):
    ahead = np.array([[0.0, 1, 0], [1, 1, 0], [0.3, -0.2, 0.9], [0, 0, -2], [-1, 0, 0.1]])
    step = 1e-4 * ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    slope = to_subject(CORTEX + step) - to_subject(CORTEX - step)
    expected = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    got = head.mni().to_subject.directions(CORTEX, ahead)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1)
    assert np.degrees(np.arccos(np.sum(got * expected, axis=1))).max() < 0.6
    linear = ahead @ AFFINE[:3, :3].T
    np.testing.assert_allclose(
        head.mni("12dof").to_subject.directions(CORTEX, ahead),
        linear / np.linalg.norm(linear, axis=1, keepdims=True),
    )
    with pytest.raises(FrameError, match="length zero"):
        head.mni().to_subject.directions(CORTEX[:1], np.zeros((1, 3)))


def test_beyond_the_grid_the_nearest_voxel_counts(head):
    shape, affine = MNI_GRID
    corner = affine[:3, 3] + affine[0, 0] * (np.array(shape) - 1)
    far = head.mni().to_subject.points(corner + 50)
    np.testing.assert_allclose(far, to_subject(corner[None]), atol=1e-4)


def test_an_mni_head_is_its_own_space():
    mni = mni_small().head.mni()
    assert mni.kind == "identity"
    np.testing.assert_array_equal(mni.to_subject.points(CORTEX), CORTEX)


def test_affines_know_their_frames():
    there = Affine(AFFINE, "mni", "subject")
    assert (there.inverse @ there).source == (there.inverse @ there).target == "mni"
    np.testing.assert_allclose((there.inverse @ there).matrix, np.eye(4), atol=1e-12)
    with pytest.raises(FrameError, match="cannot apply mni to subject after mni to subject"):
        _ = there @ there
    mirror, shape, row = np.diag([-1.0, 1, 1, 1]), np.eye(3), np.eye(4)
    row[3, 0] = 1
    for matrix, words in ((mirror, "mirrors"), (shape, "4 x 4"), (row, "last row"), (0 * AFFINE, "last row")):
        with pytest.raises(FrameError, match=words):
            Affine(matrix, "mni", "subject")


def test_unknown_kinds_and_heads_without_transform(head):
    with pytest.raises(FrameError, match="unknown transform 'affine'; valid: nonlinear, 12dof, 6dof"):
        head.mni("affine")
    with pytest.raises(FrameError, match="'sphere' carries no MNI transform; open its m2m_<subject> folder"):
        sphere().head.mni()


# --- targets


@pytest.mark.parametrize("name", ["dlpfc-left", "mir-moghtadaei2015-left", "sgacc"])
def test_named_targets_in_a_subject(head, name):
    """The element set is that of the head before it was carried over, but for the edge of the ball."""
    region = Target.named(name).resolve(head)
    expected = to_subject(NAMED_TARGETS[name].point_mm)[0]
    assert region.space == "subject"
    assert np.linalg.norm(region.center_mm - expected) == pytest.approx(region.moved_mm, abs=INTERPOLATION_MM)
    original = Target.named(name).resolve(mni_small().head).elements
    assert len(np.intersect1d(region.elements, original)) > 0.6 * min(len(original), len(region.elements))


def test_kind_of_transform_of_a_target(head):
    regions = {
        k: Target.mni((-42, 44, 30), transform=k).resolve(head) for k in ("nonlinear", "12dof", "6dof")
    }
    for kind, matrix in (("12dof", AFFINE), ("6dof", RIGID)):
        apart = np.linalg.norm(regions[kind].center_mm - (matrix @ [-42, 44, 30, 1])[:3])
        assert apart == pytest.approx(regions[kind].moved_mm, abs=1e-6)
    assert np.linalg.norm(regions["12dof"].center_mm - regions["nonlinear"].center_mm) > 1


def test_projection_after_the_map_is_reported(head):
    """(-46, 45, 38) lies in bone; the shift is that to the nearest element of the subject's cortex."""
    region = Target.mni((-46, 45, 38)).resolve(head)
    grey = head.nodes_mm[head.tets[head.tags == 2]].mean(axis=1)
    apart = np.linalg.norm(grey - to_subject([[-46, 45, 38]]), axis=1).min()
    assert apart > 3
    assert region.moved_mm == pytest.approx(apart, abs=INTERPOLATION_MM)


def test_an_mni_mask_in_a_subject(head, tmp_path):
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = [-62.0, 24, 10]
    inside = np.linalg.norm(grid((28, 28, 28), affine) - [-42, 44, 30], axis=-1) <= 9
    write_volume(tmp_path / "mask.nii.gz", inside.astype(np.uint8), affine)
    region = Target.mask(tmp_path / "mask.nii.gz", space="mni").resolve(head)
    grey = np.flatnonzero(head.tags == 2)
    places = to_mni(head.nodes_mm[head.tets[grey]].mean(axis=1))
    voxels = np.rint((places - affine[:3, 3]) / 1.5).astype(int)
    within = np.all((voxels >= 0) & (voxels < 28), axis=1)
    expected = grey[within][inside[tuple(voxels[within].T)]]
    assert len(expected) > 40
    different = np.setxor1d(region.elements, expected)  # barycentres on a voxel's face
    assert len(different) <= 0.05 * len(expected)
    assert set(
        Target.mask(tmp_path / "mask.nii.gz", space="mni", transform="6dof").resolve(head).elements
    ) != set(region.elements)


def test_a_map_that_leads_outside_the_head(tmp_path):
    folder = make_folder(tmp_path, mni_small().head, subject="lost")
    shifted = AFFINE.copy()
    shifted[1, 3] += 400
    np.savetxt(folder / "toMNI/MNI2conform_12DOF.txt", shifted)
    with pytest.raises(TargetError, match=r"\(-42.0, 44.0, 30.0\) maps to .*\(12dof\), which lies outside"):
        Target.mni((-42, 44, 30), transform="12dof").resolve(load_head(folder))


# --- the registry


def test_every_named_target_has_a_source_and_lies_in_grey_matter_of_its_side():
    head = mni_small().head
    for name, named in NAMED_TARGETS.items():
        assert named.read_in in ("source", "secondary"), name
        assert len(named.source) > 20
        region = Target.named(name).resolve(head)
        assert region.moved_mm < 8, name
        side = np.sign(region.center_mm[0])
        assert side == {"left": -1, "right": 1}.get(name.rsplit("-", 1)[-1], side)
    assert NAMED_TARGETS["dlpfc-left"].point_mm == (-42, 44, 30)
    assert NAMED_TARGETS["fox2012-right"].point_mm == (44, 38, 34)


def test_radius_of_a_named_target():
    head = mni_small().head
    small, large = Target.named("dlpfc-left"), Target.named("dlpfc-left", 8)
    assert set(small.resolve(head).elements) < set(large.resolve(head).elements)
    assert large.name == "dlpfc-left r 8 mm"


# --- files


def test_maps_of_five_dimensions(tmp_path):
    """As SPM writes them: one vector a voxel."""
    values = np.random.default_rng(1).normal(size=(4, 5, 6, 1, 3)).astype(np.float32)
    write_volume(tmp_path / "y.nii", values, np.eye(4))
    np.testing.assert_array_equal(read_warp(tmp_path / "y.nii").data, values[:, :, :, 0])


def test_files_that_are_no_map(tmp_path):
    flat, holes = np.ones((4, 5, 6), np.float32), np.ones((3, 3, 3, 3), np.float32)
    write_volume(tmp_path / "flat.nii", flat, np.eye(4))
    with pytest.raises(FormatError, match=r"flat\.nii: shape \(4, 5, 6\); a transform has shape"):
        read_warp(tmp_path / "flat.nii")
    holes[1, 2, 0, 1] = np.nan
    write_volume(tmp_path / "holes.nii", holes, np.eye(4))
    with pytest.raises(FormatError, match=r"holes\.nii: value at voxel and component \[1, 2, 0, 1\]"):
        read_warp(tmp_path / "holes.nii")
    image = nibabel.Nifti1Image(np.ones((3, 3, 3, 1, 3), np.float32), np.eye(4))
    image.header.set_intent(1006)
    image.to_filename(tmp_path / "shift.nii")
    with pytest.raises(FormatError, match=r"shift\.nii: holds displacements"):
        read_warp(tmp_path / "shift.nii")


def test_a_map_is_exact_at_its_voxels():
    values = np.random.default_rng(2).normal(size=(4, 5, 6, 3))
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = [5, -7, 9]
    got = Warp(affine, values, "mni", "subject").points(grid((4, 5, 6), affine).reshape(-1, 3))
    np.testing.assert_allclose(got, values.reshape(-1, 3), atol=1e-12)


def test_eeg_positions(tmp_path):
    text = (
        "Type,x,y,z,name\nFiducial,0,82.9,-43,Nz\nElectrode,1,2,3,F3\nElectrode,1,2,3,4,5,6,F5,note\n"
        "ReferenceElectrode,0,0,100,Cz\nGeneric,7,8,9\n\nCoilPos,1,2,3,0,1,0,0,0,1,4,spot\n"
    )
    (tmp_path / "cap.csv").write_text(text)
    rows = read_eeg_positions(tmp_path / "cap.csv")
    assert [(r.kind, r.name) for r in rows] == [
        ("Fiducial", "Nz"),
        ("Electrode", "F3"),
        ("Electrode", "F5"),
        ("ReferenceElectrode", "Cz"),
        ("Generic", None),
        ("CoilPos", "spot"),
    ]
    np.testing.assert_array_equal(rows[0].point_mm, [0, 82.9, -43])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Electrode,1,2,3,F3\nSensor,1,2,3,F4\n",
            r"line 2: unknown type 'Sensor'; valid: Generic.*such as Fiducial,",
        ),
        ("Electrode,1,2\n", r"line 1: '1,2' is not three finite numbers"),
        ("Electrode,1,nan,3,F3\n", r"line 1: '1,nan,3' is not three"),
    ],
)
def test_eeg_files_that_cannot_be_understood(tmp_path, text, words):
    (tmp_path / "cap.csv").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_eeg_positions(tmp_path / "cap.csv")


def test_real_caps(shared):
    for name, count in (("EEG10-10_UI_Jurak_2007", 78), ("EEG10-20_Okamoto_2004", 21), ("Fiducials", 4)):
        rows = read_eeg_positions(shared(f"data/eeg/mni/{name}.csv"))
        assert len(rows) >= count
        assert all(r.name for r in rows)


def test_cap_files_and_their_order(tmp_path):
    folder = make_folder(tmp_path, mni_small().head, affines=False, subject="caps")
    for name in ("A_cap", "Fiducials"):
        write_eeg(folder / f"eeg_positions/{name}.csv", [("Fiducial", (1, 2, 3), "Nz")])
    subject = load_head(folder).folder
    assert list(subject.eeg_files) == ["Fiducials", "A_cap"]
    assert subject.eeg_positions("A_cap")[0].name == "Nz"
    with pytest.raises(FormatError, match=r"has no B\.csv \(there: A_cap.csv, Fiducials.csv\)"):
        subject.eeg_positions("B")


def test_surfaces(tmp_path):
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    triangles = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    write_surface(tmp_path / "lh.central.gii", vertices, triangles)
    points, faces = read_surface(tmp_path / "lh.central.gii")
    np.testing.assert_array_equal(points, vertices)
    np.testing.assert_array_equal(faces, triangles)
    write_surface(tmp_path / "bad.gii", vertices, triangles + 2)
    with pytest.raises(FormatError, match=r"bad\.gii: triangles use points 2\.\.5 of 4"):
        read_surface(tmp_path / "bad.gii")
    (tmp_path / "text.gii").write_text("no surface")
    with pytest.raises(FormatError, match=r"text\.gii"):
        read_surface(tmp_path / "text.gii")
    with pytest.raises(FormatError, match=r"none\.gii"):
        read_surface(tmp_path / "none.gii")


def test_heads_by_hand_have_no_folder(tmp_path):
    assert HeadModel.from_mesh(mni_small().head.mesh).folder is None
    with pytest.raises(MeshError, match="not named m2m_"):
        load_head(tmp_path)
