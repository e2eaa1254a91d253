"""The exterior field of the adjoint: charges against the direct sum, splines against charges."""

import numpy as np
import pytest
from oracles import random_rotation
from scipy.spatial.transform import Rotation
from small_heads import mni_small

from efield.adjoint.current import adjoint_currents, mean_field_weights
from efield.adjoint.exterior import HarmonicField, fit_harmonic
from efield.adjoint.spline import SPACING_MM, CoilExtent, SplineField, closeness
from efield.adjoint.yaw import YawExpansion
from efield.errors import SearchError
from efield.model.coil import Coil
from efield.model.coils import load_coil
from efield.model.target import Target
from efield.search.candidates import scalp_grid, yaw_rotations
from efield.search.evaluate import functionals_over_yaw
from efield.units import to_m

DIDT = 1e6


@pytest.fixture(scope="module")
def currents():
    region = Target.named("dlpfc-left").resolve(mni_small().head)
    return adjoint_currents(mni_small(), region.elements, mean_field_weights(region.volumes_mm3 * 1e-9))


@pytest.fixture(scope="module")
def grid():
    return scalp_grid(mni_small().head.scalp, np.array([-42.0, 44, 30]), 25.0, 4.0)


@pytest.fixture(scope="module")
def model(currents, grid):
    return fit_harmonic(currents, mni_small().head.scalp, grid.center_mm, 25.0, check_height_mm=10.0)


@pytest.fixture(scope="module")
def coil():
    return load_coil("figure8-70mm")


def poses_at(grid, distance_mm, n, seed):
    rng = np.random.default_rng(seed)
    base = grid.base_poses(distance_mm)
    return base[rng.integers(len(base), size=n)] @ yaw_rotations(rng.uniform(-180, 180, n))


def dipoles(coil, pose):
    rotation = pose[:3, :3]
    return coil.positions @ rotation.T + to_m(pose[:3, 3]), DIDT * coil.moments @ rotation.T


def spline_over(model, coil, grid, distance_mm):
    base = grid.base_poses(distance_mm)
    extent = CoilExtent.of(coil)
    spacing = SPACING_MM[closeness(extent.height_mm(distance_mm))]
    return SplineField.over(model, extent, base[:, :3, 3], base[:, :3, 2], spacing_mm=spacing)


# --- charges against the direct sum


def harmonic_error(model, currents, coil, grid, distance_mm):
    """Errors at a coil's dipoles, of the largest value: the largest and the rms; all poses together."""
    chosen = np.random.default_rng(1).integers(len(coil.positions), size=200)
    lowest = np.argsort(-coil.positions[:, 2])[:100]
    few = Coil(*(a[np.union1d(chosen, lowest)] for a in (coil.positions_mm, coil.moments)))
    points = np.concatenate([dipoles(few, pose)[0] for pose in poses_at(grid, distance_mm, 10, seed=2)])
    truth = currents.field(points)
    error = np.abs(model.field(points) - truth)
    return error.max() / np.abs(truth).max(), np.sqrt(np.mean(error**2)) / np.abs(truth).max()


@pytest.mark.parametrize("distance_mm", [4.0, 10.0])
def test_charges_give_the_field_at_the_dipoles(model, currents, coil, grid, distance_mm):
    largest, _ = harmonic_error(model, currents, coil, grid, distance_mm)
    assert largest <= 1e-3


def test_charges_give_the_field_at_contact(model, currents, coil, grid):
    """The grain of the mesh's surface nodes reaches the lowest dipoles; their rms is still small."""
    _, rms = harmonic_error(model, currents, coil, grid, 0.0)
    assert rms <= 1e-3


@pytest.mark.parametrize("distance_mm", [4.0, 10.0])
def test_charges_give_the_field_at_the_dipoles_of_a_real_coil(shared, model, currents, grid, distance_mm):
    coil = load_coil(shared("data/coils/MagStim_D70.ccd"))
    largest, _ = harmonic_error(model, currents, coil, grid, distance_mm)
    assert largest <= 1e-3


def test_the_reported_error_is_that_of_other_points(model, currents, grid):
    scalp = mni_small().head.scalp
    rng = np.random.default_rng(3)
    near = scalp.centroids_mm[np.linalg.norm(scalp.centroids_mm - grid.center_mm, axis=1) < 60]
    base = rng.choice(near, 150, replace=False)
    points = base + 10 * scalp.smooth_normal(base)
    points = to_m(points[scalp.signed_distance(points) > 7])
    truth = currents.field(points)
    error = np.linalg.norm(model.field(points) - truth) / np.linalg.norm(truth)
    assert model.error / 2 < error < 2 * model.error
    assert model.error < 5e-4


def test_charges_lie_inside_the_head(model):
    assert mni_small().head.scalp.contains(1e3 * model.charges).all()


# --- a spline of charges whose field is known in closed form


def charges(n_functionals, seed=4):
    rng = np.random.default_rng(seed)
    below = rng.uniform([-40, -40, -70], [40, 40, -30], (60, 3))
    return HarmonicField(to_m(below), rng.standard_normal((60, n_functionals, 3)), 0.0, 10.0)


def field_of(model, points):
    """(n, k, 3) in float64, one charge after another."""
    inverse = 1 / np.linalg.norm(points[:, None] - model.charges, axis=2)
    return np.einsum("ns,skc->nkc", inverse, model.strengths)


def small_coil(seed=5):
    rng = np.random.default_rng(seed)
    return Coil(rng.uniform([-30, -20, -12], [30, 20, -4], (40, 3)), 1e-4 * rng.standard_normal((40, 3)))


def poses_over_a_plane(n, seed=6):
    """Coils that face -z, tilted by up to ten degrees."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (n, 1, 1))
    tilt = Rotation.from_rotvec(rng.uniform(-0.17, 0.17, (n, 3))).as_matrix()
    poses[:, :3, :3] = tilt @ np.diag([1.0, -1, -1]) @ yaw_rotations(rng.uniform(-180, 180, n))[:, :3, :3]
    poses[:, :3, 3] = rng.uniform([-15, -15, -4], [15, 15, 4], (n, 3))
    return poses


def spline_of(model, coil, poses, spacing_mm=3.0):
    return SplineField.over(
        model, CoilExtent.of(coil), poses[:, :3, 3], poses[:, :3, 2], spacing_mm=spacing_mm
    )


@pytest.mark.parametrize("n_functionals", [1, 3, 4, 7])
def test_charges_sum_up(n_functionals):
    model = charges(n_functionals)
    points = np.random.default_rng(7).uniform(-0.03, 0.03, (300, 3))
    expected = field_of(model, points)
    np.testing.assert_allclose(model.field(points), expected, atol=2e-6 * np.abs(expected).max())


def test_charges_that_are_too_near_count_as_farther():
    model = HarmonicField(np.zeros((1, 3)), np.ones((1, 1, 3)), 0.0, 10.0)
    points = np.array([[0.0, 0, 0], [0, 0.001, 0], [0, 0, 0.004]])
    np.testing.assert_allclose(model.field(points, closest=0.002)[:, 0, 0], [500, 500, 250], rtol=1e-6)


@pytest.mark.parametrize("n_functionals", [1, 3, 5])
def test_spline_equals_its_charges(n_functionals):
    model, coil, poses = charges(n_functionals), small_coil(), poses_over_a_plane(30)
    spline = spline_of(model, coil, poses)
    expected = []
    for pose in poses:
        points, rates = dipoles(coil, pose)
        expected.append(-np.einsum("jc,jkc->k", rates, field_of(model, points)))
    expected = np.array(expected)
    got = spline.functionals(coil, poses, DIDT)
    assert got.shape == (30, n_functionals)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    points = np.concatenate([dipoles(coil, pose)[0] for pose in poses])
    wanted = field_of(model, points)
    np.testing.assert_allclose(spline.field(points), wanted, atol=2e-5 * np.abs(wanted).max())


def test_functionals_scale_with_didt():
    model, coil, poses = charges(3), small_coil(), poses_over_a_plane(5)
    spline = spline_of(model, coil, poses)
    one = spline.functionals(coil, poses, 1.0)
    np.testing.assert_allclose(spline.functionals(coil, poses, -6.7e7), -6.7e7 * one, rtol=1e-12)
    np.testing.assert_allclose(spline.gradients(coil, poses, 3.0)[0], 3 * one, rtol=1e-9)


def moved(pose, step):
    """Pose after a translation (m) and a rotation (rad) about the coil's origin, head frame."""
    result = pose.copy()
    result[:3, 3] += 1e3 * step[:3]
    result[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ pose[:3, :3]
    return result


@pytest.mark.parametrize("n_functionals", [3, 4])
def test_gradients_by_central_differences(n_functionals):
    model, coil, poses = charges(n_functionals), small_coil(), poses_over_a_plane(4)
    spline = spline_of(model, coil, poses)
    values, slopes = spline.gradients(coil, poses, DIDT)
    np.testing.assert_allclose(values, spline.functionals(coil, poses, DIDT), rtol=1e-9)
    for k, step in enumerate(np.diag([1e-5] * 3 + [1e-4] * 3)):
        ahead, behind = (
            spline.functionals(coil, np.stack([moved(p, sign * step) for p in poses]), DIDT)
            for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * step[k])
        np.testing.assert_allclose(slopes[:, :, k], expected, atol=1e-5 * np.abs(slopes[:, :, k]).max())


def test_gradients_by_taylor_order():
    """What the first-order expansion leaves falls with the square of the step."""
    model, coil, poses = charges(3), small_coil(), poses_over_a_plane(6)
    spline = spline_of(model, coil, poses)
    values, slopes = spline.gradients(coil, poses, DIDT)
    direction = np.random.default_rng(8).standard_normal(6) * [1e-3, 1e-3, 1e-3, 1e-2, 1e-2, 1e-2]
    rest = []
    for h in (1.0, 0.5, 0.25):
        ahead = spline.functionals(coil, np.stack([moved(p, h * direction) for p in poses]), DIDT)
        rest.append(np.linalg.norm(ahead - values - h * slopes @ direction))
    orders = np.log2(np.array(rest[:-1]) / rest[1:])
    assert np.all((orders > 1.8) & (orders < 2.2))


def test_a_rigid_motion_of_everything_changes_nothing():
    model, coil, poses = charges(3), small_coil(), poses_over_a_plane(8)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = random_rotation(np.random.default_rng(9)), (30.0, -50, 80)
    turn = motion[:3, :3]
    turned = HarmonicField(model.charges @ turn.T + to_m(motion[:3, 3]), model.strengths @ turn.T, 0.0, 10.0)
    before = spline_of(model, coil, poses).functionals(coil, poses, DIDT)
    after = spline_of(turned, coil, motion @ poses).functionals(coil, motion @ poses, DIDT)
    np.testing.assert_allclose(after, before, atol=3e-5 * np.abs(before).max())


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_leaving_the_grid_is_refused(axis, sign):
    model, coil, poses = charges(1), small_coil(), poses_over_a_plane(5)
    spline = spline_of(model, coil, poses)
    gone = poses.copy()
    gone[3, axis, 3] += sign * 120.0
    for call in (spline.functionals, spline.gradients):
        with pytest.raises(SearchError, match=r"3 .*leaves the region .*enlarge the search radius"):
            call(coil, gone, DIDT)
    with pytest.raises(SearchError, match="leaves the region"):
        spline.field(to_m(gone[3:4, :3, 3]))


def test_every_yaw_stays_on_the_grid():
    coil = Coil([[60.0, 0, -5], [0, 5, -5]], np.eye(3)[:2])
    poses = poses_over_a_plane(3)
    spline = spline_of(charges(1), coil, poses)
    turned = np.concatenate([pose @ yaw_rotations(np.arange(0, 360, 5.0)) for pose in poses])
    assert np.all(np.isfinite(spline.functionals(coil, turned, DIDT)))


# --- the whole chain on a head


@pytest.mark.parametrize("distance_mm", [0.0, 4.0, 10.0])
def test_values_of_a_real_search(model, currents, coil, grid, distance_mm):
    """Charges and spline together against the direct sum, at any yaw."""
    spline = spline_over(model, coil, grid, distance_mm)
    poses = poses_at(grid, distance_mm, 6, seed=10)
    truth = np.stack([currents.coil_functionals(*dipoles(coil, pose)) for pose in poses])
    error = np.linalg.norm(spline.functionals(coil, poses, DIDT) - truth, axis=1)
    assert error.max() <= 1e-3 * np.linalg.norm(truth, axis=1).max()


def test_all_yaw_angles_at_once(model, currents, coil, grid):
    spline = spline_over(model, coil, grid, 4.0)
    base = grid.base_poses(4.0)
    yaw_deg = np.arange(-179.0, 180.0, 7.0)
    expansion = YawExpansion.of(coil, model.charges, base)
    values, error = functionals_over_yaw(
        spline, coil, expansion, base, yaw_deg, DIDT, progress=lambda fraction: None
    )
    assert values.shape == (len(base), len(yaw_deg), 3)
    assert error <= 1e-3
    largest = np.linalg.norm(values, axis=2).max()
    rng = np.random.default_rng(11)
    for _ in range(8):
        i, j = rng.integers(len(base)), rng.integers(len(yaw_deg))
        pose = base[i] @ yaw_rotations(yaw_deg[j : j + 1])[0]
        truth = currents.coil_functionals(*dipoles(coil, pose))
        assert np.linalg.norm(values[i, j] - truth) <= 1e-3 * largest
