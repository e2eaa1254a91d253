"""Whole runs from the file, as a user starts them; peak memory is that of the process."""

import itertools
from functools import partial

import engine
from measure import RUNS, timed

OBJECTIVES = {"|mean E|": "magnitude_of_mean", "mean |E|": "mean_magnitude"}

SEARCHES = {
    "default search": engine.NORMAL,
    "2.1 M placements": engine.DENSE,
    "2.1 M over 44.5 mm": engine.WIDE,
}


def run_rows(source, coil, *, runs=RUNS):
    """Rows of the whole runs of one head.

    Parameters
    ----------
    source : str or path
    coil : Coil
    runs : int

    Returns
    -------
    list of Row
    """
    rows = []
    for words in ("default search", "2.1 M placements"):
        found, row = timed(
            f"file to grid optimum, {words}",
            partial(engine.grid_optimum, source, coil, SEARCHES[words]),
            runs=runs,
        )
        row.note = f"{found[0]:.4f} V/m of {found[1]:,d} placements"
        row.errors["exterior"] = found[2]
        rows.append(row)
    for (words, search), (goal, objective) in itertools.product(SEARCHES.items(), OBJECTIVES.items()):
        run = partial(engine.optimum, source, coil, search, objective)
        result, row = timed(f"optimize_coil {goal}, {words}", run, runs=runs)
        row.errors["forward against reciprocity"] = abs(result.check.relative_difference)
        row.errors["exterior"] = result.search["exterior_error"]
        if result.search["operator_error"] is not None:
            row.errors["operator"] = result.search["operator_error"]
        stages = ", ".join(
            f"{name} {seconds:.2f}" for name, seconds in result.timings.items() if name != "total"
        )
        row.errors["estimated mesh error"] = abs(result.discretization["estimated_error"])
        warnings = "".join(f"; warning {w.code}" for w in result.warnings)
        row.note = f"{result.objective.value:.4f} V/m; {stages}{warnings}"
        rows.append(row)
        del result
    return rows
