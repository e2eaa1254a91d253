"""Other programs on the same head; see baselines_solver.py and baselines_field.py.

Each runs in a process of its own with a limit on time and memory (see stages.py); one that is not
installed, or does not finish, stays in the table and says so.
"""

import importlib
from functools import partial

import baselines_field as fields
import baselines_solver as solvers
from measure import Row

GROUPS = {
    f"linear solver, rtol {solvers.RTOL:g}": {
        "efield": (solvers.own_solver, None),
        "pyamg SA + CG": (solvers.pyamg_solver, "pyamg"),
        "scipy splu": (partial(solvers.direct_solver, "scipy splu", solvers.splu_factor), "scipy"),
        "CHOLMOD": (partial(solvers.direct_solver, "CHOLMOD", solvers.cholmod_factor), "sksparse"),
        "Pardiso": (partial(solvers.direct_solver, "Pardiso", solvers.pardiso_factor), "pypardiso"),
    },
    "exterior field at the fit's points": {
        "direct sums": (fields.field_sums, None),
        "fmm3dpy": (fields.fmm_sums, "fmm3dpy"),
    },
    "2.1 M placements": {
        "brute force": (fields.placements_direct, None),
        "fmm3dpy placements": (fields.placements_fmm, "fmm3dpy"),
        "fast paths": (fields.placements_fast, None),
    },
}
"""Baselines by what they do: name to (function, module it needs)."""


def run(name, source, coil):
    """Rows of one baseline, or a single one that says why there are none."""
    function, module = next(group[name] for group in GROUPS.values() if name in group)
    try:
        if module is not None:
            importlib.import_module(module)
    except ImportError as error:
        return [failed(name, f"not installed ({error})")]
    try:
        return list(function(source, coil))
    except MemoryError as error:
        return [failed(name, f"ran out of memory ({error})")]


def failed(name, why):
    """The row of a baseline without result."""
    return Row(name, None, None, 0, note=why)
