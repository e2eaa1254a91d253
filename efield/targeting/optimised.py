"""Placements by the field in the target, as :func:`efield.optimize_coil` finds them."""

import numpy as np

from efield.search.candidates import Search
from efield.targeting.noise import NAVIGATED
from efield.targeting.registry import Aim, targeting_method

ONE_POSITION = Search(radius_mm=0.5, spacing_mm=1.0, refine=False)
"""A grid of the scalp point nearest to the target alone, every yaw."""


@targeting_method("optimised-yaw", noise=NAVIGATED)
def optimised_yaw(case):
    """Scalp point nearest to the target, at the angle that maximises the mean |E| there.

    Method of this library: reciprocity gives every angle at once, see docs/index.md.
    """
    result = case.optimised(ONE_POSITION)
    turn = result.placement.yaw_to_midline_deg
    return Aim(result.placement, f"yaw {turn:.0f} degrees at the nearest scalp point, {_worth(result)}")


@targeting_method("optimised", noise=NAVIGATED)
def optimised(case):
    """Position and angle that maximise the mean |E| in the target.

    Method of this library: reciprocity gives every placement of the search region, see docs/index.md.
    """
    placement = case.optimum.placement
    nearest = case.model.scalp.closest(case.region.center_mm)[0][0]
    away = np.linalg.norm(case.scalp_under(placement) - nearest)
    return Aim(placement, f"{away:.1f} mm from the scalp point nearest to the target, {_worth(case.optimum)}")


def _worth(result):
    return f"{result.objective.value:.3g} V/m at {result.didt / 1e6:g} A/us"
