"""The continuous refinement: poses over a patch of scalp, their derivatives, and where it may end."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_heads import QUICK, TARGET_MM, mni_small, sphere

from efield.adjoint.current import adjoint_currents
from efield.adjoint.exterior import fit_harmonic
from efield.adjoint.spline import CoilExtent, SplineField
from efield.errors import SearchError
from efield.frames import yaw_to_midline
from efield.model.coils import load_coil
from efield.model.target import Target
from efield.search.candidates import scalp_grid
from efield.search.objectives import make_objective
from efield.search.polish import ScalpChart, polish

DISTANCE_MM, DIDT = 4.0, 1e6


# --- charts


def chart_at(scalp, seed):
    """A chart on the upper head, and coordinates whose scalp point is the middle of a triangle."""
    rng = np.random.default_rng(seed)
    upper = np.flatnonzero(scalp.centroids_mm[:, 2] > 20)
    chart = ScalpChart.at(scalp, scalp.closest(scalp.centroids_mm[rng.choice(upper)])[0][0], DISTANCE_MM)
    near = np.linalg.norm(scalp.centroids_mm - chart.origin, axis=1) < 8
    seen = scalp.area_normals_mm2 @ chart.outward > 0.5 * scalp.areas_mm2
    middle = scalp.centroids_mm[rng.choice(np.flatnonzero(near & seen))]
    return chart, *(chart.axes @ (middle - chart.origin)), rng.uniform(-np.pi, np.pi)


@pytest.mark.parametrize("seed", range(6))
def test_pose_over_a_scalp_point(seed):
    scalp = mni_small().head.scalp
    chart, u, v, yaw = chart_at(scalp, seed)
    pose, point, _ = chart.pose(u, v, yaw)
    assert scalp.closest(point)[1][0] < 1e-9
    np.testing.assert_allclose(chart.axes @ (point - chart.origin), [u, v], atol=1e-9)
    normal = scalp.smooth_normal(point)[0]
    np.testing.assert_allclose(pose[:3, 2], -normal, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], point + DISTANCE_MM * normal, atol=1e-9)
    assert np.radians(yaw_to_midline(pose)) == pytest.approx(yaw)


def test_the_origin_of_a_chart():
    scalp = mni_small().head.scalp
    origin = scalp.closest(np.array([-52.0, 53, 36]))[0][0]
    _, point, _ = ScalpChart.at(scalp, origin, DISTANCE_MM).pose(0.0, 0.0, 0.3)
    np.testing.assert_allclose(point, origin, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("head", [mni_small, sphere])
def test_derivative_of_the_pose(head, seed):
    chart, *at = chart_at(head().head.scalp, seed)
    derivative = chart.pose(*at)[2]
    for k, step in enumerate(np.diag([1e-3, 1e-3, 1e-4])):
        ahead, behind = (chart.pose(*(at + sign * step))[0] for sign in (1, -1))
        shift = 1e-3 * (ahead[:3, 3] - behind[:3, 3]) / (2 * step[k])
        turn = Rotation.from_matrix(ahead[:3, :3] @ behind[:3, :3].T).as_rotvec() / (2 * step[k])
        np.testing.assert_allclose(derivative[:3, k], shift, atol=1e-9)
        np.testing.assert_allclose(derivative[3:, k], turn, atol=1e-7)


def test_beside_the_scalp():
    chart, _, _, yaw = chart_at(sphere().head.scalp, 0)
    with pytest.raises(SearchError, match="no scalp under"):
        chart.pose(200.0, 0.0, yaw)


# --- polishing


@pytest.fixture(scope="module")
def prepared_search():
    """Charges and spline over the quick search on the sphere."""
    head = sphere().head
    region = Target.sphere(TARGET_MM, 8.0).resolve(head)
    goal = make_objective("magnitude_of_mean")
    currents = adjoint_currents(sphere(), region.elements, goal.weights(region.volumes_mm3 * 1e-9))
    grid = scalp_grid(head.scalp, TARGET_MM, QUICK.radius_mm, QUICK.spacing_mm)
    model = fit_harmonic(currents, head.scalp, grid.center_mm, QUICK.radius_mm, check_height_mm=10)
    base = grid.base_poses(DISTANCE_MM)
    coil = load_coil("figure8-70mm")
    field = SplineField.over(model, CoilExtent.of(coil), base[:, :3, 3], base[:, :3, 2], spacing_mm=3.0)
    return grid, field, coil


def polished(
    prepared_search, start=7, yaw=0.4, *, allowed=lambda pose, point: True, didt=DIDT, objective=None, **reach
):
    grid, field, coil = prepared_search
    chart = ScalpChart.at(sphere().head.scalp, grid.points_mm[start], DISTANCE_MM)
    goal = objective or make_objective("magnitude_of_mean")
    reach = {"reach_mm": 4.0, "yaw_reach": 0.6, **reach}
    pose, value = polish(field, coil, goal, chart, yaw, didt=didt, allowed=allowed, **reach)
    return chart, goal, pose, value


def value_of(prepared_search, goal, pose, didt=DIDT):
    _, field, coil = prepared_search
    return float(goal.of_functionals(field.functionals(coil, pose[None], didt)[0]))


@pytest.mark.parametrize("start", [0, 3, 7])
@pytest.mark.parametrize("didt", [1e6, -1e6])
@pytest.mark.parametrize("objective", ["magnitude_of_mean", "directional"])
def test_polish_ends_no_lower_and_says_its_value(prepared_search, objective, didt, start):
    goal = make_objective(objective, (1, -2, 0.5) if objective == "directional" else None)
    chart, _, pose, value = polished(prepared_search, start, didt=didt, objective=goal)
    begin = value_of(prepared_search, goal, chart.pose(0, 0, 0.4)[0], didt)
    assert value == pytest.approx(value_of(prepared_search, goal, pose, didt), rel=1e-9)
    assert value > begin


def test_polish_finds_the_maximum_of_its_box(prepared_search):
    """Against every node of a fine grid of coordinates."""
    chart, goal, _, value = polished(prepared_search)
    ticks = np.linspace(-4, 4, 9)
    best = max(
        value_of(prepared_search, goal, chart.pose(u, v, 0.4 + w)[0])
        for u in ticks
        for v in ticks
        for w in np.linspace(-0.6, 0.6, 7)
    )
    assert value >= best * (1 - 1e-4)


def test_polish_stays_in_its_box(prepared_search):
    chart, _, pose, _ = polished(prepared_search, reach_mm=0.7, yaw_reach=0.05)
    point = pose[:3, 3] + DISTANCE_MM * pose[:3, 2]
    assert np.all(np.abs(chart.axes @ (point - chart.origin)) <= 0.7 + 1e-9)
    assert abs(np.radians(yaw_to_midline(pose)) - 0.4) <= 0.05 + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_polish_never_returns_a_forbidden_pose(prepared_search, seed):
    """A half-space through the start, and a yaw sector: both cut the way to the maximum."""
    rng = np.random.default_rng(seed)
    chart, *_ = polished(prepared_search, reach_mm=0.1, yaw_reach=0.01)
    across = rng.standard_normal(3)
    asked = []

    def allowed(pose, point):
        fine = across @ (point - chart.origin) >= 0.2 and np.radians(yaw_to_midline(pose)) >= 0.35
        asked.append(fine)
        return fine

    _, _, pose, value = polished(prepared_search, allowed=allowed)
    assert not all(asked)
    if pose is None:
        assert value == -np.inf
    else:
        assert allowed(pose, pose[:3, 3] + DISTANCE_MM * pose[:3, 2])


def test_nothing_allowed(prepared_search):
    _, _, pose, value = polished(prepared_search, allowed=lambda pose, point: False)
    assert pose is None and value == -np.inf


@pytest.mark.parametrize("start", [0, -1])
def test_polish_at_the_edge_of_the_prepared_field(prepared_search, start):
    """A reach beyond the spline's grid, and beyond the scalp: it steps back and goes on."""
    chart, goal, pose, value = polished(prepared_search, start, reach_mm=150.0)
    assert value >= value_of(prepared_search, goal, chart.pose(0, 0, 0.4)[0])
    assert value == pytest.approx(value_of(prepared_search, goal, pose))
