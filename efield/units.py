"""Physical constants (SI) and the one conversion between millimetres and metres.

Inside efield every quantity is SI and unsuffixed; public names in millimetres end
in ``_mm``. Convert once on the way in and once on the way out, here.
"""

import numpy as np

MU0_OVER_4PI = 1e-7
"""Magnetic constant over 4 pi, in T m / A."""

MM = 1e-3
"""One millimetre in metres."""


def to_m(values_mm):
    """Convert an array from millimetres to metres (float64)."""
    return np.asarray(values_mm, dtype=np.float64) * MM


def to_mm(values):
    """Convert an array from metres to millimetres (float64)."""
    return np.asarray(values, dtype=np.float64) / MM


def point_words(point_mm):
    """A point for a message, to the tenth of a millimetre: ``(-42.0, 44.0, 30.0)``."""
    return "(" + ", ".join(f"{x:.1f}" for x in point_mm) + ")"
