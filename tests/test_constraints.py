"""Every degree of freedom under the constraints of a real head: tilt, contact, exclusions."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_heads import QUICK, TARGET_MM, few_dipoles, mni_small, sphere

from efield.errors import CoilError, SearchError
from efield.frames import pose_from_yaw, tangent_axes
from efield.io.tcd import read_tcd
from efield.model.coil import Coil
from efield.model.coils import BUILTIN_COILS, load_coil
from efield.model.surface import TriSurface
from efield.model.target import Target
from efield.search.candidates import Search, scalp_grid
from efield.search.clock import Clock
from efield.search.constraints import CONTACT_MM, Constraints, FeasibleSet, clearance_mm, tilt_deg
from efield.search.objectives import make_objective
from efield.search.optimize import optimize_coil
from efield.search.polish import ScalpChart
from efield.search.run import start_run

TILT_DEG, FOLD_DEG = 10.0, 20.0

SMALL = Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=15.0)


@cache
def folded(degrees=FOLD_DEG):
    """The built-in figure-8, both wings turned towards the head about its y axis."""
    coil = load_coil("figure8-70mm")

    def turned(vectors, side):
        angle = np.radians(degrees) * np.sign(side)
        x, y, z = vectors.T
        return np.stack([np.cos(angle) * x - np.sin(angle) * z, y, np.sin(angle) * x + np.cos(angle) * z], 1)

    side, casing_side = coil.positions_mm[:, 0], coil.casing_mm[:, 0]
    return replace(
        coil,
        positions_mm=turned(coil.positions_mm, side),
        moments=turned(coil.moments, side),
        casing_mm=turned(coil.casing_mm, casing_side),
    )


@cache
def explored(coil_name, max_tilt_deg):
    """A run on the small head, its grid, and its polished placements, best first."""
    coil = folded() if coil_name == "folded" else load_coil("figure8-70mm")
    run = start_run(
        mni_small(),
        coil,
        "dlpfc-left",
        make_objective("magnitude_of_mean"),
        search=SMALL,
        constraints=Constraints(max_tilt_deg=max_tilt_deg),
        didt=1e6,
        clock=Clock(None),
    )
    found = run.explore()
    return run, found, run.refine(found, 4)


def value_of(run, found, pose):
    return float(found.goal.of_functionals(found.field.functionals(run.coil, pose[None], 1e6)[0]))


def random_feasible(run, found, rng):
    """A pose drawn without the chart: scalp point, tilted axis, yaw, and lifted by bisection."""
    limits, scalp = run.constraints, run.head.scalp
    grid = found.grid
    while True:
        around = grid.center_mm + rng.uniform(-1, 1, 3) * grid.radius_mm
        point = scalp.closest(around)[0][0]
        if np.linalg.norm(point - grid.center_mm) <= grid.radius_mm:
            break
    inward = -scalp.smooth_normal(point)[0]
    tilt, azimuth = np.radians(limits.max_tilt_deg) * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
    across = np.array([np.cos(azimuth), np.sin(azimuth)]) @ np.stack(tangent_axes(inward))
    axis = np.cos(tilt) * inward + np.sin(tilt) * across
    yaw = rng.uniform(-180, 180)

    def at(distance):
        return pose_from_yaw(point - distance * axis, axis, yaw)

    low, high = limits.distance_mm, limits.distance_mm + 30.0
    if clearance_mm(scalp, run.coil, at(low)) >= limits.least_clearance_mm(run.coil):
        return at(low)
    for _ in range(12):
        middle = 0.5 * (low + high)
        clear = clearance_mm(scalp, run.coil, at(middle)) >= limits.least_clearance_mm(run.coil)
        low, high = (low, middle) if clear else (middle, high)
    return at(high)


# --- the chart


@pytest.mark.parametrize("seed", range(6))
def test_derivative_of_a_tilted_pose(seed):
    rng = np.random.default_rng(seed)
    scalp = mni_small().head.scalp
    upper = np.flatnonzero(scalp.centroids_mm[:, 2] > 20)
    chart = ScalpChart.at(scalp, scalp.closest(scalp.centroids_mm[rng.choice(upper)])[0][0], 4.0, 15.0)
    x = np.array([0.0, 0.0, *rng.uniform(-1, 1, 3), rng.uniform(4, 12)])

    def pose(x):
        return chart.pose(x[0], x[1], x[2], x[3:5], x[5])

    derivative = pose(x)[2]
    for k, step in enumerate(np.diag([1e-5, 1e-5, 1e-4, 1e-4, 1e-4, 1e-3])):
        ahead, behind = pose(x + step)[0], pose(x - step)[0]
        shift = 1e-3 * (ahead[:3, 3] - behind[:3, 3]) / (2 * step[k])
        turn = Rotation.from_matrix(ahead[:3, :3] @ behind[:3, :3].T).as_rotvec() / (2 * step[k])
        np.testing.assert_allclose(derivative[:3, k], shift, atol=1e-8)
        np.testing.assert_allclose(derivative[3:, k], turn, atol=1e-6)


def test_the_square_of_leans_fills_the_disc_of_tilts():
    scalp = mni_small().head.scalp
    chart = ScalpChart.at(scalp, scalp.closest(np.array([-52.0, 53, 36]))[0][0], 4.0, TILT_DEG)
    edge = [(s, t) for s in np.linspace(-1, 1, 9) for t in np.linspace(-1, 1, 9) if max(abs(s), abs(t)) == 1]
    inner = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    for leans, check in ((edge, pytest.approx(TILT_DEG)), (inner, None)):
        for lean in leans:
            pose, point, _ = chart.pose(0.0, 0.0, 0.3, lean)
            tilt = tilt_deg(scalp, pose, point)
            assert tilt <= TILT_DEG + 1e-9 and (check is None or tilt == check)
            np.testing.assert_allclose(point - 4.0 * pose[:3, 2], pose[:3, 3], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_slopes_of_the_margins(seed):
    rng = np.random.default_rng(seed)
    scalp = mni_small().head.scalp
    point = scalp.closest(np.array([-52.0, 53, 36]) + rng.uniform(-8, 8, 3))[0][0]
    chart = ScalpChart.at(scalp, point, 4.0, TILT_DEG)
    limits = Constraints(max_tilt_deg=TILT_DEG, exclude=((-50.0, 40, 60, 5),))
    inside = FeasibleSet(scalp, folded(), limits, point + 3.0, 20.0)
    x = np.array([0.01, 0.02, *rng.uniform(-1, 1, 3), rng.uniform(6, 12)])

    def margins(x):
        return inside.margins(*chart.pose(x[0], x[1], x[2], x[3:5], x[5]))

    slopes = margins(x)[1]
    for k, step in enumerate(1e-6 * np.eye(6)):
        rate = (margins(x + step)[0] - margins(x - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[:, k], rate, rtol=1e-4, atol=1e-4)


# --- the optimum


@pytest.mark.parametrize("coil", ["figure8-70mm", "folded"])
def test_tilt_gains_and_keeps_its_limit(coil):
    _, _, flat = explored(coil, 0.0)
    run, _, tilted = explored(coil, TILT_DEG)
    assert tilted[0][1] >= flat[0][1] * (1 - 1e-5)
    for pose, _ in tilted:
        hit, face = run.head.scalp.ray_hits(pose[:3, 3], pose[:3, 2])
        assert face[0] >= 0
        normal = run.head.scalp.smooth_normal(pose[:3, 3] + hit[0] * pose[:3, 2])[0]
        assert np.degrees(np.arccos(-normal @ pose[:3, 2])) <= TILT_DEG + 1e-5
        assert hit[0] >= 4.0 - 1e-9


def test_a_bent_coil_is_lifted_to_contact():
    """At the smallest distance it would lie in the scalp at every placement."""
    run, found, chosen = explored("folded", 0.0)
    scalp = run.head.scalp
    flat_rule = found.grid.base_poses(4.0)
    assert all(clearance_mm(scalp, run.coil, pose) < -CONTACT_MM for pose in flat_rule[::7])
    assert found.lift_mm.min() > 0 and found.feasible.sum(axis=1).min() > 0
    clearances = [clearance_mm(scalp, run.coil, pose) for pose, _ in chosen]
    assert min(clearances) >= -CONTACT_MM
    assert clearances[0] <= -CONTACT_MM + 0.02  # no higher than it must be


@pytest.mark.parametrize(
    ("coil", "tilt"), [("folded", 0.0), ("folded", TILT_DEG), ("figure8-70mm", TILT_DEG)]
)
def test_no_random_feasible_pose_is_better(coil, tilt):
    run, found, chosen = explored(coil, tilt)
    rng = np.random.default_rng(5)
    best = max(value_of(run, found, random_feasible(run, found, rng)) for _ in range(60))
    assert chosen[0][1] == pytest.approx(value_of(run, found, chosen[0][0]), rel=1e-9)
    assert 0.8 * chosen[0][1] < best <= chosen[0][1] * (1 + 1e-3)


def on_sphere(**options):
    options = {"search": QUICK, "objective": "magnitude_of_mean", "verify": False, **options}
    return optimize_coil(sphere(), few_dipoles(), tuple(TARGET_MM), **options)


def test_exclusions_and_tilt_in_a_result():
    free = on_sphere()
    ball = (*free.placement_info["scalp_mm"], 5.0)
    result = on_sphere(constraints=Constraints(exclude=(ball,), max_tilt_deg=5.0, yaw_range_deg=(-60, 60)))
    for best in result.best:
        assert np.linalg.norm(np.array(best.info["scalp_mm"]) - ball[:3]) >= 5.0 - 1e-6
        assert -60 - 1e-6 <= best.placement.yaw_to_midline_deg <= 60 + 1e-6
    assert 0.1 < result.metrics["tilt_deg"] <= 5.0 + 1e-5
    points = result.candidates.scalp_mm
    assert np.all(np.linalg.norm(points - ball[:3], axis=1) >= 5.0)
    assert result.to_dict()["provenance"]["constraints"]["exclude"] == [list(ball)]


def test_nothing_left_by_exclusions():
    with pytest.raises(SearchError, match=r"leaves none of the \d+ scalp points within 8 mm"):
        on_sphere(constraints=Constraints(exclude=((*TARGET_MM, 60.0),)))


def test_a_target_out_of_reach_is_a_warning_with_numbers():
    far = Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=30.0, center_mm=(85.0, 0.0, 0.0), refine=False)
    (message,) = [w.message for w in on_sphere(search=far).warnings if w.code == "far_target"]
    assert "mm from the coil" in message and "V/m" in message


def test_the_certificate_is_for_tangential_placements():
    with pytest.raises(SearchError, match="certificate covers tangential placements"):
        on_sphere(constraints=Constraints(max_tilt_deg=5.0), certify=True)


def test_a_search_region_without_scalp():
    """The scalp under the centre is hidden by what overhangs it."""
    square = np.array([[-6.0, -6, 0], [6, -6, 0], [6, 6, 0], [-6, 6, 0]])
    corners = np.concatenate([square, square + [0, 0, 40.0]])
    hidden = TriSurface(corners, np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]))
    with pytest.raises(SearchError, match=r"no scalp point within 3 mm of \[0.0, 0.0, 0.0\] mm; enlarge"):
        scalp_grid(hidden, np.zeros(3), 3.0, 1.0)


# --- dipoles that no casing covers


@cache
def sticking_out():
    """The built-in figure-8 with a weak dipole beside each wing, 45 mm before the casing's face."""
    coil = load_coil("figure8-70mm")
    return replace(
        coil,
        positions_mm=np.vstack([coil.positions_mm, [[70.0, 0, 45], [-70, 0, 45]]]),
        moments=np.vstack([coil.moments, [[0, 0, 1e-7], [0, 0, -1e-7]]]),
    )


def test_which_dipoles_a_casing_covers():
    for name in BUILTIN_COILS:
        assert not load_coil(name).bare.any()
    coil = sticking_out()
    assert np.flatnonzero(coil.bare).tolist() == [len(coil.moments) - 2, len(coil.moments) - 1]
    np.testing.assert_array_equal(coil.extent_mm[-2:], coil.positions_mm[-2:])
    assert few_dipoles().bare.all()
    face = coil.casing_mm[coil.casing_mm[:, 2] == 0]
    assert replace(coil, casing_mm=face).bare.all()  # a flat sheet has no inside
    corners = np.array([[x, y, z] for x in (-5.0, 5) for y in (-5.0, 5) for z in (-10.0, 0)])
    inside = Coil(
        [[0, 0, -1.01], [0, 0, -0.99], [4.1, 0, -5], [0, 0, 3]], np.eye(4, 3) + 1, casing_mm=corners
    )
    assert inside.bare.tolist() == [False, True, True, True]
    with pytest.raises(CoilError, match="covered must say yes or no of 4 dipoles"):
        replace(inside, covered=[True])


def test_a_search_keeps_dipoles_outside_the_casing_off_the_scalp():
    """At the smallest distance they lie in the head though the casing is clear."""
    coil, scalp = sticking_out(), sphere().head.scalp
    result = optimize_coil(sphere(), coil, Target.sphere(TARGET_MM, 8.0), search=QUICK, n_best=1)
    pose = result.placement.matsimnibs
    moved = [p @ pose[:3, :3].T + pose[:3, 3] for p in (coil.positions_mm, coil.casing_mm)]
    dipoles, casing = (scalp.signed_distance(p).min() for p in moved)
    assert 0 < dipoles < 0.1 and casing > 5
    assert result.metrics["clearance_mm"] == pytest.approx(dipoles)
    assert result.check.relative_difference < 1e-3


def test_real_coil_with_dipoles_outside_its_casings(shared):
    """MagVenture's MST-Twin: of the casing of its part, and not only of the hull of all."""
    path = shared("data/coils/MagVenture_MST-Twin.tcd")
    coil, record = load_coil(path), read_tcd(path)
    at = 0
    for element in record.elements:
        surface = record.surfaces[element.casing]
        distance = TriSurface(surface.points_mm, surface.faces).signed_distance(element.points_mm)
        bare = coil.bare[at : at + len(distance)]
        at += len(distance)
        assert bare[distance > 1e-6].all() and not bare[distance < -1.001].any()
        assert 150 < np.count_nonzero(distance > 0) < bare.sum() < 300
