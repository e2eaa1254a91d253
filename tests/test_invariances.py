"""What must not change the field, and what must change it in a known way."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_rotation

from efield.adjoint.current import adjoint_currents
from efield.analytic.shapes import random_layered_sphere
from efield.fem.source import dadt, dipoles_in_head
from efield.forward import simulate
from efield.frames import pose_from_yaw
from efield.model.coil import Coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.solve.prepared import prepare

RTOL = 1e-9
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=8)


def make_head():
    """A layered sphere, off centre, with a tensor in every tetrahedron."""
    rng = np.random.default_rng(3)
    mesh = random_layered_sphere((60.0, 75.0, 90.0), (1, 4, 5), 13.0)
    turn = random_rotation(rng)
    table = {1: np.diag([0.1, 0.2, 0.6]), 4: 0.02 * np.eye(3), 5: np.diag([0.4, 0.3, 0.5])}
    sigma = np.array([turn @ table[tag] @ turn.T for tag in mesh.tags])
    moved = TetMesh(mesh.nodes_mm + np.array([10.0, -20.0, 30.0]), mesh.tets, mesh.tags)
    return HeadModel(moved, 0.5 * (sigma + sigma.swapaxes(1, 2)))


HEAD = make_head()
PREPARED = prepare(HEAD)


def random_case(seed):
    """A coil of a few dipoles and a pose above the head."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    coil = Coil(rng.uniform([-30, -30, -20], [30, 30, -4], (n, 3)), 1e-4 * rng.standard_normal((n, 3)))
    return coil, random_pose(rng), rng


def random_pose(rng):
    outward = rng.standard_normal(3)
    outward /= np.linalg.norm(outward)
    return Placement(pose_from_yaw(100 * outward + [10, -20, 30], -outward, rng.uniform(-180, 180)))


def solved(head, coil, placement, didt=1e6):
    return simulate(head, coil, placement, didt=didt, rtol=RTOL).E


def assert_close(got, expected, rtol=1e-6):
    """Equal to the error that float32 sums of dA/dt are documented to have (fem.source.dadt)."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.abs(expected).max())


@few
@given(SEEDS)
def test_rigid_motion_of_head_and_coil_turns_the_field(seed):
    coil, placement, rng = random_case(seed)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = random_rotation(rng), rng.uniform(-100, 100, 3)
    turn = motion[:3, :3]
    mesh = TetMesh(HEAD.nodes_mm @ turn.T + motion[:3, 3], HEAD.tets, HEAD.tags)
    sigma = turn @ HEAD.conductivity @ turn.T
    moved = HeadModel(mesh, 0.5 * (sigma + sigma.swapaxes(1, 2)))
    expected = solved(PREPARED, coil, placement) @ turn.T
    assert_close(solved(moved, coil, Placement(motion @ placement.matsimnibs)), expected)


@few
@given(SEEDS)
def test_renumbering_the_mesh_changes_nothing(seed):
    coil, placement, rng = random_case(seed)
    node_order = rng.permutation(len(HEAD.nodes_mm))
    tet_order = rng.permutation(len(HEAD.tets))
    tets = np.argsort(node_order)[HEAD.tets][tet_order]
    tets = rng.permuted(tets, axis=1)  # and the corners within each tetrahedron
    mesh = TetMesh(HEAD.nodes_mm[node_order], tets, HEAD.tags[tet_order])
    renumbered = HeadModel(mesh, HEAD.conductivity[tet_order])
    expected = solved(PREPARED, coil, placement)[tet_order]
    assert_close(solved(renumbered, coil, placement), expected)


@few
@given(SEEDS, st.floats(-1e8, 1e8).filter(lambda x: abs(x) > 1e-3))
def test_field_is_linear_in_didt(seed, didt):
    coil, placement, _ = random_case(seed)
    expected = solved(PREPARED, coil, placement) * (didt / 1e6)
    assert_close(solved(PREPARED, coil, placement, didt), expected)


@few
@given(SEEDS)
def test_coils_superpose(seed):
    one, placement, rng = random_case(seed)
    other, _, _ = random_case(seed + 1)
    scale = rng.uniform(-3, 3)
    both = Coil(
        np.concatenate([one.positions_mm, other.positions_mm]),
        np.concatenate([one.moments, scale * other.moments]),
    )
    expected = solved(PREPARED, one, placement) + scale * solved(PREPARED, other, placement)
    assert_close(solved(PREPARED, both, placement), expected)


@few
@given(SEEDS)
def test_moving_the_dipoles_is_moving_the_coil(seed):
    coil, placement, _ = random_case(seed)
    positions, moments = dipoles_in_head(coil, placement)
    in_head_frame = Coil(1e3 * positions, moments)
    expected = solved(PREPARED, coil, placement)
    assert_close(solved(PREPARED, in_head_frame, Placement(np.eye(4))), expected)


@few
@given(SEEDS, st.floats(1e-3, 1e3))
def test_scaling_every_conductivity_changes_nothing(seed, factor):
    coil, placement, _ = random_case(seed)
    scaled = HeadModel(HEAD.mesh, factor * HEAD.conductivity)
    assert_close(solved(scaled, coil, placement), solved(PREPARED, coil, placement))


def test_scalars_and_isotropic_tensors_agree():
    coil, placement, _ = random_case(1)
    scalars = HeadModel.from_mesh(HEAD.mesh)
    tensors = HeadModel(HEAD.mesh, scalars.conductivity[:, None, None] * np.eye(3))
    assert_close(solved(tensors, coil, placement), solved(scalars, coil, placement))


def test_a_batch_equals_single_placements():
    rng = np.random.default_rng(8)
    coil, _, _ = random_case(2)
    placements = [random_pose(rng) for _ in range(19)]  # more than one block
    batch = simulate(PREPARED, coil, placements, rtol=RTOL)
    assert isinstance(batch, tuple) and len(batch) == 19
    for field, placement in zip(batch, placements, strict=True):
        assert field.placement is placement
        assert_close(field.E, solved(PREPARED, coil, placement))


def test_prepared_head_is_accepted_and_pickles():
    coil, placement, _ = random_case(3)
    direct = solved(HEAD, coil, placement)
    np.testing.assert_array_equal(direct, solved(PREPARED, coil, placement))
    again = pickle.loads(pickle.dumps(PREPARED))
    np.testing.assert_array_equal(direct, solved(again, coil, placement))


def test_magnitude_and_far_field():
    """Far away a coil is its total dipole: the field of the two approaches at first order."""
    rng = np.random.default_rng(4)
    positions, moments = rng.uniform(-0.02, 0.02, (30, 3)), rng.standard_normal((30, 3))
    points = rng.standard_normal((50, 3)) * 0.01
    misses = []
    for distance in (1.0, 2.0, 4.0):
        shift = np.array([distance, 0.0, 0.0])
        near = dadt(points, (positions + shift)[None], moments[None])
        total = dadt(points, shift[None, None], moments.sum(axis=0)[None, None])
        misses.append(np.abs(near - total).max() / np.abs(total).max())
    assert misses[0] > 1.8 * misses[1] > 1.8**2 * misses[2]
    field = simulate(PREPARED, *random_case(5)[:2])
    np.testing.assert_allclose(field.magnitude, np.sqrt(np.sum(field.E**2, axis=1)), rtol=1e-14)


@pytest.mark.parametrize("threads", ["2", "5"])
def test_any_number_of_threads_gives_the_same_bits(threads, monkeypatch):
    """The mesh is large enough that every kernel splits its work."""
    mesh = random_layered_sphere((60.0, 75.0, 90.0), (1, 4, 5), 8.0)
    head = HeadModel.from_mesh(mesh)
    coil, _, rng = random_case(6)
    target = np.flatnonzero(np.linalg.norm(mesh.barycentres_mm - [0, 0, 40], axis=1) < 12)
    weights = rng.standard_normal((3, len(target), 3))
    points = rng.uniform(0.1, 0.2, (100, 3))
    above = np.diag([1.0, -1.0, -1.0, 1.0])
    above[2, 3] = 100.0

    def everything():
        prepared = prepare(head)
        field = simulate(prepared, coil, Placement(above))
        currents = adjoint_currents(prepared, target, weights)
        return field.E, currents.currents, currents.field(points), prepared.operators.stiffness

    monkeypatch.setenv("EFIELD_NUM_THREADS", "1")
    alone = everything()
    monkeypatch.setenv("EFIELD_NUM_THREADS", threads)
    for one, many in zip(alone, everything(), strict=True):
        np.testing.assert_array_equal(one, many)
