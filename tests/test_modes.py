"""Modes of E in a target: what they span, what they miss, and the objectives on them."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_heads import QUICK, TARGET_MM, few_dipoles, mni_small, sphere

from efield.adjoint.modes import JointField, LeftOut, TargetModes
from efield.errors import SearchError, TargetError
from efield.forward import simulate
from efield.frames import pose_from_yaw
from efield.kernels import magnitude
from efield.metrics import weighted_percentile
from efield.model.coils import load_coil
from efield.model.cortex import cortical_normals
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.candidates import Search
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.measures import UserMeasure
from efield.search.objectives import ModeObjective, make_objective
from efield.search.operator import every_nth, spread_poses
from efield.search.optimize import optimize_coil
from efield.search.run import Run

RNG = np.random.default_rng(7)
VOLUMES = RNG.uniform(0.5, 2.0, 40) * 1e-9
SNAPSHOTS = np.einsum("sk,knc->snc", RNG.normal(size=(9, 4)), RNG.normal(size=(4, 40, 3)))
"""Nine fields that span four dimensions."""


def figure8():
    return load_coil("figure8-70mm")


def inner(a, b):
    return np.einsum("n,nc,nc->", VOLUMES, a, b) / VOLUMES.sum()


# --- modes


@pytest.mark.parametrize("rank", [0, 2, 4, 8])
def test_modes_are_orthonormal_and_no_more_than_there_are(rank):
    modes = TargetModes.of(SNAPSHOTS, VOLUMES, rank)
    assert len(modes.fields) == 3 + min(rank, 4)
    gram = [[inner(a, b) for b in modes.fields] for a in modes.fields]
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
    np.testing.assert_array_equal(modes.fields[:3], np.broadcast_to(np.eye(3)[:, None], (3, 40, 3)))


def test_enough_modes_give_every_element():
    modes = TargetModes.of(SNAPSHOTS, VOLUMES, 4)
    new = np.tensordot(RNG.normal(size=9), SNAPSHOTS, axes=1)
    coefficients = np.einsum("knc,nc,n->k", modes.weights, new, VOLUMES)  # the adjoint's functionals
    np.testing.assert_allclose(coefficients[:3], VOLUMES @ new / VOLUMES.sum(), atol=1e-12)
    np.testing.assert_allclose(modes.element_fields(coefficients), new, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_left_out_is_a_projection_on_the_modes_of_the_others(rank):
    noisy = SNAPSHOTS + 0.3 * RNG.normal(size=SNAPSHOTS.shape)
    again = LeftOut(noisy, VOLUMES).fields(rank)
    for k in (0, 5, 8):
        modes = TargetModes.of(np.delete(noisy, k, axis=0), VOLUMES, rank)
        coefficients = [inner(mode, noisy[k]) for mode in modes.fields]
        np.testing.assert_allclose(again[k], modes.element_fields(np.array(coefficients)), atol=1e-9)


def test_a_single_element_needs_no_modes_beside_the_mean():
    assert len(TargetModes.of(SNAPSHOTS[:, :1], VOLUMES[:1], 3).fields) == 3


# --- objectives on modes


MODES = TargetModes.of(SNAPSHOTS, VOLUMES, 4)
COEFFICIENTS = RNG.normal(size=(50, 7))


def root_mean_square(e_field, volumes):
    value = np.sqrt(np.einsum("n,nc,nc->", volumes, e_field, e_field) / volumes.sum())
    return value, volumes[:, None] * e_field / volumes.sum() / value


@pytest.mark.parametrize("objective", ["mean_magnitude", "percentile:30", "percentile:99", root_mean_square])
def test_many_placements_are_valued_as_one_by_one(objective):
    goal = ModeObjective(make_objective(objective).measure, MODES, True)
    many = goal.of_functionals(COEFFICIENTS.reshape(10, 5, 7))
    for k, coefficients in enumerate(COEFFICIENTS):
        e_field = np.einsum("k,knc->nc", coefficients, MODES.fields)
        size = np.linalg.norm(e_field, axis=1)
        if objective == "mean_magnitude":
            expected = VOLUMES @ size / VOLUMES.sum()
        elif callable(objective):
            expected = root_mean_square(e_field, VOLUMES)[0]
        else:
            expected = weighted_percentile(size, VOLUMES, float(objective[11:]))
        assert goal.of_functionals(coefficients) == pytest.approx(expected, rel=1e-12)
        assert many[k // 5, k % 5] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objective", ["mean_magnitude", root_mean_square])
def test_slope_in_the_coefficients(objective):
    goal = ModeObjective(make_objective(objective).measure, MODES, True)
    for coefficients in COEFFICIENTS[:5]:
        slope = goal.slope(coefficients)
        for k, step in enumerate(1e-5 * np.eye(7)):
            ahead, behind = (goal.of_functionals(coefficients + s * step) for s in (1, -1))
            assert slope[k] == pytest.approx((ahead - behind) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("ties", [False, True])
def test_percentile_kernel_against_sorting(n, ties):
    rng = np.random.default_rng(n)
    values = rng.integers(0, 5, n) if ties else rng.normal(size=n)
    values = values.astype(np.float32)
    mass = rng.uniform(0.1, 1, n).astype(np.float32)
    for percent in (1.0, 50.0, 99.0):
        wanted = percent / 100 * mass.sum(dtype=np.float64)
        expected = weighted_percentile(values, mass, percent)
        for select in (magnitude._weighted_select, magnitude._weighted_select.py_func):
            assert select(values.copy(), mass.copy(), wanted) == expected


@pytest.mark.parametrize(("n_yaw", "step", "stride"), [(360, 10, 10), (360, 0, 1), (36, 5, 1), (8, 100, 2)])
def test_yaw_angles_thinned_evenly(n_yaw, step, stride):
    kept = np.arange(n_yaw)[every_nth(n_yaw, step)]
    assert len(kept) == n_yaw / stride and kept[-1] == n_yaw - 1
    np.testing.assert_array_equal(np.diff(kept), stride)


# --- the operator against forward solutions


def explored(prepared, coil, target, objective, search):
    """A run and its grid search, as optimize_coil makes them."""
    goal = make_objective(objective)
    region = target.resolve(prepared.head)
    run = Run(prepared, coil, region, goal, search, Constraints(), 1e6, Clock(None))
    return run, run.explore()


@pytest.fixture(scope="module")
def on_head():
    search = Search(radius_mm=15.0, spacing_mm=3.0, yaw_step_deg=5.0)
    return explored(mni_small(), figure8(), Target.named("dlpfc-left"), "mean_magnitude", search)


def random_poses(found, count, seed):
    """Poses of the grid, none of them a snapshot, and turned off its angles."""
    rng = np.random.default_rng(seed)
    where = rng.integers(0, len(found.poses), count)
    angle = rng.uniform(-np.pi, np.pi, count)
    poses = found.poses[where].copy()
    x, y = found.poses[where, :3, 0], found.poses[where, :3, 1]
    poses[:, :3, 0] = np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * y
    poses[:, :3, 1] = np.cos(angle)[:, None] * y - np.sin(angle)[:, None] * x
    return poses


def test_exact_mean_magnitude_within_the_reported_error(on_head):
    run, found = on_head
    assert found.operator.error < 5e-3
    poses = random_poses(found, 24, seed=3)
    values = [found.goal.of_functionals(c) for c in found.field.functionals(run.coil, poses, 1e6)]
    weight = run.volumes / run.volumes.sum()
    for field, value in zip(simulate(run.prepared, run.coil, list(poses)), values, strict=True):
        forward = weight @ np.linalg.norm(field.E[run.region.elements], axis=1)
        assert value == pytest.approx(forward, rel=found.operator.error)
        mean = np.linalg.norm(weight @ field.E[run.region.elements])
        assert forward - mean > 3 * abs(forward - value)  # the modes are what tells the two apart


def test_element_fields_at_an_unseen_placement(on_head):
    run, found = on_head
    (pose,) = random_poses(found, 1, seed=4)
    modes = found.goal.modes
    again = modes.element_fields(found.field.functionals(run.coil, pose[None], 1e6)[0])
    forward = simulate(run.prepared, run.coil, Placement(pose)).E[run.region.elements]
    assert inner_norm(again - forward, run.volumes) < 0.03 * inner_norm(forward, run.volumes)


def inner_norm(e_field, volumes):
    return np.sqrt(np.einsum("n,nc,nc->", volumes, e_field, e_field))


def test_grid_values_are_those_of_the_poses(on_head):
    run, found = on_head
    rng = np.random.default_rng(5)
    for i, j in zip(*(rng.integers(0, n, 6) for n in found.values.shape), strict=True):
        angle = np.radians(found.yaw_deg[j])
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        coefficients = found.field.functionals(run.coil, (found.poses[i] @ turn)[None], 1e6)[0]
        value = found.goal.of_functionals(coefficients)
        assert found.values[i, j] == pytest.approx(value, abs=5e-4 * found.values.max())


def test_pose_gradients_against_central_differences(on_head):
    run, found = on_head
    for pose in random_poses(found, 4, seed=6):
        coefficients, slopes = (a[0] for a in found.field.gradients(run.coil, pose[None], 1e6))
        gradient = found.goal.slope(coefficients) @ slopes
        numeric = np.empty(6)
        for k in range(6):
            ends = []
            for sign in (1, -1):
                moved = pose.copy()
                if k < 3:
                    moved[k, 3] += sign * 1e-2  # mm
                else:
                    moved[:3, :3] = rotation(k - 3, sign * 1e-4) @ pose[:3, :3]
                ends.append(found.goal.of_functionals(found.field.functionals(run.coil, moved[None], 1e6)[0]))
            numeric[k] = (ends[0] - ends[1]) / (2e-5 if k < 3 else 2e-4)
        for part in (slice(3), slice(3, 6)):
            scale = np.abs(gradient[part]).max()
            np.testing.assert_allclose(gradient[part], numeric[part], atol=1e-6 * scale)


def rotation(axis, angle):
    a, b = [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[a, a] = turn[b, b] = np.cos(angle)
    sign = -1 if axis == 1 else 1
    turn[a, b], turn[b, a] = -sign * np.sin(angle), sign * np.sin(angle)
    return turn


def test_joint_field_is_its_parts_in_turn(on_head):
    run, found = on_head
    joint, poses = found.field, random_poses(found, 3, seed=8)
    assert isinstance(joint, JointField) and joint.n_functionals == len(found.goal.modes.fields)
    values, slopes = joint.gradients(run.coil, poses, 1e6)
    np.testing.assert_allclose(values, joint.functionals(run.coil, poses, 1e6), rtol=1e-10, atol=1e-12)
    assert slopes.shape == (3, joint.n_functionals, 6)
    points = 1e-3 * poses[:, :3, 3]
    field = joint.field(points)
    np.testing.assert_array_equal(field[:, :3], joint.parts[0].field(points))
    beside = [part.field(points) for part in joint.parts[1:]]
    np.testing.assert_array_equal(field[:, 3:], np.concatenate(beside, axis=1))


def test_snapshots_are_feasible_and_spread():
    grid = SimpleNamespace(points_mm=RNG.uniform(-20, 20, (30, 3)), center_mm=np.zeros(3))
    poses = np.broadcast_to(np.eye(4), (30, 4, 4)).copy()
    poses[:, :3, 3] = grid.points_mm
    feasible = np.zeros((30, 36), bool)
    feasible[4:, 10:14] = True
    found = SimpleNamespace(grid=grid, poses=poses, feasible=feasible, yaw_deg=10.0 * np.arange(36))
    chosen = spread_poses(found, 52)
    where = np.argmin(np.linalg.norm(chosen[:, None, :3, 3] - grid.points_mm, axis=2), axis=1)
    assert set(where[:26]) == set(range(4, 30))  # every usable position before any twice
    yaw = np.degrees(np.arctan2(chosen[:, 1, 0], chosen[:, 0, 0]))
    assert np.all((yaw > 99) & (yaw < 131))
    assert len({(i, round(y)) for i, y in zip(where, yaw, strict=True)}) == 52


# --- whole searches


TARGET = Target.sphere(TARGET_MM, 8.0)


def value_on(head, elements, e_field, objective):
    volumes = head.mesh.volumes_mm3[elements]
    if objective == "normal":
        return volumes @ np.einsum("nc,nc->n", e_field, cortical_normals(head, elements)) / volumes.sum()
    if callable(objective):
        return objective(e_field, volumes)[0]
    return weighted_percentile(np.linalg.norm(e_field, axis=1), volumes, 90.0)


@pytest.mark.parametrize(
    ("objective", "polished", "prepared", "coil", "target"),
    [
        ("percentile:90", "without derivatives", sphere, few_dipoles, TARGET),
        (root_mean_square, "with exact gradients", sphere, few_dipoles, TARGET),
        ("normal", "with exact gradients", mni_small, figure8, Target.named("dlpfc-left")),
    ],
)
def test_optimum_beats_forward_solutions_of_the_grid(objective, polished, prepared, coil, target):
    prepared, coil = prepared(), coil()
    result = optimize_coil(prepared, coil, target, objective=objective, search=QUICK)
    head, elements = prepared.head, target.resolve(prepared.head).elements
    table, search = result.candidates, result.search
    assert search["polished"] == polished
    if callable(objective):
        body = result.to_dict()["objective"]
        assert (body["name"], body["unit"]) == ("callable root_mean_square", "as returned")
    if objective != "normal":
        assert search["operator_unseen"] == 8 + 10  # and the placements that were ranked
    assert (search["operator_error"] is None) == (objective == "normal")
    values = np.where(table.feasible, table.values, -np.inf)
    order = np.argsort(values.ravel())[::-1]
    picks = np.unravel_index(order[:: max(1, len(order) // 24)][:24], values.shape)
    poses = [pose_at(table, i, j) for i, j in zip(*picks, strict=True)]
    fields = simulate(prepared, coil, poses)
    forward = np.array([value_on(head, elements, f.E[elements], objective) for f in fields])
    assert result.objective.value >= forward.max() * (1 - 1e-9)
    error = search["operator_error"] or 1e-3
    np.testing.assert_allclose(values[picks], forward, atol=error * np.abs(forward).max())
    own = value_on(head, elements, result.field.E[elements], objective)
    assert result.objective.value == pytest.approx(own, rel=1e-9)


def pose_at(table, i, j):
    return pose_from_yaw(table.scalp_mm[i] + 4.0 * table.normals[i], -table.normals[i], table.yaw_deg[j])


def test_a_target_of_one_element():
    element = TARGET.resolve(sphere().head).elements[:1]
    result = optimize_coil(sphere(), few_dipoles(), Target.elements(element), search=QUICK)
    assert result.search["operator_modes"] == 3
    assert result.objective.value == pytest.approx(result.field.magnitude[element[0]], rel=1e-9)
    assert result.search["operator_error"] < 1e-3


# --- unusable objectives


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("mean_magnitud", "Did you mean 'mean_magnitude'"),
        ("magnitude_of_means", "Did you mean 'magnitude_of_mean'"),
        ("percentile", "Did you mean 'percentile:Q'"),
        (99, "unknown objective 99"),
        ("percentile:0", "'0' is not a percentage"),
        ("percentile:101", "'101' is not a percentage"),
        ("percentile:x", "'x' is not a percentage"),
        ("percentile:nan", "'nan' is not a percentage"),
    ],
)
def test_unusable_names(objective, words):
    with pytest.raises(SearchError, match=words):
        make_objective(objective)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "must return a number, or a number and dvalue/dE, not NoneType"),
        (np.zeros(3), r"not an array of shape \(3,\)"),
        ("high", "must return a number"),
        (np.nan, "returned nan for fields up to"),
        ((1.0, np.zeros((2, 3))), r"dvalue/dE of measure must be finite, of shape \(40, 3\)"),
        ((1.0, np.full((40, 3), np.inf)), "dvalue/dE of measure must be finite"),
    ],
)
def test_functions_that_return_something_else(returned, words):
    measure = UserMeasure(lambda e_field, volumes: returned, "measure")
    with pytest.raises(SearchError, match=words):
        measure.is_smooth(SNAPSHOTS[0], VOLUMES)


def test_errors_of_the_users_function_are_the_users():
    def broken(e_field, volumes):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        optimize_coil(sphere(), few_dipoles(), TARGET, objective=broken, search=QUICK)


# --- the cortical normal


def test_normals_of_a_sphere_are_radial():
    """Grey matter lies under 66 mm, CSF over it; the surface is a coarse polyhedron."""
    head = sphere().head
    elements = TARGET.resolve(head).elements
    normals = cortical_normals(head, elements)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-12)
    outward = head.mesh.barycentres_mm[elements]
    outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.einsum("nc,nc->n", normals, outward)))
    assert np.median(angle) < 6 and angle.max() < 20


def test_normals_on_a_head_point_from_grey_matter_to_csf():
    head = mni_small().head
    elements = Target.named("dlpfc-left").resolve(head).elements
    normals = cortical_normals(head, elements)
    faces_out = 0
    for t, normal in zip(elements, normals, strict=True):
        for f, other in enumerate(head.mesh.face_neighbours[t]):
            if other >= 0 and head.tags[other] == 3:
                corners = head.nodes_mm[np.delete(head.tets[t], f)]
                across = np.cross(corners[1] - corners[0], corners[2] - corners[0])
                across *= np.sign(across @ (corners[0] - head.nodes_mm[head.tets[t, f]]))
                faces_out += np.sign(across @ normal)
    assert faces_out > 10


def test_no_cortex_no_normals():
    head = mni_small().head
    bone = Target.sphere(head.scalp.vertices_mm[np.argmin(head.scalp.vertices_mm[:, 2])], 30.0, "scalp")
    with pytest.raises(TargetError, match="needs the boundary of grey matter"):
        cortical_normals(head, bone.resolve(head).elements)
