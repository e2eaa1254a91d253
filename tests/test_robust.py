"""Placement noise: its samples, its measures, their gradients, the tolerance map, the result."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from search_fields import DIDT, DISTANCE_MM, GOAL, sphere_search, values
from small_heads import QUICK, TARGET_MM, few_dipoles, sphere

from efield.adjoint.spline import CoilExtent
from efield.errors import SearchError
from efield.forward import simulate
from efield.model.placement import Placement
from efield.model.target import Target
from efield.results.result import OptimizeResult
from efield.search.noise import N_SAMPLES, PoseNoise, motions
from efield.search.objectives import make_objective
from efield.search.optimize import optimize_coil
from efield.search.robust import field_around, noisy, robustness, tolerance_map, values_of

SMALL = PoseNoise(2.0, (1.0, 2.0, 3.0), 0.5)


def dipole_height_mm(coil):
    """Height of the coil's lowest dipoles above the scalp."""
    return CoilExtent.of(coil).height_mm(DISTANCE_MM)


# --- the noise


def test_samples_have_the_stated_deviations():
    moves = SMALL.motions()
    assert moves.shape == (N_SAMPLES, 4, 4)
    turns = np.degrees(Rotation.from_matrix(moves[:, :3, :3]).as_rotvec())
    steps = np.concatenate([moves[:, :3, 3], turns], axis=1)
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(steps.std(axis=0), [2, 2, 0.5, 1, 2, 3], rtol=0.03)
    correlation = np.corrcoef(steps.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.2
    np.testing.assert_array_equal(moves, SMALL.motions())


def test_motions_are_about_the_coils_own_axes():
    quarter = motions(np.array([[1.0, 2, 3, 0, 0, np.pi / 2]]))[0]
    np.testing.assert_allclose(quarter @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


def test_presets_state_their_sources():
    for preset in (PoseNoise.neuronavigation, PoseNoise.cap, PoseNoise.robot):
        noise = preset("cvar:20")
        assert noise.measure == "cvar:20"
        assert noise.source != "given"
        assert noise.distance_sd_mm == 0.0  # no source states one
    assert PoseNoise.cap() == PoseNoise(10.66, (7.79, 7.79, 5.99), 0.0, source=PoseNoise.cap().source)
    assert PoseNoise.robot().angle_sd_deg == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 1.0), "finite and >= 0"),
        ((1.0, np.nan, 1.0), "finite and >= 0"),
        ((1.0, (1.0, 2.0), 1.0), "pitch, roll, yaw"),
        ((1.0, 1.0, 1.0, "median"), "measure must be"),
        ((1.0, 1.0, 1.0, "cvar:0"), "measure must be"),
        ((1.0, 1.0, 1.0, "cvar:x"), "measure must be"),
        ((1.0, 1.0, 1.0, "percentile:100"), "measure must be"),
    ],
)
def test_unusable_noise(arguments, message):
    with pytest.raises(SearchError, match=message):
        PoseNoise(*arguments)


def measured(measure, values):
    return PoseNoise(1, 1, 1, measure).measured(values)


def test_measures():
    values = np.random.default_rng(1).standard_normal((5, 64))
    ordered = np.sort(values, axis=1)
    np.testing.assert_allclose(measured("mean", values), values.mean(axis=1))
    np.testing.assert_allclose(measured("percentile:25", values), ordered[:, 15])
    np.testing.assert_allclose(measured("cvar:25", values), ordered[:, :16].mean(axis=1))
    worst = (ordered[:, :6].sum(axis=1) + 0.4 * ordered[:, 6]) / 6.4
    np.testing.assert_allclose(measured("cvar:10", values), worst)


# --- fields and objectives under noise


@pytest.fixture(scope="module")
def placed():
    """A pose, and the field round it."""
    grid, model = sphere_search()
    pose = grid.base_poses(DISTANCE_MM)[7]
    coil = few_dipoles()
    return pose, coil, field_around((model,), coil, pose[None], SMALL, height_mm=dipole_height_mm(coil))


@pytest.mark.parametrize("measure", ["mean", "cvar:10", "percentile:10"])
def test_noisy_values_are_the_objective_at_moved_poses(placed, measure):
    pose, coil, field = placed
    noise = PoseNoise(2.0, 2.0, 0.5, measure)
    seen, goal = noisy(field, GOAL, noise)
    moves = noise.motions(32 if measure == "mean" else 64)
    alone = np.array([values(field, coil, (pose @ move)[None])[0] for move in moves])
    functionals = seen.functionals(coil, pose[None], DIDT)
    np.testing.assert_allclose(goal.values(functionals)[0], alone, rtol=1e-9)
    assert goal.of_functionals(functionals)[0] == pytest.approx(measured(measure, alone))
    assert goal.smooth == (not measure.startswith("percentile"))


@pytest.mark.parametrize("measure", ["mean", "cvar:10"])
def test_gradient_by_central_differences(placed, measure):
    pose, coil, field = placed
    seen, goal = noisy(field, GOAL, PoseNoise(2.0, 2.0, 0.5, measure))
    functionals, slopes = (a[0] for a in seen.gradients(coil, pose[None], DIDT))
    gradient = goal.slope(functionals) @ slopes

    def value(step):
        moved = pose.copy()
        moved[:3, 3] += 1e3 * step[:3]
        moved[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ pose[:3, :3]
        return goal.of_functionals(seen.functionals(coil, moved[None], DIDT)[0])

    steps = np.diag([1e-6] * 3 + [1e-5] * 3)
    central = [(value(h) - value(-h)) / (2 * h.sum()) for h in steps]
    np.testing.assert_allclose(gradient, central, rtol=1e-5, atol=1e-6 * np.abs(central).max())


# --- the report


def test_tolerance_of_a_known_function():
    """A paraboloid in the coil's own coordinates, tighter on one side of x; flat in y."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.5, 1.0]).as_matrix()
    pose[:3, 3] = [10.0, -20, 30]
    back = np.linalg.inv(pose)

    def value(poses):
        local = back @ poses
        turn = np.degrees(Rotation.from_matrix(local[:, :3, :3]).as_rotvec())
        x, z = local[:, 0, 3], local[:, 2, 3]
        loss = np.where(x > 0, (x / 4) ** 2, (x / 8) ** 2) + np.where(z < 0, -z / 2, 0)
        return 1 - 0.05 * (loss + (turn[:, 0] / 6) ** 2 + (turn[:, 2] / 45) ** 2)

    found, curves = tolerance_map(value, pose, 1.0, 0.95)
    assert found["x_mm"] == pytest.approx((8, 4), rel=1e-3)
    assert found["y_mm"] == (None, None)
    assert found["distance_mm"][0] is None  # towards the head
    assert found["distance_mm"][1] == pytest.approx(2, rel=1e-3)
    assert found["pitch_deg"] == pytest.approx((6, 6), rel=1e-3)
    assert found["roll_deg"] == (None, None)
    assert found["yaw_deg"] == pytest.approx((45, 45), rel=1e-3)
    turn = np.array(curves["yaw_deg"]["offsets"])
    assert turn == pytest.approx(np.linspace(-60, 60, 25))
    assert curves["yaw_deg"]["values"] == pytest.approx(1 - 0.05 * (turn / 45) ** 2)
    away = np.array(curves["distance_mm"]["offsets"])
    assert curves["distance_mm"]["values"] == pytest.approx(1 - 0.05 * np.maximum(away, 0) / 2)


def test_expected_loss_agrees_with_many_random_placements(placed):
    pose, coil, field = placed
    value = values_of(field, coil, GOAL, DIDT)
    report = robustness(value, pose, SMALL, functional="magnitude_of_mean")
    rng = np.random.default_rng(3)
    steps = np.clip(rng.standard_normal((4000, 6)), -2.4, 2.4) * SMALL.deviations
    random = value(pose @ motions(steps))
    error = random.std() / np.sqrt(len(random))
    assert report.value == pytest.approx(value(pose[None])[0])
    assert report.mean == pytest.approx(random.mean(), abs=4 * error + 0.002 * report.value)
    assert report.expected_loss == pytest.approx(1 - report.mean / report.value)
    assert report.low == pytest.approx(np.percentile(random, 5), rel=0.03)


def test_noise_beyond_the_prepared_field(placed):
    pose, coil, field = placed
    with pytest.raises(SearchError, match="leaves the region"):
        robustness(
            values_of(field, coil, GOAL, DIDT),
            pose,
            PoseNoise(40.0, 1.0, 1.0),
            functional="magnitude_of_mean",
        )


def test_a_value_that_is_not_positive(placed):
    with pytest.raises(SearchError, match="not defined"):
        robustness(lambda poses: np.zeros(len(poses)), placed[0], SMALL, functional="directional")


# --- in a run


TARGET = Target.sphere(TARGET_MM, 8.0)


def on_sphere(**options):
    return optimize_coil(
        sphere(), few_dipoles(), TARGET, **{"objective": "magnitude_of_mean", "search": QUICK, **options}
    )


@pytest.fixture(scope="module")
def plain():
    return on_sphere()


def test_every_result_states_its_expected_loss_and_tolerance(plain, tmp_path):
    report = plain.to_dict()["robustness"]
    assert report["noise"]["source"] == PoseNoise.neuronavigation().source
    assert not report["optimized"]
    assert 0 < report["expected_loss"] < 0.5
    assert report["functional"] == "magnitude_of_mean"
    assert report["value"] == pytest.approx(plain.objective.value, rel=2e-3)
    assert set(report["tolerance"]) == set(report["tolerance_reach"])
    plain.save(tmp_path)
    again = OptimizeResult.load(tmp_path).to_dict()
    assert again["robustness"] == report
    assert again["certificate"] is None


@pytest.mark.parametrize("measure", ["mean", "cvar:20", "percentile:20"])
def test_robust_optimum_is_no_worse_under_its_noise(plain, measure):
    noise = PoseNoise(6.0, 6.0, 0.0, measure)
    result = on_sphere(robust=noise)
    assert result.robustness["optimized"]
    _, model = sphere_search()
    poses = np.stack([plain.placement.matsimnibs, result.placement.matsimnibs])
    height_mm = dipole_height_mm(few_dipoles())
    field = field_around((model,), few_dipoles(), poses, noise, height_mm=height_mm)
    moved = (poses[:, None] @ noise.motions()).reshape(-1, 4, 4)
    nominal, robust = measured(measure, values(field, few_dipoles(), moved).reshape(2, -1))
    assert robust >= nominal * (1 - 2e-3)
    assert result.robustness["measured"] == pytest.approx(robust, rel=1e-3)


def root_mean_square(e_field, volumes):
    value = np.sqrt(np.sum(volumes[:, None] * e_field**2) / volumes.sum())
    return value, volumes[:, None] * e_field / (volumes.sum() * value)


@pytest.mark.parametrize("objective", ["mean_magnitude", "percentile:90", root_mean_square])
@pytest.mark.parametrize("robust", [None, PoseNoise(4.0, 4.0, 0.0)], ids=["plain", "robust"])
def test_noise_of_an_objective_of_the_elements_against_forward_solutions(objective, robust):
    noise = robust or PoseNoise.neuronavigation()
    result = on_sphere(objective=objective, robust=robust)
    found = result.robustness
    assert found["functional"] == result.objective.name
    poses = result.placement.matsimnibs @ noise.motions()
    region = TARGET.resolve(sphere().head)
    fields = simulate(sphere(), few_dipoles(), list(poses))
    goal, volumes = make_objective(objective), region.volumes_mm3 * 1e-9
    forward = [goal.of_field(field.E[region.elements], volumes) for field in fields]
    tolerance = result.search["operator_error"]
    assert tolerance < 0.01
    assert found["value"] == pytest.approx(result.objective.value, rel=tolerance)
    assert found["mean"] == pytest.approx(np.mean(forward), rel=tolerance)
    # the worst placements lie tilted and off the region for which the operator states its error
    assert found["low"] == pytest.approx(np.percentile(forward, 5), rel=0.01)


@pytest.mark.parametrize(
    ("objective", "functional"),
    [
        ("magnitude_of_mean", "magnitude_of_mean"),
        ("mean_magnitude", "mean_magnitude"),
        ("percentile:90", "magnitude_of_mean"),
    ],
)
def test_a_certified_run(objective, functional):
    result = on_sphere(objective=objective, certify=0.1)
    found = result.to_dict()["certificate"]
    assert found["holds"]
    assert found["value"] <= found["bound"] <= 1.1 * found["value"]
    assert found["functional"] == functional
    assert found["cells"] > 0 and result.timings["certificate"] > 0
    if objective == functional:
        assert found["value"] == pytest.approx(result.objective.value, rel=2e-3)
        values = np.where(result.candidates.feasible, result.candidates.values, -np.inf)
        assert values.max() <= found["bound"] * (1 + 1e-4)  # those carry the yaw expansion's error


def test_no_forward_solution_exceeds_the_bound_of_mean_magnitude():
    """Placements of no grid over the region, solved forward; the operator's error is the model's."""
    result = on_sphere(objective="mean_magnitude", certify=0.05)
    bound = result.certificate["bound"] * (1 + result.search["operator_error"])
    rng = np.random.default_rng(4)
    centre = np.array(result.search["center_mm"])
    points = centre + rng.uniform(-1, 1, (48, 3)) * result.search["radius_mm"] / np.sqrt(3)
    yaw = np.where(
        rng.random(48) < 0.5, result.placement.yaw_to_midline_deg + rng.normal(0, 8, 48), 180 * rng.random(48)
    )
    poses = [Placement.on_scalp(sphere().head, p, yaw_deg=y) for p, y in zip(points, yaw, strict=True)]
    region = TARGET.resolve(sphere().head)
    values = [field.magnitude[region.elements] for field in simulate(sphere(), few_dipoles(), poses)]
    means = np.array(values) @ region.volumes_mm3 / region.volumes_mm3.sum()
    assert 0.97 * result.objective.value < means.max() <= bound


@pytest.mark.parametrize("certify", [0.0, -0.1, "yes", np.nan])
def test_certify_that_makes_no_sense(certify):
    with pytest.raises(SearchError, match="certify must be"):
        on_sphere(certify=certify)
