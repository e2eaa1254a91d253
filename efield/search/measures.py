"""Measures of the element fields of a target: mean |E|, percentiles of |E|, and the user's own."""

from dataclasses import dataclass

import numpy as np

from efield.errors import SearchError
from efield.kernels import magnitude as kernel
from efield.kernels._jit import run_chunks
from efield.metrics import weighted_mean, weighted_percentile

USER_YAW_DEG = 10.0
"""A user's function is Python: the grid calls it at yaw angles this far apart."""

SMOOTH_SNAPSHOTS, ROUGH_SNAPSHOTS = 24, 40
"""Forward solutions from which modes are made: for smooth measures, and for all others."""

SMOOTH_TOLERANCE, ROUGH_TOLERANCE = 5e-4, 1e-3
"""Relative error on left-out snapshots down to which modes are added."""


@dataclass(frozen=True)
class MeanMagnitude:
    """Volume-weighted mean of |E|."""

    yaw_step_deg = 0.0
    snapshots, tolerance = SMOOTH_SNAPSHOTS, SMOOTH_TOLERANCE

    def value(self, e_field, volumes):
        """Value on element fields (n, 3) with volumes (n,)."""
        return weighted_mean(np.linalg.norm(e_field, axis=1), volumes)

    def slope(self, e_field, volumes):
        """Derivative (n, 3) of the value in the element fields; 0 where E vanishes."""
        length = np.linalg.norm(e_field, axis=1)
        share = volumes / volumes.sum()
        return e_field * np.divide(share, length, out=np.zeros_like(length), where=length > 0)[:, None]

    def is_smooth(self, e_field, volumes):
        """Whether there is a derivative to polish with."""
        return True

    def of_modes(self, coefficients, modes):
        """Values (n,) of many placements from their coefficients (n, k)."""
        return _over_chunks(kernel.mean_magnitudes, coefficients, *modes.packed)


@dataclass(frozen=True)
class Percentile:
    """Smallest |E| that at least `percent` of the volume does not exceed."""

    percent: float

    yaw_step_deg = 0.0
    snapshots, tolerance = ROUGH_SNAPSHOTS, ROUGH_TOLERANCE

    def value(self, e_field, volumes):
        """As in :class:`MeanMagnitude`."""
        return weighted_percentile(np.linalg.norm(e_field, axis=1), volumes, self.percent)

    def is_smooth(self, e_field, volumes):
        """As in :class:`MeanMagnitude`: it jumps from element to element."""
        return False

    def of_modes(self, coefficients, modes):
        """As in :class:`MeanMagnitude`."""
        return _over_chunks(kernel.percentiles, coefficients, *modes.packed, self.percent / 100.0)


@dataclass(frozen=True, eq=False)
class UserMeasure:
    """A function of (E, volumes) that returns its value and, if it can, dvalue/dE.

    Raises
    ------
    SearchError
        The function returns anything else.
    """

    function: object
    name: str

    yaw_step_deg = USER_YAW_DEG
    snapshots, tolerance = ROUGH_SNAPSHOTS, ROUGH_TOLERANCE

    def value(self, e_field, volumes):
        """As in :class:`MeanMagnitude`."""
        return self._call(e_field, volumes)[0]

    def slope(self, e_field, volumes):
        """As in :class:`MeanMagnitude`; the user's own."""
        return self._call(e_field, volumes)[1]

    def is_smooth(self, e_field, volumes):
        """As in :class:`MeanMagnitude`: whether the function returns a derivative."""
        return self._call(e_field, volumes)[1] is not None

    def of_modes(self, coefficients, modes):
        """As in :class:`MeanMagnitude`."""
        return np.array([self.value(modes.element_fields(c), modes.volumes) for c in coefficients])

    def _call(self, e_field, volumes):
        returned = self.function(e_field, volumes)
        value, slope = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        if np.ndim(value) != 0 or not np.issubdtype(np.asarray(value).dtype, np.number):
            raise SearchError(
                f"{self.name} must return a number, or a number and dvalue/dE, not {_shape_words(returned)}"
            )
        if not np.isfinite(value):
            raise SearchError(f"{self.name} returned {value!r} for fields up to {_largest(e_field):.3g} V/m")
        if slope is not None:
            slope = np.asarray(slope, dtype=np.float64)
            if slope.shape != e_field.shape or not np.all(np.isfinite(slope)):
                raise SearchError(
                    f"dvalue/dE of {self.name} must be finite, of shape {e_field.shape}, "
                    f"not {_shape_words(slope)}"
                )
        return float(value), slope


def _over_chunks(function, coefficients, fields, shares, *more):
    out = np.empty(len(coefficients))
    packed = np.ascontiguousarray(coefficients, dtype=np.float32)
    run_chunks(function, len(out), packed, fields, shares, *more, out, min_chunk=16)
    return out


def _shape_words(value):
    shape = np.shape(value) if isinstance(value, np.ndarray | np.generic | float | int) else None
    return f"{type(value).__name__}" if not shape else f"an array of shape {shape}"


def _largest(e_field):
    return float(np.linalg.norm(e_field, axis=1).max())
