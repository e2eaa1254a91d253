"""Published noise of placing a coil; a method without its own has none here."""

from dataclasses import dataclass

import numpy as np

from efield.model.placement import describe_placement

REACH_SD = 3.0
"""Standard deviations within which a coil lands."""

GAP = 2.0
"""Steps of the grid; a place farther than that from all of its points lies where it has none."""


@dataclass(frozen=True)
class PlacementNoise:
    """How far a coil lands from where a method says.

    Attributes
    ----------
    position_mm : float
        Typical distance along the scalp; taken as the mean of a Gaussian about the place.
    source : str
    """

    position_mm: float
    source: str

    @property
    def sd_mm(self):
        """Standard deviation along each direction of the scalp (Rayleigh distribution of distances)."""
        return self.position_mm / np.sqrt(np.pi / 2)

    @property
    def reach_mm(self):
        """How far it goes."""
        return REACH_SD * self.sd_mm


NAVIGATED = PlacementNoise(
    5.5,
    "whole navigation chain, registration and tracking, 5 to 6 mm: Ruohonen and Karhu, as cited by Richter, "
    "Robotized Transcranial Magnetic Stimulation",
)
"""Of methods that need a navigation system; no angles are published for the whole chain."""


@dataclass(frozen=True, eq=False)
class Landed:
    """Values of a target's field over where a coil may land: |mean E| (V/m) and weights that sum to one."""

    values: np.ndarray
    weights: np.ndarray

    @property
    def mean(self):
        """Expected value."""
        return float(self.values @ self.weights)


class Landing:
    """Where coils land about their places, by the values that an optimisation has on its grid.

    Parameters
    ----------
    optimum : OptimizeResult
    case : TargetingCase
    """

    def __init__(self, optimum, case):
        self._candidates = optimum.candidates
        self._centre, self._radius = np.asarray(optimum.search["center_mm"]), optimum.search["radius_mm"]
        self._spacing = optimum.search["spacing_mm"]
        self._optimum = self.of(describe_placement(case.model, optimum.placement), NAVIGATED)

    def of(self, placement, noise):
        """Landed values of a placement's record; None without noise, or where the grid does not reach.

        It ends at the search's radius, and leaves out places at which the coil cannot be kept off the scalp.
        """
        if noise is None:
            return None
        place = np.asarray(placement["scalp_mm"])
        if np.linalg.norm(place - self._centre) + noise.reach_mm > self._radius:
            return None
        turn = np.abs((self._candidates.yaw_deg - placement["yaw_to_midline_deg"] + 180) % 360 - 180)
        away = np.linalg.norm(self._candidates.scalp_mm - place, axis=1)
        if away.min() > GAP * self._spacing:
            return None
        near = away <= noise.reach_mm
        values = self._candidates.values[near, np.argmin(turn)]
        weights = np.exp(-0.5 * (away[near] / noise.sd_mm) ** 2)
        return None if np.isnan(values).any() else Landed(values, weights / weights.sum())

    def optimum_beats(self, landed, value):
        """Probability that the optimum as it lands gives more than a method.

        The method as it lands, or, where it has no noise, `value` itself.
        """
        if self._optimum is None:
            return None
        other = Landed(np.array([value]), np.ones(1)) if landed is None else landed
        wins = self._optimum.values[:, None] > other.values
        return float(self._optimum.weights @ wins @ other.weights)
