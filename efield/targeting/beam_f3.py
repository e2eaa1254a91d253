"""Beam F3: F3 from three measures of the head, without marking the 10-20 system."""

import numpy as np

from efield.errors import LandmarkError
from efield.targeting.registry import Aim, targeting_method

ADJUSTMENT_CM = 0.35
"""By how much the arc guided by MRI is longer (mean), Mir-Moghtadaei et al. 2015, Brain Stimul 8:965."""


def beam_f3_distances(tragus_tragus_cm, nasion_inion_cm, circumference_cm):
    """X and Y of Beam F3, cm.

    The formula of the web calculator (clinicalresearcher.org/F3) as public MATLAB code of Z. Li (Maastricht
    2023) has it; the one printed in 2009 gives no usable numbers. The calculator divides by
    ``D = R1 cos 298 - R2 / 2``, which vanishes at nasion-inion = 1.065 tragus-tragus; here it is multiplied
    through.

    Parameters
    ----------
    tragus_tragus_cm, nasion_inion_cm : float
        Over the vertex.
    circumference_cm : float
        At the level of Fpz and Oz.

    Returns
    -------
    x_cm : float
        From Fpz along the circumference.
    y_cm : float
        From the vertex towards that point.

    Raises
    ------
    LandmarkError
        A measure that no head has.
    """
    for name, value, low, high in (
        ("tragus_tragus_cm", tragus_tragus_cm, 20, 55),
        ("nasion_inion_cm", nasion_inion_cm, 20, 55),
        ("circumference_cm", circumference_cm, 30, 85),
    ):
        if not low <= value <= high:
            raise LandmarkError(
                f"{name} = {value!r} is no head's: between {low} and {high} cm are; check the unit"
            )
    r1, r2 = 0.4 * nasion_inion_cm, 0.4 * tragus_tragus_cm
    a = (r2 * np.sin(np.radians(324)) + r1 / 2) / r2
    n, d = r1 * np.sin(np.radians(298)), r1 * np.cos(np.radians(298)) - r2 / 2
    x = (r1 * d - r2 * n) / (2 * (a * d - n))
    y = a * x - r1 / 2
    along = circumference_cm / 4 * (1 + np.degrees(np.arctan(y / x)) / 90)
    return float(along), float(0.91 * np.hypot(x, y))


def _beam(case, further_cm):
    measures = case.ten_ten.measures
    x, y = beam_f3_distances(measures.tragus_tragus_cm, measures.nasion_inion_cm, measures.circumference_cm)
    y += further_cm
    words = (
        f"nasion-inion {measures.nasion_inion_cm:.1f}, ear-ear {measures.tragus_tragus_cm:.1f} "
        f"({measures.ears}), circumference {measures.circumference_cm:.1f} cm: X {x:.2f}, Y {y:.2f} cm"
    )
    return Aim(case.place(case.at_mark(x, y)), words)


@targeting_method("beam-f3")
def beam_f3(case):
    """F3 from nasion-inion, tragus-tragus and circumference.

    Beam et al. 2009, Brain Stimul 2:50 (10.1016/j.brs.2008.09.006), by its web calculator. Where a head's
    tragi are unknown the preauricular points stand for them, and the measures say so.
    """
    return _beam(case, 0.0)


@targeting_method("beam-f3-adjusted")
def adjusted_beam_f3(case):
    """Beam F3, 0.35 cm farther from the vertex.

    Mir-Moghtadaei et al. 2015, Brain Stimul 8:965: the mean by which the arc guided by MRI is longer.
    """
    return _beam(case, ADJUSTMENT_CM)
