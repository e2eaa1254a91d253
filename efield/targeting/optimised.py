"""Placements by the field in the target, as :func:`efield.optimize_coil` finds them."""

import numpy as np

from efield.errors import SearchError
from efield.model.placement import Placement
from efield.targeting.noise import NAVIGATED
from efield.targeting.registry import Aim, targeting_method

TIE = 1e-5
"""Relative difference under which two angles tie, as those of a half turn of a symmetric coil."""


@targeting_method("optimised-yaw", noise=NAVIGATED)
def optimised_yaw(case):
    """Scalp point nearest to the target, at the angle that maximises |mean E| there.

    Method of this library: reciprocity gives every angle at once, see docs/index.md.
    """
    grid = case.optimum.candidates
    nearest = case.model.scalp.closest(case.region.center_mm)[0][0]
    away = np.linalg.norm(grid.scalp_mm - nearest, axis=1)
    at = int(np.argmin(away))
    if away[at] > case.optimum.search["spacing_mm"]:
        raise SearchError(
            f"the search ends {away[at]:.1f} mm from the scalp point nearest to the target; leave out its "
            "centre"
        )
    values = np.where(grid.feasible[at], grid.values[at], -np.inf)
    tied = np.flatnonzero(values >= (1 - TIE) * values.max())
    yaw = float(grid.yaw_deg[tied[np.argmin(np.abs(grid.yaw_deg[tied]))]])
    placement = Placement.on_scalp(case.model, nearest, yaw_deg=yaw, distance_mm=case.distance_mm)
    return Aim(placement, f"yaw {yaw:.0f} degrees at the scalp point nearest to the target")


@targeting_method("optimised", noise=NAVIGATED)
def optimised(case):
    """Position and angle that maximise the mean |E| in the target.

    Method of this library: reciprocity gives every placement of the search region, see docs/index.md.
    """
    result = case.optimum
    nearest = case.model.scalp.closest(case.region.center_mm)[0][0]
    away = np.linalg.norm(case.scalp_under(result.placement) - nearest)
    worth = f"{result.objective.value:.3g} V/m at {result.didt / 1e6:g} A/us"
    return Aim(result.placement, f"{away:.1f} mm from the scalp point nearest to the target, {worth}")
