"""The multigrid solver against a direct one, and where it could stall."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import spsolve

from efield.analytic.shapes import box, layered_sphere, random_layered_sphere
from efield.errors import ConvergenceError
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.solve.prepared import prepare


def matrix_of(prepared):
    operators, n = prepared.operators, len(prepared.nodes)
    return scipy.sparse.csr_matrix((operators.stiffness, operators.indices, operators.indptr), shape=(n, n))


def loads(prepared, width, rng):
    """Right-hand sides of random smooth dA/dt."""
    x = prepared.nodes / 0.1
    a = rng.standard_normal((width, 3, 3))
    field = np.einsum("kcj,nj->nck", a, x) + 0.5 * np.einsum("kcj,nj->nck", a, x[:, [1, 2, 0]] ** 2)
    return prepared.source_load(np.ascontiguousarray(field))


def direct(matrix, b):
    """Solution with the first unknown fixed at zero."""
    x = np.zeros_like(b)
    x[1:] = spsolve(matrix[1:, 1:].tocsc(), b[1:]).reshape(-1, b.shape[1])
    return x


def assert_solved(prepared, b, solution, rtol):
    residual = np.linalg.norm(b - matrix_of(prepared) @ solution.x, axis=0) / np.linalg.norm(b, axis=0)
    assert residual.max() <= rtol
    np.testing.assert_allclose(solution.residual, residual, rtol=0.05, atol=1e-14)


@pytest.mark.parametrize("width", [1, 3, 16, 21])
def test_solution_equals_a_direct_solver(width):
    rng = np.random.default_rng(width)
    prepared = prepare(HeadModel.from_mesh(random_layered_sphere((60.0, 75.0, 90.0), (1, 4, 5), 12.0)))
    b = loads(prepared, width, rng)
    solution = prepared.solve(b, rtol=1e-10)
    assert_solved(prepared, b, solution, 1e-10)
    expected = direct(matrix_of(prepared), b)
    expected -= expected.mean(axis=0)
    got = solution.x - solution.x.mean(axis=0)
    np.testing.assert_allclose(got, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("build", "contrast"),
    [(layered_sphere, 1.0), (layered_sphere, 20.0), (layered_sphere, 1000.0), (random_layered_sphere, 100.0)],
)
def test_a_resistive_shell_does_not_stall_the_solver(build, contrast):
    """Weak couplings leave unknowns without an aggregate; constants must stay in every level's span."""
    sigma = {1: 0.33, 4: 0.33 / contrast, 5: 0.33}
    mesh = build((65.0, 75.0, 90.0), (1, 4, 5), 5.0)
    prepared = prepare(HeadModel.from_mesh(mesh, conductivity=sigma))
    b = loads(prepared, 4, np.random.default_rng(0))
    assert_solved(prepared, b, prepared.solve(b, rtol=1e-10), 1e-10)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_meshes_of_a_few_nodes(n):
    """Too few for a second level."""
    prepared = prepare(HeadModel.from_mesh(box(n, 20.0)))
    b = loads(prepared, 2, np.random.default_rng(n))
    assert_solved(prepared, b, prepared.solve(b, rtol=1e-10), 1e-10)


def test_parts_that_do_not_touch():
    one = random_layered_sphere((30.0, 40.0), (1, 5), 6.0)
    other = box(3, 10.0)
    mesh = TetMesh(
        np.concatenate([one.nodes_mm, other.nodes_mm + 50.0]),
        np.concatenate([one.tets, other.tets + len(one.nodes_mm)]),
        np.concatenate([one.tags, other.tags]),
    )
    prepared = prepare(HeadModel.from_mesh(mesh))
    b = loads(prepared, 3, np.random.default_rng(1))
    assert_solved(prepared, b, prepared.solve(b, rtol=1e-9), 1e-9)


def test_nothing_in_gives_nothing_out():
    prepared = prepare(HeadModel.from_mesh(box(4, 20.0)))
    b = loads(prepared, 3, np.random.default_rng(1))
    b[:, 1] = 0
    solution = prepared.solve(b, rtol=1e-9)
    assert np.all(solution.x[:, 1] == 0) and solution.residual[1] == 0
    assert solution.residual.max() <= 1e-9


def test_a_load_without_solution_is_refused():
    """The entries of a right-hand side must sum to zero; this one's do not."""
    prepared = prepare(HeadModel.from_mesh(random_layered_sphere((60.0, 90.0), (1, 5), 15.0)))
    b = np.zeros((len(prepared.nodes), 1))
    b[7] = 1.0
    with pytest.raises(ConvergenceError, match="stopped at a relative residual"):
        prepared.solve(b, rtol=1e-8)
