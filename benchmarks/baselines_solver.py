"""Other linear solvers on the same matrix, right-hand sides and tolerance."""

from functools import partial

import engine
import numpy as np
import scipy.sparse
from measure import timed
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

RTOL = 1e-6


def systems(source, coil):
    """K as a scipy matrix and 16 right-hand sides."""
    prepared = engine.set_up(engine.load_head(source))
    placements = engine.spread(engine.positions(prepared.head, engine.NORMAL), engine.BLOCK)
    return prepared, engine.loads(prepared, coil, placements)[0]


def own_solver(source, coil):
    """efield's solver, for comparison."""
    prepared, b = systems(source, coil)
    _, setup = timed("efield: set-up", partial(engine.hierarchy, engine.prepared_stiffness(prepared)))
    return [
        setup,
        *_solves(
            "efield", engine.prepared_stiffness(prepared), b, lambda b: engine.solved(prepared, b, RTOL)
        ),
    ]


def pyamg_solver(source, coil):
    """Smoothed aggregation as pyamg makes it, and conjugate gradients."""
    import pyamg

    prepared, b = systems(source, coil)
    matrix = engine.prepared_stiffness(prepared)
    make = partial(pyamg.smoothed_aggregation_solver, matrix, strength=("symmetric", {"theta": 0.06}))
    levels, setup = timed("pyamg SA + CG: set-up", make, runs=1)

    def solve(block):
        return np.stack(
            [levels.solve(column, tol=RTOL, accel="cg", maxiter=200) for column in block.T], axis=1
        )

    return [setup, *_solves("pyamg SA + CG", matrix, b, solve, widths=(1,))]


def direct_solver(name, factorize, source, coil):
    """A direct solver; `factorize(matrix)` gives a function that solves a block.

    K has the constants of each connected part as its null space: one node of each is grounded.
    """
    prepared, b = systems(source, coil)
    matrix = engine.prepared_stiffness(prepared)
    del prepared
    part = connected_components(matrix, directed=False)[1]
    free = np.setdiff1d(np.arange(matrix.shape[0]), np.unique(part, return_index=True)[1])
    reduced = matrix[free][:, free]
    back, setup = timed(f"{name}: set-up", partial(factorize, reduced), runs=1)

    def solve(block):
        x = np.zeros_like(block)
        x[free] = back(np.ascontiguousarray(block[free]))
        return x

    return [setup, *_solves(name, matrix, b, solve)]


def splu_factor(matrix):
    """SuperLU, as scipy has it, in its symmetric mode."""
    return splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0.0
    ).solve


def cholmod_factor(matrix):
    """CHOLMOD by scikit-sparse."""
    from sksparse.cholmod import cholesky

    return cholesky(matrix.tocsc())


def pardiso_factor(matrix):
    """MKL Pardiso by pypardiso."""
    from pypardiso import PyPardisoSolver

    upper = scipy.sparse.triu(matrix, format="csr")
    solver = PyPardisoSolver(mtype=2)  # real, symmetric positive definite
    solver.factorize(upper)
    return partial(solver.solve, upper)


def _solves(name, matrix, b, solve, widths=(1, engine.BLOCK)):
    for width in widths:
        words = "alone" if width == 1 else f"in {width}"
        block = np.ascontiguousarray(b[:, :width])
        x, row = timed(f"{name}: solve {words}", partial(solve, block), items=width)
        left = block - matrix @ x
        row.errors["residual"] = float((np.linalg.norm(left, axis=0) / np.linalg.norm(block, axis=0)).max())
        yield row
