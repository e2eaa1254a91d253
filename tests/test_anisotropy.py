"""Conductivity tensors from diffusion images, and that every path takes them."""

import json

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from oracles import dipole_a, random_rotation
from small_heads import QUICK, TARGET_MM, few_dipoles, mni_small, sphere
from test_oracles_fem import solve_with_dadt

import efield
from efield.analytic.shapes import box, random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.cli import main
from efield.errors import FormatError, MeshError
from efield.fem.recover import recover
from efield.fem.source import element_field
from efield.io.dti import read_dti
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.target import Target
from efield.solve.prepared import prepare

SIX = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
FIBRE = np.diag([0.4, 0.4, 1.7])
"""Diffusion along z, 1e-3 mm^2/s: about that of white matter."""


def write_tensors(path, tensors, affine, *, code=1, intent=None):
    """Tensors (nx, ny, nz, 3, 3), in the frame that the file is to hold, as six volumes."""
    data = np.stack([tensors[..., i, j] for i, j in SIX], axis=-1).astype(np.float32)
    image = nibabel.Nifti1Image(data, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    image.header.set_xyzt_units("mm")
    if intent is not None:
        image.header["intent_code"] = intent
    nibabel.save(image, path)
    return path


def constant_image(path, tensor, affine, shape=(24, 24, 24)):
    return write_tensors(path, np.broadcast_to(tensor, (*shape, 3, 3)), affine)


def around_box(step=5.0, turn=None):
    """An affine whose grid of 24^3 covers the box of :func:`two_tissues`, first axis to the left."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag([-step, step, step])
    affine[:3, 3] = np.array([20.0, 20, 20]) - affine[:3, :3] @ [11.5, 11.5, 11.5]
    return affine


@pytest.fixture(scope="module")
def two_tissues():
    """A box of white and grey matter and CSF."""
    mesh = box(6, 40.0, jitter=0.15)
    third = (mesh.barycentres_mm[:, 0] // (40 / 3)).astype(int)
    return HeadModel.from_mesh(TetMesh(mesh.nodes_mm, mesh.tets, 1 + third))


# --- the frame of the components


def test_fsl_components_refer_to_the_voxel_axes_of_a_radiological_image(tmp_path):
    """First axis to the left: FSL takes the components along the voxels' axes as they are."""
    turn = random_rotation(np.random.default_rng(0))
    axes = turn @ np.diag([-1.0, 1.0, 1.0])
    world = turn.T @ FIBRE @ turn
    image = read_dti(constant_image(tmp_path / "a.nii.gz", axes.T @ world @ axes, around_box(turn=turn)))
    got, share = image.sample(np.array([[20.0, 20, 20], [21.3, 17.0, 25.1]]))
    np.testing.assert_allclose(got, [world, world], atol=1e-6)
    np.testing.assert_allclose(share, 1, atol=1e-6)


def test_fsl_components_do_not_see_which_way_the_first_axis_is_stored(tmp_path):
    """FSL fits in a frame that stays radiological: the same scan stored from right to left, or left to
    right, has the same components; an xy part changes its sign on the way to RAS."""
    rng = np.random.default_rng(1)
    factor = rng.standard_normal((24, 24, 24, 3, 3))
    tensors = factor @ factor.swapaxes(-1, -2)
    affine = around_box()
    reversed_axis = np.diag([-1.0, 1, 1, 1])
    reversed_axis[0, 3] = 23
    one = read_dti(write_tensors(tmp_path / "a.nii", tensors, affine))
    other = read_dti(write_tensors(tmp_path / "b.nii", tensors[::-1], affine @ reversed_axis))
    points = rng.uniform(0, 40, (30, 3))
    np.testing.assert_allclose(one.sample(points)[0], other.sample(points)[0], atol=1e-4)
    shear = np.array([[1.0, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    for affine in (around_box(), around_box() @ reversed_axis):
        got, _ = read_dti(constant_image(tmp_path / "c.nii", shear, affine)).sample(np.full((1, 3), 20.0))
        np.testing.assert_allclose(got[0], [[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 1]], atol=1e-6)
    got, _ = read_dti(tmp_path / "c.nii", "world").sample(np.full((1, 3), 20.0))
    np.testing.assert_allclose(got[0], shear, atol=1e-6)


STORED = {
    "LAS": np.diag([-1, 1, 1]),
    "RAS": np.diag([1, 1, 1]),
    "LPS": np.diag([-1, -1, 1]),
    "RPS": np.diag([1, -1, 1]),
    "ALS": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "SRA": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}
"""Columns: along what the voxel axes run in the scanner, before it is turned."""


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("frame", ["fsl", "world"])
def test_a_fibre_conducts_along_itself_however_the_scan_is_stored(tmp_path, two_tissues, stored, frame):
    """A scan simulated: signals along gradients of known directions, given to the fit as each program takes
    them. FSL: along the voxel axes, x reversed where the affine's determinant is positive; MRtrix: RAS."""
    rng = np.random.default_rng(11)
    turn = random_rotation(rng)
    affine = np.eye(4)
    affine[:3, :3] = turn @ STORED[stored] @ np.diag([4.0, 5.0, 6.0])
    affine[:3, 3] = np.array([20.0, 20, 20]) - affine[:3, :3] @ [11.5, 11.5, 11.5]
    fibre = np.array([0.6, -0.35, 0.72]) / np.linalg.norm([0.6, -0.35, 0.72])
    gradients = rng.standard_normal((30, 3))
    gradients /= np.linalg.norm(gradients, axis=1)[:, None]
    apparent = 0.4 + 1.3 * (gradients @ fibre) ** 2
    given = gradients
    if frame == "fsl":
        given = gradients @ (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
        given[:, 0] *= -np.sign(np.linalg.det(affine[:3, :3]))
    products = np.stack([(1 if i == j else 2) * given[:, i] * given[:, j] for i, j in SIX], axis=1)
    six = np.linalg.lstsq(products, apparent)[0]
    fitted = np.zeros((3, 3))
    for value, (i, j) in zip(six, SIX, strict=True):
        fitted[i, j] = fitted[j, i] = value
    path = constant_image(tmp_path / "a.nii.gz", fitted, affine)
    along = {}
    for name in ("fsl", "world"):
        head = efield.with_anisotropy(two_tissues, path, frame=name)
        brain = head.conductivity[head.tags < 3]
        along[name] = np.abs(np.linalg.eigh(brain)[1][:, :, 2] @ fibre)
    other = "world" if frame == "fsl" else "fsl"
    np.testing.assert_allclose(along[frame], 1, atol=1e-6)
    assert along[other].max() < 0.9


def test_voxels_of_other_size_do_not_stretch_tensors(tmp_path):
    affine = around_box()
    affine[:3, :3] = np.diag([-2.0, 5.0, 3.0])
    affine[:3, 3] = np.array([20.0, 20, 20]) - affine[:3, :3] @ [11.5, 11.5, 11.5]
    got, _ = read_dti(constant_image(tmp_path / "a.nii", FIBRE, affine)).sample(np.full((1, 3), 20.0))
    np.testing.assert_allclose(got[0], FIBRE, atol=1e-6)


def test_voxels_without_data_do_not_pull_their_neighbours_to_zero(tmp_path):
    tensors = np.broadcast_to(FIBRE, (24, 24, 24, 3, 3)).copy()
    tensors[:12] = 0.0
    tensors[12, :, :, 0, 0] = np.nan
    image = read_dti(write_tensors(tmp_path / "a.nii", tensors, around_box()))
    voxels = np.array([[12.3, 10, 10], [12.6, 10, 10], [12.9, 11, 9.5], [13.4, 12, 3]])
    points = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
    got, share = image.sample(points)
    np.testing.assert_allclose(share, [0.3, 0.6, 0.9, 1.0], atol=1e-5)
    np.testing.assert_allclose(got, np.tile(FIBRE, (4, 1, 1)), atol=1e-5)


# --- mappings


def varied(rng, shape=(24, 24, 24)):
    """Positive tensors in all directions, smooth over the grid, as a file would hold them."""
    base = np.moveaxis(np.indices(shape), 0, -1) / 24
    factor = 0.5 * np.eye(3) + 0.4 * np.sin(base @ rng.uniform(2, 5, (3, 9)) + rng.uniform(0, 6, 9)).reshape(
        *shape, 3, 3
    )
    return 1e-3 * (factor @ factor.swapaxes(-1, -2) + 0.05 * np.eye(3))


def test_volume_normalised_mapping(tmp_path, two_tissues):
    path = write_tensors(tmp_path / "a.nii", varied(np.random.default_rng(2)), around_box())
    head = efield.with_anisotropy(two_tissues, path, max_ratio=1e6, max_conductivity=1e6)
    diffusion, _ = read_dti(path).sample(head.mesh.barycentres_mm)
    for t in range(0, len(head.tets), 41):
        isotropic = {1: 0.126, 2: 0.275, 3: 1.654}[int(head.tags[t])]
        if head.tags[t] == 3:
            np.testing.assert_array_equal(head.conductivity[t], isotropic * np.eye(3))
            continue
        expected = isotropic * diffusion[t] / np.linalg.det(diffusion[t]) ** (1 / 3)
        np.testing.assert_allclose(head.conductivity[t], expected, rtol=1e-9, atol=1e-12)
        assert np.linalg.det(head.conductivity[t]) == pytest.approx(isotropic**3)
    assert head.anisotropy["n_ratio_limited"] == head.anisotropy["n_conductivity_limited"] == 0
    assert head.anisotropy["n_elements"] == np.count_nonzero(head.tags < 3)


def test_direct_mapping(tmp_path, two_tissues):
    path = write_tensors(tmp_path / "a.nii", varied(np.random.default_rng(3)), around_box())
    head = efield.with_anisotropy(two_tissues, path, mapping="dir", max_ratio=1e6, max_conductivity=1e6)
    diffusion, _ = read_dti(path).sample(head.mesh.barycentres_mm)
    above = below = 0.0
    for tag, isotropic in ((1, 0.126), (2, 0.275)):
        some = np.flatnonzero(head.tags == tag)
        total = sum(head.mesh.volumes_mm3[t] * np.linalg.det(diffusion[t]) for t in some)
        mean = total / head.mesh.volumes_mm3[some].sum()
        above, below = above + isotropic * mean ** (1 / 3), below + mean ** (2 / 3)
    assert head.anisotropy["scale"] == pytest.approx(above / below, rel=1e-6)
    brain = head.tags < 3
    np.testing.assert_allclose(
        head.conductivity[brain], above / below * diffusion[brain], rtol=1e-6, atol=1e-9
    )
    # Diffusion in another unit changes nothing.
    scaled = write_tensors(tmp_path / "b.nii", 1e3 * varied(np.random.default_rng(3)), around_box())
    again = efield.with_anisotropy(two_tissues, scaled, mapping="dir", max_ratio=1e6, max_conductivity=1e6)
    np.testing.assert_allclose(again.conductivity, head.conductivity, rtol=1e-5, atol=1e-9)


def test_a_head_may_be_a_name_and_facts_are_plain(tmp_path):
    low = mni_small().head.nodes_mm.min(axis=0)
    affine = np.diag([-12.0, 12.0, 12.0, 1.0])
    affine[:3, 3] = low + [276.0, 0, 0]
    head = efield.with_anisotropy("mni152-small", constant_image(tmp_path / "a.nii", FIBRE, affine))
    assert json.loads(json.dumps(head.anisotropy)) == head.anisotropy


def test_limits(tmp_path, two_tissues):
    path = constant_image(tmp_path / "a.nii", np.diag([-0.1, 0.1, 3.0]), around_box())
    head = efield.with_anisotropy(two_tissues, path, max_ratio=10, max_conductivity=0.7)
    white, grey = (head.conductivity[head.tags == tag][0] for tag in (1, 2))
    # 0.3, 0.3, 3 has the geometric mean 0.3 * 10^(1/3).
    np.testing.assert_allclose(white, 0.126 * 10 ** (-1 / 3) * np.diag([1, 1, 10]), rtol=1e-6)
    np.testing.assert_allclose(grey, np.diag([0.275 * 10 ** (-1 / 3)] * 2 + [0.7]), rtol=1e-6)
    facts = head.anisotropy
    assert facts["n_ratio_limited"] == facts["n_elements"]
    assert facts["n_conductivity_limited"] == np.count_nonzero(head.tags == 2)


def test_only_the_tissues_asked_for(tmp_path, two_tissues):
    path = constant_image(tmp_path / "a.nii", FIBRE, around_box())
    head = efield.with_anisotropy(two_tissues, path, tissues=["white_matter"])
    np.testing.assert_array_equal(head.conductivity[head.tags == 2][0], 0.275 * np.eye(3))
    assert head.conductivity[head.tags == 1][0, 2, 2] > 0.2
    assert head.tag_conductivity[2] == (0.275 * np.eye(3)).tolist()


def test_missing_and_useless_tensors_stay_isotropic_and_are_counted(tmp_path, two_tissues):
    tensors = np.broadcast_to(FIBRE, (24, 24, 24, 3, 3)).copy()
    affine = around_box()
    index = np.moveaxis(np.indices((24, 24, 24)), 0, -1)
    y = (index @ affine[:3, :3].T + affine[:3, 3])[..., 1]
    tensors[y < 12] = 0.0
    tensors[y > 28] = -FIBRE
    path = write_tensors(tmp_path / "a.nii", tensors, affine)
    with pytest.warns(UserWarning, match=r"a\.nii: .* of white_matter, grey_matter .* stay isotropic"):
        head = efield.with_anisotropy(two_tissues, path)
    y = head.mesh.barycentres_mm[:, 1]
    brain = head.tags < 3
    plain = np.all(head.conductivity == two_tissues.conductivity[:, None, None] * np.eye(3), axis=(1, 2))
    assert plain[brain & (y < 8)].all() and plain[brain & (y > 32)].all()
    assert not plain[brain & (y > 16) & (y < 24)].any()
    facts = head.anisotropy
    assert facts["n_without_data"] > 0 and facts["n_not_positive"] > 0
    assert facts["n_without_data"] + facts["n_not_positive"] == np.count_nonzero(plain & brain)


def test_tensors_turn_with_head_and_image(tmp_path, two_tissues):
    turn = random_rotation(np.random.default_rng(7))
    tensors = varied(np.random.default_rng(4))
    motion = np.eye(4)
    motion[:3, :3] = turn
    head = two_tissues
    moved = HeadModel.from_mesh(TetMesh(head.nodes_mm @ turn.T, head.tets, head.tags))
    one = efield.with_anisotropy(head, write_tensors(tmp_path / "a.nii", tensors, around_box()))
    path = write_tensors(tmp_path / "b.nii", tensors, motion @ around_box())
    other = efield.with_anisotropy(moved, path)
    # The header holds the affine in float32: 1e-5 mm.
    np.testing.assert_allclose(other.conductivity, turn @ one.conductivity @ turn.T, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_used(tmp_path, two_tissues):
    good = constant_image(tmp_path / "good.nii", FIBRE, around_box())
    for settings, match in (
        ({"mapping": "mean"}, "unknown mapping .*'mean'; known: vn, dir"),
        ({"max_ratio": 0.5}, "max_ratio .* 0.5"),
        ({"max_conductivity": np.nan}, "max_conductivity .* nan"),
        ({"tissues": ["bone"]}, "does not have: bone"),
        ({"tissues": []}, "none given"),
        ({"tissues": ["gray"]}, "unknown tissue 'gray'"),
    ):
        with pytest.raises(MeshError, match=match):
            efield.with_anisotropy(two_tissues, good, **settings)
    with pytest.raises(FormatError, match=r"unknown frame .*'ras'; known: fsl, world"):
        efield.with_anisotropy(two_tissues, good, frame="ras")
    tensors = efield.with_anisotropy(two_tissues, good)
    with pytest.raises(MeshError, match="anisotropic already"):
        efield.with_anisotropy(tensors, good)
    far = around_box()
    far[:3, 3] += 500
    with pytest.raises(MeshError, match=r"far\.nii: none of its voxels .* registered"):
        efield.with_anisotropy(two_tissues, constant_image(tmp_path / "far.nii", FIBRE, far))
    for name, match in (
        ("five.nii", r"shape \(4, 4, 4, 5\)"),
        ("order.nii", "SYMMATRIX"),
        ("lost.nii", "form_code are 0"),
        ("empty.nii", "holds no tensor"),
        ("text.nii", "cannot be read as NIfTI"),
        ("none.nii", r"none\.nii"),
    ):
        path = tmp_path / name
        if name == "five.nii":
            nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4, 5), np.float32), np.eye(4)), path)
        elif name == "text.nii":
            path.write_text("no image")
        elif name != "none.nii":
            options = {"order.nii": {"intent": 1005}, "lost.nii": {"code": 0}}.get(name, {})
            tensor = 0 * FIBRE if name == "empty.nii" else FIBRE
            write_tensors(path, np.broadcast_to(tensor, (4, 4, 4, 3, 3)), around_box(), **options)
        with pytest.raises(FormatError, match=match):
            efield.with_anisotropy(two_tissues, path)


def test_another_conductivity_forgets_where_the_tensors_came_from(tmp_path, two_tissues):
    head = efield.with_anisotropy(two_tissues, constant_image(tmp_path / "a.nii", FIBRE, around_box()))
    assert efield.load_head(head) is head
    same = efield.load_head(two_tissues, conductivity=head.conductivity)
    np.testing.assert_array_equal(same.conductivity, head.conductivity)
    assert efield.load_head(head, conductivity={"csf": 1.8}).anisotropy is None


# --- a closed form

STRETCH = np.array([[1.2, 0.25, -0.1], [0.25, 0.9, 0.2], [-0.1, 0.2, 1.05]])


def test_field_in_an_anisotropic_ellipsoid():
    """The map x = S y takes an isotropic sphere to an ellipsoid of conductivity sigma S S^T.

    Both div(S S^T (grad v + a)) = 0 and its boundary condition become those of the sphere, with
    S^T a for a. So where S^T a is the field of dipoles outside the sphere, E is S^-T times the sphere's.
    """
    dipoles = np.array([[0.02, 0.01, 0.105], [-0.03, 0.02, 0.1], [0.05, -0.06, 0.08]])
    moments = np.array([[0.0, 20, 100], [30, 0, -120], [50, 50, 0]])
    back = np.linalg.inv(STRETCH)
    raw, better, sizes = [], [], []
    for edge in (14.0, 7.0):
        ball = random_layered_sphere((50.0, 80.0), (1, 2), edge)
        mesh = TetMesh(ball.nodes_mm @ STRETCH.T, ball.tets, ball.tags)
        scale = np.where(mesh.tags == 1, 0.126, 0.275)[:, None, None]
        head = HeadModel(mesh, scale * (STRETCH @ STRETCH.T))
        prepared = prepare(head)
        dadt = dipole_a(dipoles, moments, prepared.nodes @ back.T) @ back
        v, e = solve_with_dadt(prepared, dadt)
        exact = tms_field(dipoles, moments, ball.barycentres_mm * 1e-3) @ back
        ordered = mesh.ordered
        slope = element_field(ordered, v, np.zeros_like(dadt), slice(None), np.arange(len(e)))
        means = recover(head, slope, -dadt).element_means
        weight = mesh.volumes_mm3 @ np.sum(exact**2, axis=1)
        for got, errors in ((e, raw), (means, better)):
            errors.append(np.sqrt((mesh.volumes_mm3 @ np.sum((got - exact) ** 2, axis=1)) / weight))
        sizes.append(np.cbrt(mesh.volumes_mm3.mean()))
    rate = np.log(raw[0] / raw[1]) / np.log(sizes[0] / sizes[1])
    assert rate > 0.9 and raw[1] < 0.1, (raw, better)
    assert better[1] < 0.5 * raw[1], (raw, better)


# --- every path


@pytest.fixture(scope="module")
def tensor_sphere(tmp_path_factory):
    """The sphere of other tests with tensors of an image in its grey matter."""
    affine = np.diag([-8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = [92.0, -92, -92]
    path = tmp_path_factory.mktemp("dti") / "sphere.nii.gz"
    write_tensors(path, varied(np.random.default_rng(5)), affine)
    return prepare(efield.with_anisotropy(sphere().head, path, tissues=["grey_matter"]))


def test_optimizing_with_tensors_agrees_with_its_forward_field(tensor_sphere):
    target = Target.sphere(TARGET_MM, 8.0)
    result = efield.optimize_coil(tensor_sphere, few_dipoles(), target, search=QUICK)
    assert result.check.relative_difference < 1e-4
    field = efield.simulate(tensor_sphere, few_dipoles(), result.placement)
    region = target.resolve(tensor_sphere.head)
    mean = np.average(field.magnitude[region.elements], weights=region.volumes_mm3)
    assert result.objective.value == pytest.approx(mean, rel=1e-3)
    isotropic = efield.simulate(sphere(), few_dipoles(), result.placement)
    difference = np.linalg.norm(field.E - isotropic.E, axis=1)[region.elements]
    assert difference.max() > 0.02 * isotropic.magnitude[region.elements].max()  # the tensors matter
    assert result.provenance["anisotropy"] == tensor_sphere.head.anisotropy
    assert result.provenance["conductivity"]["grey_matter"] == "per element"
    json.loads(result.to_json())
    assert np.isfinite(field.recovered().E).all()


def test_comparing_methods_with_tensors(tensor_sphere):
    target = Target.sphere(TARGET_MM, 8.0)
    methods = ["closest-scalp", "optimised"]
    compared = efield.compare_targeting(tensor_sphere, few_dipoles(), target, methods, search=QUICK)
    region = target.resolve(tensor_sphere.head)
    for row in compared.rows:
        assert row["error"] is None
        pose = np.array(row["placement"]["matsimnibs"])
        field = efield.simulate(tensor_sphere, few_dipoles(), pose)
        mean = np.average(field.magnitude[region.elements], weights=region.volumes_mm3)
        assert row["mean"] == pytest.approx(mean, rel=1e-6)


def test_command_line(tmp_path):
    head = mni_small().head
    low = head.nodes_mm.min(axis=0)
    affine = np.diag([-12.0, 12.0, 12.0, 1.0])
    affine[:3, 3] = [low[0] + 23 * 12, low[1], low[2]]
    path = constant_image(tmp_path / "dti.nii.gz", FIBRE, affine)
    pose = efield.Placement.on_scalp(head, (-50, 55, 45), yaw_deg=45.0).matsimnibs
    np.savetxt(tmp_path / "pose.txt", pose)
    common = ["simulate", "mni152-small", "--placement", str(tmp_path / "pose.txt"), "--json", "-"]
    run = CliRunner().invoke(main, [*common, "--dti", str(path), "--anisotropy", "dir"])
    assert run.exit_code == 0, run.output
    said = json.loads(run.stdout)["provenance"]["anisotropy"]
    assert (said["mapping"], said["image"], said["n_without_data"]) == ("dir", "dti.nii.gz", 0)
    assert len(said["image_sha256"]) == 64
    assert said["frame"] == "fsl"
    run = CliRunner().invoke(main, [*common, "--dti", str(path), "--dti-frame", "world"])
    assert json.loads(run.stdout)["provenance"]["anisotropy"]["frame"] == "world"
    for options, word in (
        (["--anisotropy", "vn"], "needs --dti"),
        (["--dti-frame", "world"], "needs --dti"),
        (["--dti", "no.nii"], "no.nii"),
    ):
        refused = CliRunner().invoke(main, [*common, *options])
        assert refused.exit_code == 2 and word in refused.output
