"""The certificate: its pieces bound what they say, and no placement exceeds the whole."""

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from search_fields import DIDT, DISTANCE_MM, GOAL, field_over, sphere_search, values
from small_heads import few_dipoles, mni_small, sphere

from efield.errors import SearchError
from efield.frames import pose_from_yaw
from efield.kernels.normals import normal_bounds
from efield.model.surface import NORMAL_RADIUS_MM
from efield.search import certificate
from efield.search.candidates import yaw_rotations
from efield.search.certificate import _Bounding, _Cells, certify, spline_jerks

# --- pieces


def basis(order, t):
    """Values at fraction t of a cell of the four cubic B-splines' derivatives."""
    u = 1 - t
    return [
        np.array([u**3, 3 * t**3 - 6 * t**2 + 4, 3 * u**3 - 6 * u**2 + 4, t**3]) / 6,
        np.array([-(u**2), 3 * t**2 - 4 * t, -3 * u**2 + 4 * u, t**2]) / 2,
        np.array([u, 3 * t - 2, 3 * u - 2, t]),
        np.array([-1.0, 3, -3, 1]),
    ][order]


@pytest.mark.parametrize("seed", range(3))
def test_third_derivatives_of_the_spline_are_bounded_and_closely(seed):
    rng = np.random.default_rng(seed)
    coefficients, step = rng.standard_normal((9, 8, 11, 9)).astype(np.float32), 0.4
    jerks = spline_jerks(coefficients, step).reshape(9, 8, 11, 10, 3)
    closest = np.zeros(10)
    for _ in range(300):
        cell = rng.integers(1, np.array([9, 8, 11]) - 2)
        at = rng.choice([0.0, 1.0, rng.random()], 3)
        local = coefficients[tuple(slice(c - 1, c + 3) for c in cell)].astype(float)
        for k, axes in enumerate(("xxx", "xxy", "xxz", "xyy", "xyz", "xzz", "yyy", "yyz", "yzz", "zzz")):
            orders = [axes.count(axis) for axis in "xyz"]
            weights = [basis(o, t) for o, t in zip(orders, at, strict=True)]
            bent = np.einsum("i,j,k,ijkf->f", *weights, local) / step**3
            size = np.linalg.norm(bent.reshape(3, 3), axis=0)  # functional, component
            bound = jerks[(*cell, k)]
            assert np.all(size <= bound)
            closest[k] = max(closest[k], (size / bound).max())
    assert closest[[0, 6, 9]].min() > 0.99  # attained at grid points
    assert closest.min() > 0.4  # a quadratic does not reach its middle coefficient


@cache
def bounding():
    grid, _ = sphere_search()
    coil = few_dipoles()
    field = field_over(coil, grid.base_poses(DISTANCE_MM))
    return _Bounding.of(field, coil, GOAL, grid, sphere().head.scalp, DISTANCE_MM, DIDT), field, coil


def in_triangle(rng, triangle, n):
    """Points of a triangle: its corners, and n more."""
    weights = np.concatenate([np.eye(3), rng.dirichlet(np.ones(3), n)])
    return weights @ triangle


@pytest.mark.parametrize("seed", range(4))
def test_normals_over_triangles_of_a_real_scalp(seed):
    """Deviation from linear, in the coordinates of the docstring, against the surface's normals."""
    rng = np.random.default_rng(seed)
    scalp = mni_small().head.scalp
    upper = np.flatnonzero(scalp.centroids_mm[:, 2] > 20)
    picks = rng.choice(upper, 6)
    near = np.linalg.norm(scalp.centroids_mm[:, None] - scalp.centroids_mm[picks], axis=2).min(axis=1)
    around = near < NORMAL_RADIUS_MM + 15
    pieces = scalp.corners_mm[picks]
    pieces = pieces.mean(axis=1, keepdims=True) + rng.choice([1.0, 0.3], (6, 1, 1)) * (
        pieces - pieces.mean(axis=1, keepdims=True)
    )
    normals, slopes, rests = np.empty((6, 3)), np.empty((6, 3, 3)), np.empty(6)
    normal_bounds(
        0,
        6,
        pieces,
        0.6,
        scalp.centroids_mm[around],
        scalp.area_normals_mm2[around],
        NORMAL_RADIUS_MM,
        normals,
        slopes,
        rests,
    )
    for piece, normal, slope, rest in zip(pieces, normals, slopes, rests, strict=True):
        points = in_triangle(rng, piece, 60)
        there = scalp.smooth_normal(points)
        u = there / (there @ normal)[:, None] - normal
        apart = np.linalg.norm(u - (points - piece.mean(axis=0)) @ slope.T, axis=1)
        np.testing.assert_allclose(normal, scalp.smooth_normal(piece.mean(axis=0))[0], atol=1e-12)
        assert apart.max() <= rest < 0.1


def smallest_turn(start, end):
    """Rotation matrix that takes one unit vector to another by the shortest way."""
    axis = np.cross(start, end)
    size = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / size * np.arctan2(size, start @ end)).as_matrix()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    shrink=st.sampled_from([1.0, 0.4, 0.1]),
    half=st.sampled_from([0.3, 0.08, 0.01]),
    in_direction=st.booleans(),
)
def test_every_placement_of_a_cell_lies_within_its_bound(seed, shrink, half, in_direction):
    """Functionals against the hull of the first-order model and the slack, in random directions."""
    rng = np.random.default_rng(seed)
    whole, field, coil = bounding()
    scalp, turn = sphere().head.scalp, field.rotation
    triangle = rng.choice(whole.region)
    triangle = triangle.mean(axis=0) + shrink * (triangle - triangle.mean(axis=0))
    yaw = rng.uniform(-np.pi, np.pi)
    cells = _Cells(whole.patches(triangle[None]), np.zeros(1, int), np.array([yaw]), np.array([half]))
    highest, found, reference = whole.evaluate(cells)
    assume(np.isfinite(highest[0]))  # else the cell would be divided
    points = in_triangle(rng, 1e3 * triangle @ turn, 12)
    normals = scalp.smooth_normal(points)
    outward = -(turn.T @ whole.central)[:, 2]
    poses = np.tile(np.eye(4), (len(points), 1, 1))
    for pose, point, normal in zip(poses, points, normals, strict=True):
        there = smallest_turn(outward, normal) @ (turn.T @ whole.central)
        angle = yaw + half * rng.choice([-1, 1, rng.uniform(-1, 1)])
        pose[:3, :3] = there @ Rotation.from_rotvec([0, 0, angle]).as_matrix()
        pose[:3, 3] = point + DISTANCE_MM * normal
        np.testing.assert_allclose(pose[:3, 2], -normal, atol=1e-12)
    if in_direction:  # in the docstring's words: the functionals themselves, not only their size
        along = rng.standard_normal(3)
        along /= np.linalg.norm(along)
        one = _Bounding(**{**vars(whole), "objective": _Along(along)})
        assert np.all(field.functionals(coil, poses, DIDT) @ along <= one.evaluate(cells)[0][0])
    assert np.all(values(field, coil, poses) <= highest[0])
    assert values(field, coil, whole.in_head(reference[0])[None])[0] == pytest.approx(found[0], rel=1e-9)


class _Along:
    """A component of the functionals."""

    def __init__(self, direction):
        self.direction = direction

    def of_functionals(self, functionals):
        return functionals @ self.direction


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shrink", "half"), [(1e-6, 1e-3), (2e-3, 1e-7)])
def test_the_rest_of_a_small_cell_is_its_second_derivative(seed, shrink, half):
    """In yaw and in place: half the slack's quadratic form against differences of functionals.

    The form is the largest over pairs of corners, which in place may lie somewhat above the
    largest over the corners.
    """
    rng = np.random.default_rng(seed)
    whole, field, coil = bounding()
    triangle = rng.choice(whole.region)
    triangle = triangle.mean(axis=0) + shrink * (triangle - triangle.mean(axis=0))
    patch = whole.patches(triangle[None])
    cells = _Cells(patch, np.zeros(1, int), np.array([0.7]), np.array([half]))
    reference, _, _, slack = (part[0] for part in whole.hulls(cells))
    reference = whole.in_head(reference)
    steps = np.zeros((3, 6))  # of the first-order way: a shift in mm and a turn, head's frame
    if half > 1e-5:
        steps[0, 3:] = half * reference[:3, 2]
    else:
        turn, normal = field.rotation, patch.normals[0]
        for step, corner in zip(steps, triangle - triangle.mean(axis=0), strict=True):
            lean = patch.slopes[0] @ corner
            step[:3] = 1e3 * (corner + 1e-3 * DISTANCE_MM * lean) @ turn
            step[3:] = np.cross(normal, lean) @ turn

    def moved(step, times):
        pose = reference.copy()
        pose[:3, 3] += times * step[:3]
        pose[:3, :3] = Rotation.from_rotvec(times * step[3:]).as_matrix() @ pose[:3, :3]
        return field.functionals(coil, pose[None], DIDT)[0]

    times = 10.0
    bent = [(moved(s, times) - 2 * moved(s, 0) + moved(s, -times)) / times**2 for s in steps]
    largest = 0.5 * np.linalg.norm(bent, axis=1).max()
    assert largest <= slack * 1.01
    assert slack <= largest * (1.1 if half > 1e-5 else 1.6)


@pytest.mark.parametrize("arm", [0.0, 1.0])
def test_halves_cover_their_cell(arm):
    """Halved in place, then in yaw: nothing is lost but what lies outside the region."""
    whole, *_ = bounding()
    whole = _Bounding(**{**vars(whole), "arm": arm, "radius": 1.0})
    cells = whole.first_cells().among(np.arange(0, 200, 7))
    halves = whole.divided(cells)
    assert len(halves.yaw) == 2 * len(cells.yaw)

    def measure(cells):
        a, b, c = np.moveaxis(cells.patches.corners[cells.patch], 1, 0)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) * cells.half_yaw

    first, second = np.split(measure(halves), 2)
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(first + second, measure(cells))
    for k, half in enumerate(halves.patch):
        corners = cells.patches.corners[cells.patch[k % len(cells.yaw)]]
        weights = np.linalg.lstsq(corners.T, halves.patches.corners[half].T, rcond=None)[0]
        assert weights.min() > -1e-9
        apart = abs(halves.yaw[k] - cells.yaw[k % len(cells.yaw)])
        assert apart + halves.half_yaw[k] <= cells.half_yaw[k % len(cells.yaw)] + 1e-12


def test_pieces_outside_the_region_are_dropped():
    whole, *_ = bounding()
    halves = whole.divided(whole.first_cells())
    corners = halves.patches.corners[halves.patch]
    inside = np.linalg.norm(corners - whole.centre, axis=2).min(axis=1) <= whole.radius
    assert len(corners) < 2 * len(whole.first_cells().yaw)
    assert inside.mean() > 0.5


# --- the whole


@cache
def dense(n_points=400, n_yaw=48):
    """Values of many tangential placements of the region, and their poses."""
    grid, _ = sphere_search()
    _, field, coil = bounding()
    scalp = sphere().head.scalp
    rng = np.random.default_rng(5)
    near = np.flatnonzero(np.linalg.norm(scalp.centroids_mm - grid.center_mm, axis=1) < grid.radius_mm + 6)
    points = np.concatenate(
        [in_triangle(rng, scalp.corners_mm[rng.choice(near)], 3) for _ in range(n_points)]
    )
    points = points[np.linalg.norm(points - grid.center_mm, axis=1) <= grid.radius_mm]
    normals = scalp.smooth_normal(points)
    base = np.stack(
        [pose_from_yaw(p + DISTANCE_MM * n, -n, 0.0) for p, n in zip(points, normals, strict=True)]
    )
    poses = (base[:, None] @ yaw_rotations(np.linspace(-180, 180, n_yaw, endpoint=False))).reshape(-1, 4, 4)
    return values(field, coil, poses), poses


def certified(pose_at, *, epsilon):
    grid, _ = sphere_search()
    _, field, coil = bounding()
    found, poses = dense()
    pose = poses[pose_at(found)]
    bound = certify(
        field,
        coil,
        GOAL,
        grid,
        sphere().head.scalp,
        pose,
        functional="magnitude_of_mean",
        distance_mm=DISTANCE_MM,
        didt=DIDT,
        epsilon=epsilon,
    )
    return bound, found, values(field, coil, pose[None])[0]


@pytest.mark.parametrize("epsilon", [0.05, 0.02])
def test_no_placement_exceeds_the_bound(epsilon):
    bound, found, value = certified(np.argmax, epsilon=epsilon)
    assert bound.holds
    assert bound.value == pytest.approx(value)
    assert found.max() <= bound.bound <= (1 + epsilon) * value
    assert bound.epsilon == pytest.approx(bound.bound / value - 1)
    assert bound.better is None
    assert bound.cells > 100 and bound.seconds > 0


def test_a_better_placement_is_found():
    """Reported is the worst of the dense set."""
    bound, found, value = certified(np.argmin, epsilon=0.03)
    assert not bound.holds
    assert value < found.max() / 1.05
    assert found.max() <= bound.bound <= 1.03 * bound.best_seen
    _, field, coil = bounding()
    assert values(field, coil, bound.better[None])[0] == pytest.approx(bound.best_seen, rel=1e-9)


def test_out_of_cells(monkeypatch):
    """What is reported then is a bound still."""
    monkeypatch.setattr(certificate, "MOST_CELLS", 8000)
    bound, found, _ = certified(np.argmax, epsilon=1e-4)
    assert not bound.holds
    assert bound.epsilon > 1e-4
    assert found.max() <= bound.bound


def test_out_of_cells_without_a_bound(monkeypatch):
    """The scalp's triangles are too coarse for their smoothed normals to be bounded undivided."""
    monkeypatch.setattr(certificate, "MOST_CELLS", 1)
    bound, *_ = certified(np.argmax, epsilon=1e-4)
    assert not bound.holds
    assert bound.bound is None and bound.epsilon is None


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.nan, np.inf])
def test_epsilon_that_makes_no_sense(epsilon):
    with pytest.raises(SearchError, match="epsilon"):
        certified(np.argmax, epsilon=epsilon)
