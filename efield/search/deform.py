"""The settings of a coil's movable parts as further parameters of the search."""

from itertools import product

import numpy as np
from scipy.optimize import minimize_scalar

from efield.errors import CoilError, SearchError

MOST_SETTINGS = 200
"""Settings of the grid; each is a search of the whole region."""

FINEST = 0.02
"""Share of a range to which its best setting is sought."""


def check_steps(coil, steps):
    """Refuse what `best_setting` cannot search, before anything is computed.

    Raises
    ------
    SearchError
        Not a number of settings, no movable parts, or too many settings.
    """
    parameters = coil.deformations
    if not isinstance(steps, int | np.integer) or steps < 2:
        raise SearchError(f"deform must be a whole number of at least 2 settings, not {steps!r}")
    if not parameters:
        raise SearchError(f"coil {coil.name!r} has no movable parts; leave out deform")
    if steps ** len(parameters) > MOST_SETTINGS:
        raise SearchError(
            f"{steps} settings of each of {len(parameters)} movable parts are {steps ** len(parameters)} "
            f"searches, more than {MOST_SETTINGS}; choose fewer, or fix the coil with Coil.deformed"
        )


def best_setting(run, steps):
    """The settings of movable parts whose best placement has the largest search value.

    A grid over the ranges, then one parameter after the other between its neighbours on the grid.
    Every setting is judged by the best placement of the whole region, polished: of the mean field
    where the objective is one of the element fields.

    Parameters
    ----------
    run : Run
        Of a coil with movable parts.
    steps : int
        Settings of each parameter on the grid, its ends among them.

    Returns
    -------
    coil : Coil
    settings : dict of str to float

    Raises
    ------
    SearchError
        Parts that meet, or a coil that touches, at all settings.
    """
    parameters = run.coil.deformations
    tried = _Tried(run, [p.name for p in parameters])
    axes = [np.linspace(p.low, p.high, steps) for p in parameters]
    grid = list(product(*axes))
    for done, setting in enumerate(grid):
        tried.value(setting)
        run.clock.report("deform", (done + 1) / len(grid))
    if tried.best is None:
        raise SearchError(f"no setting of {run.coil.name!r} can be placed: {tried.refusal}")
    for k, (parameter, axis) in enumerate(zip(parameters, axes, strict=True)):
        step, best = axis[1] - axis[0], tried.best
        if step == 0:
            continue
        minimize_scalar(
            lambda x, k=k, best=best: -tried.value((*best[:k], float(x), *best[k + 1 :])),
            bounds=(max(best[k] - step, parameter.low), min(best[k] + step, parameter.high)),
            method="bounded",
            options={"xatol": FINEST * (parameter.high - parameter.low)},
        )
    settings = dict(zip(tried.names, (float(x) for x in tried.best), strict=True))
    return run.coil.deformed(settings), settings


class _Tried:
    """The best setting of those looked at."""

    def __init__(self, run, names):
        self._run, self.names = run, names
        self.best, self._highest, self.refusal = None, -np.inf, None

    def value(self, setting):
        """Search value of the best placement at a setting; the lowest seen where there is none."""
        try:
            run = self._run.with_(coil=self._run.coil.deformed(setting))
            found = run.search_grid(run.search.radius_mm)
        except (CoilError, SearchError) as refusal:  # parts that meet, or a coil that touches everywhere
            self.refusal = refusal
            return -1e300
        value = run.refine(found, 1)[0][1]
        if value > self._highest:
            self._highest, self.best = value, tuple(setting)
        return value
