"""The small records that make up a result."""

from dataclasses import dataclass

import numpy as np

from efield.errors import OutputError
from efield.model.arrays import read_only
from efield.model.placement import Placement


@dataclass(frozen=True)
class ObjectiveValue:
    """Value of the objective at the chosen placement, at the result's dI/dt."""

    name: str
    value: float
    unit: str = "V/m"


@dataclass(frozen=True)
class Check:
    """Forward solve at the optimum against the reciprocity value.

    `forward_value` is the objective on the forward field. `relative_difference` compares the
    functionals the search goes by (mean field components in the target), forward against
    reciprocity by direct summation, as a norm relative to the forward ones; above `warn_above`
    the result carries a warning.
    """

    forward_value: float
    relative_difference: float
    warn_above: float = 1e-3


@dataclass(frozen=True)
class ResultWarning:
    """Something the reader must know: a fixed `code` for programs, a `message` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class BestPlacement:
    """One of the best distinct placements.

    Parameters
    ----------
    placement : Placement
    info : dict
        What ``describe_placement`` says of it.
    value : float
        Objective by the forward or exact model, V/m at the result's dI/dt; the ranking.
    search_value : float
        What the search model said, V/m.
    """

    placement: Placement
    info: dict
    value: float
    search_value: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every placement of the grid search and its value.

    Parameters
    ----------
    scalp_mm : (n, 3) array
        Scalp points.
    normals : (n, 3) array
        Outward unit normals of the area-smoothed scalp there.
    yaw_deg : (n_yaw,) array
        Angles to the midline, shared by all positions.
    values : (n, n_yaw) array
        Search value, V/m at the result's dI/dt; NaN exactly where not feasible.
    feasible : (n, n_yaw) bool array or None
        None: all of them.
    distance_mm : (n,) array or None
        Coil origin to scalp; a point may be there at several. None where it was not kept.

    Raises
    ------
    OutputError
        Shapes that do not fit, or a feasible value that is not finite.
    """

    scalp_mm: np.ndarray
    normals: np.ndarray
    yaw_deg: np.ndarray
    values: np.ndarray
    feasible: np.ndarray | None = None
    distance_mm: np.ndarray | None = None

    def __post_init__(self):
        values = np.array(self.values)
        n, n_yaw = len(self.scalp_mm), len(self.yaw_deg)
        feasible = np.ones((n, n_yaw), bool) if self.feasible is None else np.asarray(self.feasible, bool)
        shapes = (np.shape(self.scalp_mm), np.shape(self.normals), values.shape, feasible.shape)
        if shapes != ((n, 3), (n, 3), (n, n_yaw), (n, n_yaw)):
            raise OutputError(
                f"candidates of {n} positions and {n_yaw} angles have arrays of shapes {shapes}"
            )
        bad = feasible & ~np.isfinite(values)
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise OutputError(
                f"candidate value at position {i}, yaw {self.yaw_deg[j]} deg is {values[i, j]}, not finite"
            )
        values[~feasible] = np.nan
        arrays = {
            "scalp_mm": self.scalp_mm,
            "normals": self.normals,
            "yaw_deg": self.yaw_deg,
            "values": values,
            "feasible": feasible,
        }
        if self.distance_mm is not None:
            if np.shape(self.distance_mm) != (n,):
                raise OutputError(
                    f"{n} candidate positions have distances of shape {np.shape(self.distance_mm)}"
                )
            arrays["distance_mm"] = self.distance_mm
        for name, array in arrays.items():
            object.__setattr__(self, name, read_only(array))

    def best_over_yaw(self):
        """(n,) largest feasible value at each position; NaN where no angle is feasible."""
        best = np.where(self.feasible, self.values, -np.inf).max(axis=1)
        return np.where(self.feasible.any(axis=1), best, np.nan)
