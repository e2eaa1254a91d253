"""Placements by the field in the target, as :func:`efield.optimize_coil` finds them."""

import numpy as np

from efield.search.candidates import Search
from efield.search.constraints import Constraints
from efield.search.optimize import optimize_coil
from efield.targeting.registry import Aim, targeting_method

ONE_POSITION = Search(radius_mm=0.5, spacing_mm=1.0, refine=False)
"""A grid of the scalp point nearest to the target alone, every yaw."""


def _optimised(case, search):
    result = optimize_coil(
        case.prepared,
        case.coil,
        case.target,
        search=search,
        constraints=Constraints(distance_mm=case.distance_mm),
        verify=False,
        n_best=1,
    )
    value, placement = result.objective.value, result.placement
    return value, placement


@targeting_method("optimised yaw", noise="navigated")
def optimised_yaw(case):
    """Scalp point nearest to the target, at the angle that maximises the mean |E| there.

    Method of this library: reciprocity gives every angle at once, see docs/index.md.
    """
    value, placement = _optimised(case, ONE_POSITION)
    turn = placement.yaw_to_midline_deg
    return Aim(
        placement, f"yaw {turn:.0f} degrees of all at the nearest scalp point, {value:.3g} V/m at 1 A/us"
    )


@targeting_method("optimised", noise="navigated")
def optimised(case):
    """Position and angle that maximise the mean |E| in the target.

    Method of this library: reciprocity gives every placement of the search region, see docs/index.md.
    """
    value, placement = _optimised(case, None)
    nearest = case.model.scalp.closest(case.region.center_mm)[0][0]
    pose = placement.matsimnibs
    away = np.linalg.norm(pose[:3, 3] + case.distance_mm * pose[:3, 2] - nearest)
    return Aim(
        placement, f"{away:.1f} mm from the scalp point nearest to the target, {value:.3g} V/m at 1 A/us"
    )
