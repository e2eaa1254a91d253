"""The 5, 5.5 and 6 cm rules: a fixed distance forward of the motor hotspot."""

import numpy as np

from efield.errors import LandmarkError
from efield.scalp.tape import tape
from efield.targeting.registry import Aim, targeting_method
from efield.units import point_words


def forward_of(system, start_mm, distance_cm, side):
    """Scalp point a distance forward of another along the parasagittal cut, as a tape is laid.

    Parameters
    ----------
    system : TenTen
    start_mm : (3,) array
        On the scalp.
    distance_cm : float
    side : {"left", "right"}

    Returns
    -------
    (3,) array

    Raises
    ------
    LandmarkError
        The cut does not meet the front of the circumference, or the distance leads below it.
    """
    right, _, up = system.axes
    ring = system.rings[side].part(np.linspace(0, 0.5, 500))
    aside = (ring - start_mm) @ right
    crossed = np.flatnonzero((aside[:-1] <= 0) != (aside[1:] <= 0))
    if len(crossed) == 0:
        raise LandmarkError(
            f"the cut through {point_words(start_mm)} mm does not meet the front of the {side} half of "
            "the circumference; check the motor hotspot"
        )
    k = crossed[0]
    share = aside[k] / (aside[k] - aside[k + 1])
    front = (1 - share) * ring[k] + share * ring[k + 1]
    forward = tape(system.surface, start_mm, front, start_mm + 100 * up)
    return system.surface.closest(forward.at(10 * distance_cm))[0][0]


def _rule(case, distance_cm):
    hotspot, words = case.hotspot
    point = forward_of(case.ten_ten, hotspot, distance_cm, case.side)
    return Aim(case.place(point), f"{distance_cm:g} cm forward of {words}, along the parasagittal cut")


@targeting_method("5cm")
def five(case):
    """5 cm forward of the motor hotspot, the classic rule.

    It misses the DLPFC in more than a third of cases: Mir-Moghtadaei et al. 2015, Brain Stimul 8:965.
    """
    return _rule(case, 5.0)


@targeting_method("5.5cm")
def five_and_a_half(case):
    """5.5 cm forward of the motor hotspot, common in the USA.

    Compared with Beam F3 by Trapp et al. 2020, Brain Stimul 13:578.
    """
    return _rule(case, 5.5)


@targeting_method("6cm")
def six(case):
    """6 cm forward of the motor hotspot, for larger heads.

    A variant of the 5 cm rule; that every fixed distance adds variability: Cardenas et al. 2022, Brain
    Stimul 15:63.
    """
    return _rule(case, 6.0)
