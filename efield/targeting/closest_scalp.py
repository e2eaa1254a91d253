"""Neuronavigation without optimisation: the coil over the scalp point nearest to the target."""

from efield.targeting.coordinates import over_target
from efield.targeting.noise import NAVIGATED
from efield.targeting.registry import targeting_method


@targeting_method("closest-scalp", noise=NAVIGATED)
def closest_scalp(case):
    """Scalp point nearest to the target, handle at 45 degrees to the midline.

    How navigation software proposes a trajectory; 45 degrees backwards and outwards is the convention,
    for example of GeoBeam (Schramm 2026, 10.64898/2026.06.21.26356164).
    """
    return over_target(case, case.target)
