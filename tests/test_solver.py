"""The solver on a real head, its parts, and what it refuses; small meshes are in test_solve."""

from dataclasses import replace

import numpy as np
import pyamg
import pytest
import scipy.sparse
from scipy.sparse.linalg import eigsh
from small_heads import TARGET_MM, few_dipoles, mni_small, sphere

from efield.analytic.shapes import box, random_layered_sphere
from efield.errors import ConvergenceError, EfieldError, MeshError, PlacementError
from efield.forward import known_fields, simulate, solve_potentials
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.solve import block_cg, multigrid
from efield.solve.matrix import SparseMatrix
from efield.solve.multigrid import Multigrid, spectral_radius
from efield.solve.prepared import prepare


def matrix_of(prepared):
    operators, n = prepared.operators, len(prepared.nodes)
    return scipy.sparse.csr_matrix((operators.stiffness, operators.indices, operators.indptr), shape=(n, n))


def smooth_loads(prepared, width, seed):
    """Right-hand sides of random smooth dA/dt."""
    rng = np.random.default_rng(seed)
    x = prepared.nodes / 0.1
    a = rng.standard_normal((width, 3, 3))
    field = np.einsum("kcj,nj->nck", a, x) + 0.5 * np.einsum("kcj,nj->nck", a, x[:, [1, 2, 0]] ** 2)
    return prepared.source_load(np.ascontiguousarray(field))


def relative_residual(matrix, x, b):
    return np.linalg.norm(b - matrix @ x, axis=0) / np.linalg.norm(b, axis=0)


def pyamg_solution(matrix, b):
    """The first unknown fixed at zero, the rest by another multigrid."""
    solver = pyamg.smoothed_aggregation_solver(matrix[1:, 1:].tocsr())
    x = np.zeros_like(b)
    x[1:] = solver.solve(b[1:], tol=1e-11, accel="cg", maxiter=200)
    return x


def tensors(head, seed):
    """Random tensors with an anisotropy of up to ten, one in each tetrahedron."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((len(head.tets), 3, 3)))[0]
    values = head.conductivity[:, None] * rng.uniform(0.3, 3.0, (len(head.tets), 3))
    sigma = np.einsum("tij,tj,tkj->tik", axes, values, axes)
    return HeadModel(head.mesh, 0.5 * (sigma + sigma.swapaxes(1, 2)))


# --- solutions


def assert_solved(matrix, b, solution, rtol):
    residual = relative_residual(matrix, solution.x, b)
    assert residual.max() <= rtol
    np.testing.assert_allclose(solution.residual, residual, rtol=0.01)


def test_the_stated_residual_is_the_true_one():
    b = smooth_loads(mni_small(), 3, seed=2)
    for rtol in (1e-3, 1e-9):
        assert_solved(matrix_of(mni_small()), b, mni_small().solve(b, rtol=rtol), rtol)


def test_solution_on_a_head_with_tensors_equals_another_solver():
    prepared = prepare(tensors(mni_small().head, seed=1))
    matrix = matrix_of(prepared)
    b = smooth_loads(prepared, 1, seed=2)
    solution = prepared.solve(b, rtol=1e-9)
    assert_solved(matrix, b, solution, 1e-9)
    got, expected = solution.x[:, 0], pyamg_solution(matrix, b[:, 0])
    got, expected = got - got.mean(), expected - expected.mean()
    np.testing.assert_allclose(got, expected, atol=1e-6 * np.abs(expected).max())


def test_solution_does_not_depend_on_the_width_of_the_block():
    prepared = sphere()
    b = smooth_loads(prepared, 16, seed=3)
    together = prepared.solve(b, rtol=1e-9).x
    for k in (0, 7, 15):
        alone = prepared.solve(b[:, k : k + 1], rtol=1e-9).x[:, 0]
        ahead = together[:, k] - together[:, k].mean()
        np.testing.assert_allclose(ahead, alone - alone.mean(), atol=1e-7 * np.abs(ahead).max())


def test_a_start_near_the_solution_saves_iterations():
    prepared = sphere()
    b = smooth_loads(prepared, 3, seed=5)
    exact = prepared.solve(b, rtol=1e-9)
    assert prepared.solve(b, rtol=1e-6, start=exact.x).iterations == 0
    before = exact.x.copy()
    near = prepared.solve(b, rtol=1e-9, start=exact.x * [1.002, 0.999, 1.001])
    np.testing.assert_array_equal(exact.x, before)
    assert_solved(matrix_of(prepared), b, near, 1e-9)
    assert near.iterations < exact.iterations


def test_a_half_turn_of_a_figure_8_is_known_from_the_one_before():
    prepared, coil = sphere(), few_dipoles()
    pose = Placement.on_scalp(prepared.head, TARGET_MM, yaw_deg=20.0, distance_mm=6.0).matsimnibs
    turned = pose @ np.diag([-1.0, -1.0, 1.0, 1.0])
    moved, further = pose.copy(), pose.copy()
    moved[:3, 3] += 5.0 * pose[:3, 0]
    further[:3, 3] -= 8.0 * pose[:3, 1]
    known = solve_potentials(prepared, coil, [Placement(pose), Placement(moved)], 1e6)
    alone = solve_potentials(prepared, coil, [Placement(turned)], 1e6)
    other = solve_potentials(prepared, coil, [Placement(further)], 1e6)
    wanted = [Placement(turned), Placement(moved)]
    got = known_fields([other, known], coil, wanted)
    some = np.arange(0, len(prepared.head.tets), 7)
    for k, (batch, column) in enumerate(((alone, 0), (known, 1))):
        field, true = got.field(k, wanted[k]), batch.field(column, wanted[k])
        size = np.ptp(true.node_potential)
        np.testing.assert_allclose(field.node_potential, true.node_potential, atol=3e-6 * size)
        for name, rtol in (("node_dadt", 1e-6), ("E", 1e-5)):
            a, b = getattr(field, name), getattr(true, name)
            np.testing.assert_allclose(a, b, atol=rtol * np.abs(b).max())
        largest = np.abs(field.E).max()
        np.testing.assert_allclose(got.on_elements(k, some), field.E[some], atol=1e-6 * largest)
        assert field.residual == known.residual[k]
    assert known_fields([], coil, [Placement(turned)]) is None
    assert known_fields([other], coil, [Placement(turned)]) is None
    assert known_fields([known], coil, [Placement(turned), Placement(further)]) is None


def test_a_half_turn_of_unequal_wings_is_solved():
    coil = few_dipoles()
    lopsided = replace(coil, moments=coil.moments * np.where(coil.positions[:, :1] > 0, 1.0, 0.99))
    pose = Placement.on_scalp(sphere().head, TARGET_MM, yaw_deg=20.0, distance_mm=6.0).matsimnibs
    known = solve_potentials(sphere(), lopsided, [Placement(pose)], 1e6)
    turned = Placement(pose @ np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert known_fields([known], lopsided, [turned]) is None


@pytest.mark.parametrize("order", [1, 2])
def test_more_columns_than_a_block(order):
    prepared = prepare(sphere().head, element_order=order)
    b = smooth_loads(prepared, prepared.block + 3, seed=6)
    together = prepared.solve(b, rtol=1e-9)
    assert together.residual.max() <= 1e-9
    alone = prepared.solve(b[:, -1:], rtol=1e-9).x[:, 0]
    got = together.x[:, -1]
    np.testing.assert_allclose(got - got.mean(), alone - alone.mean(), atol=1e-7 * np.ptp(alone))
    assert prepared.solve(b, rtol=1e-6, start=together.x).iterations == 0


def test_nodes_that_no_tetrahedron_uses():
    mesh = box(6, 90.0, jitter=0.1)
    n = len(mesh.nodes_mm)
    order = np.random.default_rng(4).permutation(n + 30)
    nodes = np.full((n + 30, 3), 1e4)
    nodes[order[:n]] = mesh.nodes_mm
    loose = TetMesh(nodes, order[:n][mesh.tets], mesh.tags)
    pose = np.diag([1.0, -1, -1, 1])
    pose[:3, 3] = 45, 45, 110
    fields = [simulate(HeadModel.from_mesh(m), "figure8-70mm", Placement(pose)).E for m in (mesh, loose)]
    np.testing.assert_array_equal(*fields)


def test_islands_that_become_one_unknown(monkeypatch):
    """A part that one aggregate covers has a zero row on the coarser levels."""
    monkeypatch.setattr(multigrid, "COARSEST", 20)
    body, island = box(16, 80.0, jitter=0.1), box(1, 3.0)
    count = 40
    parts = [island.nodes_mm + np.array([100, 5.0 * k, 0]) for k in range(count)]
    mesh = TetMesh(
        np.concatenate([body.nodes_mm, *parts]),
        np.concatenate([body.tets, *(island.tets + len(body.nodes_mm) + 8 * k for k in range(count))]),
        np.ones(len(body.tets) + count * len(island.tets), int),
    )
    prepared = prepare(HeadModel.from_mesh(mesh))
    assert len(prepared.multigrid.levels) >= 2
    b = smooth_loads(prepared, 3, seed=5)
    solution = prepared.solve(b, rtol=1e-9)
    assert relative_residual(matrix_of(prepared), solution.x, b).max() <= 1e-9
    alone = prepare(HeadModel.from_mesh(body))
    assert solution.iterations <= alone.solve(smooth_loads(alone, 3, seed=5), rtol=1e-9).iterations + 5


# --- parts


def hardly_connected(sigma):
    """A ball in a larger one, with a shell of conductivity `sigma` around it."""
    mesh = random_layered_sphere((90.0,), (1,), 12.0)
    inside = (np.linalg.norm(mesh.nodes_mm - [30.0, 0, 0], axis=1) < 20.0)[mesh.tets].sum(axis=1)
    assert np.any(inside == 4)
    return HeadModel(mesh, np.where((inside > 0) & (inside < 4), sigma, 0.33))


def test_cycle_does_not_amplify_a_constant_load(monkeypatch):
    """Rounding leaves one; where it flooded what is hardly connected, solves of a real head went astray."""
    monkeypatch.setattr(multigrid, "COARSEST", 1000)
    prepared = prepare(hardly_connected(3e-7))
    grid = prepared.multigrid
    assert len(grid.levels) == 1
    mapped = grid.cycle(np.ones((len(prepared.nodes), 1), np.float32), grid.workspace(1))
    assert np.abs(mapped).max() <= 4 * grid.levels[0].jacobi.max()


def test_inverse_of_a_coarsest_matrix_of_two_parts():
    rng = np.random.default_rng(9)
    coupling = np.triu(rng.uniform(0.1, 1.0, (9, 9)), 1)
    coupling[:5, 5:] = 0.0
    coupling[:4, 4] *= 1e-6  # hardly connected
    matrix = np.diag((coupling + coupling.T).sum(axis=1)) - coupling - coupling.T
    share = rng.uniform(1.0, 100.0, 9)
    inverse = multigrid.coarse_inverse(matrix, share)
    np.testing.assert_allclose(inverse, inverse.T, rtol=1e-12, atol=1e-9 * np.abs(inverse).max())
    first = np.arange(9) < 5
    for part in (first, ~first):
        assert np.abs(inverse @ np.where(part, share, 0.0)).max() <= 1e-9 * np.abs(inverse).max()
    x = rng.standard_normal(9)
    x -= np.where(
        first, np.average(x[first], weights=share[first]), np.average(x[~first], weights=share[~first])
    )
    np.testing.assert_allclose(inverse @ (matrix @ x), x, atol=1e-6)


@pytest.fixture(scope="module")
def hierarchy():
    """(matrix, inverse diagonal, level) of the sphere's first levels."""
    matrix = matrix_of(sphere())
    levels = sphere().multigrid.levels
    matrices = [matrix]
    for level in levels[:-1]:
        prolong = csr(level.prolong)
        matrices.append((prolong.T @ matrices[-1] @ prolong).tocsr())
    return list(zip(matrices, levels, strict=True))


def csr(matrix):
    n_columns = int(matrix.indices.max()) + 1
    return scipy.sparse.csr_matrix(
        (matrix.data.astype(np.float64), matrix.indices, matrix.indptr), shape=(matrix.n_rows, n_columns)
    )


def test_spectral_radius(hierarchy):
    for matrix, _ in hierarchy:
        scale = scipy.sparse.diags_array(1 / np.sqrt(matrix.diagonal()))
        largest = eigsh(scale @ matrix @ scale, k=1, which="LA", return_eigenvectors=False, tol=1e-8)[0]
        assert largest * 0.99 <= spectral_radius(matrix, 1 / matrix.diagonal()) <= largest * 1.03


def test_coarse_levels_keep_constants_and_symmetry(hierarchy):
    assert hierarchy
    for matrix, level in hierarchy:
        assert abs(matrix - matrix.T).max() <= 1e-6 * abs(matrix).max()
        stored = csr(level.matrix)
        assert abs(stored - matrix).max() <= 1e-6 * abs(matrix).max()
        assert np.abs(matrix @ np.ones(matrix.shape[0])).max() <= 1e-5 * abs(matrix).max()
        assert abs(csr(level.restrict).T - csr(level.prolong)).max() == 0


def test_cycle_is_symmetric_and_positive():
    """M of y = M x must be both, or conjugate gradients have no reason to converge."""
    grid = sphere().multigrid
    rng = np.random.default_rng(6)
    x = rng.standard_normal((len(sphere().nodes), 8)).astype(np.float32)
    x -= x.mean(axis=0)
    mapped = grid.cycle(x, grid.workspace(8)).astype(np.float64)
    products = x.T.astype(np.float64) @ mapped
    np.testing.assert_allclose(products, products.T, atol=1e-5 * np.abs(products).max())
    assert np.linalg.eigvalsh(0.5 * (products + products.T)).min() > 0


def test_cycle_reduces_every_error():
    """||I - M K|| < 1 in the energy norm; the bound is generous, the usual factor is below 0.5."""
    grid, matrix = sphere().multigrid, matrix_of(sphere())
    error = np.random.default_rng(7).standard_normal((matrix.shape[0], 4))
    energy = [np.sum(error * (matrix @ error), axis=0)]
    for _ in range(4):
        step = grid.cycle((matrix @ error).astype(np.float32), grid.workspace(4))
        error = error - step
        energy.append(np.sum(error * (matrix @ error), axis=0))
    factors = np.sqrt(np.array(energy[1:]) / energy[:-1])
    assert factors.max() < 0.8


def test_cycle_columns_are_independent():
    grid = sphere().multigrid
    x = np.random.default_rng(8).standard_normal((len(sphere().nodes), 8)).astype(np.float32)
    together = grid.cycle(x, grid.workspace(8)).copy()
    half = grid.cycle(np.ascontiguousarray(x[:, 2:6]), grid.workspace(4))
    np.testing.assert_allclose(together[:, 2:6], half, atol=1e-6 * np.abs(half).max())


def test_hierarchy_is_the_same_every_time():
    matrix = matrix_of(sphere())
    for one, other in zip(Multigrid.build(matrix).levels, sphere().multigrid.levels, strict=True):
        np.testing.assert_array_equal(one.jacobi, other.jacobi)
        np.testing.assert_array_equal(one.prolong.data, other.prolong.data)


@pytest.mark.parametrize("width", [4, 8, 16])
def test_product_over_a_block(width):
    matrix = scipy.sparse.random_array((50, 40), density=0.2, rng=np.random.default_rng(9), format="csr")
    x = np.random.default_rng(10).standard_normal((40, width))
    out = np.empty((50, width))
    SparseMatrix.from_scipy(matrix, np.float64).times(x, out)
    np.testing.assert_allclose(out, matrix @ x, atol=1e-13)


@pytest.mark.parametrize("n", [1, 4095, 4096, 20000])
def test_dot_products(n):
    x, y = np.random.default_rng(n).standard_normal((2, n, 3))
    np.testing.assert_allclose(block_cg.dots(x, y), np.sum(x * y, axis=0), rtol=1e-11, atol=1e-12)


# --- what is refused


def test_stalling_says_how_it_went(monkeypatch):
    monkeypatch.setattr(block_cg, "MAX_INNER", 1)
    monkeypatch.setattr(block_cg, "MAX_OUTER", 3)
    with pytest.raises(
        ConvergenceError, match=r"stopped at a relative residual of .* wanted 1e-12 \(history: 1\.00"
    ) as caught:
        sphere().solve(smooth_loads(sphere(), 1, seed=11), rtol=1e-12)
    history = str(caught.value).split("history: ")[1].split(")")[0].split(", ")
    assert 3 <= len(history) <= 5
    assert "efield head check" in str(caught.value)


def test_a_tolerance_below_rounding_is_refused():
    with pytest.raises(ConvergenceError, match="wanted 1e-17"):
        sphere().solve(smooth_loads(sphere(), 1, seed=12), rtol=1e-17)


@pytest.mark.parametrize("rtol", [0, -1e-6, 1, 2.0, np.nan, np.inf])
def test_tolerances_that_make_no_sense(rtol):
    with pytest.raises(EfieldError, match="rtol must lie between 0 and 1"):
        sphere().solve(smooth_loads(sphere(), 1, seed=13), rtol=rtol)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_load_that_is_not_finite(value):
    """Zero would be a plausible answer to it."""
    b = smooth_loads(sphere(), 3, seed=14)
    b[100, 1] = value
    with pytest.raises(ConvergenceError, match="right-hand side 1 is not finite"):
        sphere().solve(b, rtol=1e-6)


def test_tetrahedra_without_volume():
    mesh = box(2, 20.0)
    tets = mesh.tets.copy()
    tets[5] = tets[5][[0, 1, 2, 2]]
    with pytest.raises(MeshError, match="1 tetrahedra have no volume, the first is 5"):
        prepare(HeadModel.from_mesh(TetMesh(mesh.nodes_mm, tets, mesh.tags)))


def test_a_coil_inside_the_head_is_refused():
    coil = load_coil("figure8-70mm")
    pose = Placement.on_scalp(sphere(), (-60, 20, 55)).matsimnibs.copy()
    pose[:3, 3] += 30 * pose[:3, 2]
    with pytest.raises(
        PlacementError, match=rf"\d+ of {len(coil.positions_mm)} dipoles of coil 'figure8-70mm' lie inside"
    ):
        simulate(sphere(), coil, Placement(pose))
    pose[:3, 2] *= -1  # facing outwards, its windings in the head
    pose[:3, 0] *= -1
    with pytest.raises(PlacementError, match="check that z points into the head"):
        simulate(sphere(), coil, [Placement(pose)])


def test_no_placements():
    with pytest.raises(PlacementError, match="no placements"):
        simulate(sphere(), "figure8-70mm", [])


@pytest.mark.parametrize("didt", [np.nan, np.inf, "fast", None])
def test_unusable_didt(didt):
    with pytest.raises(EfieldError, match="didt must be a finite number of A/s"):
        simulate(sphere(), "figure8-70mm", Placement.on_scalp(sphere(), (-60, 20, 55)), didt=didt)
