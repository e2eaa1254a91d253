"""Rigid poses, the yaw convention, and coils put on a scalp."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import random_rotation
from small_heads import RADIUS_MM, mni_small, sphere

from efield.errors import PlacementError
from efield.frames import as_rigid, pose_from_yaw, tangent_axes, yaw_to_midline
from efield.model.placement import Placement, describe_placement

UP, RIGHT, FRONT = np.array([0.0, 0, 1]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0])

directions = (
    st.tuples(*[st.floats(-1, 1)] * 3)
    .map(np.array)
    .filter(lambda v: np.linalg.norm(v) > 0.1)
    .map(lambda v: v / np.linalg.norm(v))
)


def rigid(rng):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = random_rotation(rng), rng.uniform(-100, 100, 3)
    return pose


# --- rigid poses


def test_a_rigid_pose_stays_as_it_is():
    pose = rigid(np.random.default_rng(3))
    np.testing.assert_allclose(as_rigid(pose), pose, atol=1e-14)
    np.testing.assert_allclose(as_rigid(pose.tolist()), pose, atol=1e-14)


def test_rounding_is_repaired_silently():
    pose = rigid(np.random.default_rng(4))
    rounded = np.round(pose, 7)
    repaired = as_rigid(rounded)
    np.testing.assert_allclose(repaired[:3, :3] @ repaired[:3, :3].T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(repaired, pose, atol=1e-7)


def test_a_small_deviation_is_repaired_with_a_warning():
    pose = rigid(np.random.default_rng(5))
    bent = pose.copy()
    bent[:3, 0] += 1e-4 * pose[:3, 1]
    with pytest.warns(RuntimeWarning, match=r"deviates by 0\.0001 .* made orthonormal"):
        repaired = Placement(bent).matsimnibs
    np.testing.assert_allclose(repaired[:3, :3].T @ repaired[:3, :3], np.eye(3), atol=1e-14)
    np.testing.assert_allclose(repaired, pose, atol=1e-4)
    np.testing.assert_array_equal(repaired[:3, 3], pose[:3, 3])


def spoiled(change):
    pose = rigid(np.random.default_rng(6))
    change(pose)
    return pose


def shear(pose):
    pose[:3, 0] += 0.1 * pose[:3, 1]


def mirror(pose):
    pose[:3, 0] *= -1


def in_metres(pose):
    pose[:3, :3] *= 1e-3


def not_a_number(pose):
    pose[1, 3] = np.nan


def infinite(pose):
    pose[0, 0] = np.inf


def translation_in_last_row(pose):
    pose[:] = pose.T.copy()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shear, "not orthonormal.*scaled or sheared"),
        (in_metres, "not orthonormal.*scaled or sheared"),
        (mirror, "left-handed"),
        (not_a_number, "not finite.*nan"),
        (infinite, "not finite.*inf"),
        (translation_in_last_row, "last row of matsimnibs must be 0 0 0 1"),
    ],
)
def test_what_is_no_rigid_pose(change, words):
    with pytest.raises(PlacementError, match=words):
        Placement(spoiled(change))


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (16,), (2, 4, 4), (3, 3)])
def test_wrong_shape(shape):
    with pytest.raises(PlacementError, match="4x4"):
        Placement(np.zeros(shape))


def test_a_placement_cannot_be_changed():
    given = rigid(np.random.default_rng(7))
    placement = Placement(given)
    before = placement.matsimnibs.copy()
    given[:] = 0
    np.testing.assert_array_equal(placement.matsimnibs, before)
    with pytest.raises(ValueError, match="read-only"):
        placement.matsimnibs[0, 3] = 1.0
    with pytest.raises(AttributeError):
        placement.matsimnibs = given


# --- yaw


@pytest.mark.parametrize(
    ("inward", "yaw_deg", "y"),
    [
        (-UP, 0, -FRONT),  # at the vertex: posterior,
        (-UP, 90, -RIGHT),  # towards the left,
        (-UP, 180, FRONT),
        (-UP, -90, RIGHT),
        (RIGHT, 0, -FRONT),  # on the left side: posterior,
        (RIGHT, 90, -UP),  # on from the vertex to the left: down
        (RIGHT, -90, UP),
        (-RIGHT, 0, -FRONT),  # on the right side
        (-RIGHT, 90, UP),
        (-FRONT, 0, UP),  # on the forehead, where posterior has no projection
        (-FRONT, 90, -RIGHT),
    ],
)
def test_yaw_convention(inward, yaw_deg, y):
    pose = pose_from_yaw(np.array([1.0, 2, 3]), inward, yaw_deg)
    np.testing.assert_allclose(pose[:3, 1], y, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 2], inward, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])
    assert yaw_to_midline(pose) == pytest.approx(yaw_deg, abs=1e-9)
    assert Placement(pose).yaw_to_midline_deg == pytest.approx(yaw_deg, abs=1e-9)


@given(inward=directions, yaw_deg=st.floats(-180, 180, exclude_min=True))
def test_yaw_round_trip(inward, yaw_deg):
    assume(1 - abs(inward[1]) > 1e-6)
    pose = pose_from_yaw(np.zeros(3), inward, yaw_deg)
    turn = (yaw_to_midline(pose) - yaw_deg + 180) % 360 - 180
    assert abs(turn) < 1e-6
    assert -180 < yaw_to_midline(pose) <= 180


@given(inward=directions, yaw_deg=st.floats(-720, 720))
def test_axes_are_right_handed(inward, yaw_deg):
    pose = pose_from_yaw(np.zeros(3), inward, yaw_deg)
    x, y, z = pose[:3, :3].T
    np.testing.assert_allclose(x, np.cross(y, z), atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-9)


@given(inward=directions)
def test_zero_yaw_is_posterior_and_positive_is_left_over_the_upper_head(inward):
    assume(inward[2] < -0.01 and abs(inward[1]) < 0.999)
    zero, quarter = tangent_axes(inward)
    assert zero @ -FRONT > 0
    assert quarter @ -RIGHT > 0


# --- on the scalp


def test_a_coil_on_a_sphere():
    on_sphere = RADIUS_MM * np.array([-0.6, 0.0, 0.8])
    head = sphere().head
    placement = Placement.on_scalp(head, on_sphere, yaw_deg=30, distance_mm=7.0)
    radial = on_sphere / RADIUS_MM
    sagitta = 8.0**2 / (6 * RADIUS_MM)  # of the mesh's triangles
    assert placement.matsimnibs[:3, 2] @ -radial > np.cos(np.radians(1.0))
    np.testing.assert_allclose(placement.center_mm, on_sphere + 7 * radial, atol=2 * sagitta)
    record = describe_placement(head, placement)
    assert record["distance_mm"] == pytest.approx(7.0, abs=1e-6)
    assert record["yaw_to_midline_deg"] == pytest.approx(30, abs=1e-9)
    np.testing.assert_allclose(record["scalp_mm"], head.scalp.closest(on_sphere)[0][0], atol=1e-6)
    np.testing.assert_array_equal(record["matsimnibs"], placement.matsimnibs)
    np.testing.assert_array_equal(record["center_mm"], placement.center_mm)
    np.testing.assert_array_equal(record["ydir"], placement.ydir)


@pytest.mark.parametrize("distance_mm", [0.0, 4.0, 30.0])
def test_distance_on_a_head(distance_mm):
    head = mni_small().head
    placement = Placement.on_scalp(head, (-52, 53, 36), distance_mm=distance_mm)
    assert describe_placement(head, placement)["distance_mm"] == pytest.approx(distance_mm, abs=1e-6)


def test_the_handle_points_to_its_point():
    handle = np.array([-60.0, -50, 40])
    placement = Placement.on_scalp(sphere(), (-60, 30, 50), handle_mm=handle)
    x, y, z = placement.matsimnibs[:3, :3].T
    along = handle - placement.center_mm
    assert along @ y > 0
    assert abs(along @ x) < 1e-9 * np.linalg.norm(along)
    assert z @ placement.center_mm < 0


@pytest.mark.parametrize(("center", "yaw"), [((-60, 20, 50), 45), ((60, 20, 50), -45)])
def test_without_a_direction_the_handle_points_back_and_outwards(center, yaw):
    placement = Placement.on_scalp(sphere(), center)
    assert placement.yaw_to_midline_deg == pytest.approx(yaw, abs=1e-9)
    assert placement.ydir @ -FRONT > 0
    assert placement.ydir[0] * center[0] > 0


def test_a_coil_that_looks_past_the_head_has_no_scalp_point():
    pose = pose_from_yaw(np.array([0.0, 0, 120]), UP, 0.0)
    record = describe_placement(sphere().head, Placement(pose))
    assert record["scalp_mm"] is None and record["distance_mm"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"handle_mm": (0, 0, 0), "yaw_deg": 3}, "handle_mm or yaw_deg, not both"),
        ({"distance_mm": -1}, "distance_mm must be >= 0, not -1"),
        ({"distance_mm": np.nan}, "distance_mm must be >= 0, not nan"),
        ({"yaw_deg": np.inf}, "yaw_deg must be finite, not inf"),
        ({"handle_mm": (1, 2)}, "handle_mm must be three finite coordinates"),
        ({"handle_mm": (1, np.nan, 2)}, "handle_mm must be three finite coordinates"),
    ],
)
def test_unusable_options(options, words):
    with pytest.raises(PlacementError, match=words):
        Placement.on_scalp(sphere(), (-60, 20, 50), **options)


@pytest.mark.parametrize("center", [(1, 2), (np.nan, 0, 0), np.zeros((2, 3))])
def test_unusable_centre(center):
    with pytest.raises(PlacementError, match="center_mm must be three finite coordinates"):
        Placement.on_scalp(sphere(), center)


def test_a_handle_straight_above():
    scalp = sphere().head.scalp
    point = scalp.closest(np.array([-60.0, 20, 50]))[0][0]
    above = point + 40 * scalp.smooth_normal(point)[0]
    with pytest.raises(PlacementError, match="straight above"):
        Placement.on_scalp(sphere(), point, handle_mm=above)


def test_nothing_warns_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Placement.on_scalp(mni_small(), (-52, 53, 36), yaw_deg=12)
