"""A curve on the scalp, with points at given lengths along it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efield.errors import LandmarkError
from efield.model.arrays import FieldsOnlyPickle, read_only


@dataclass(frozen=True, eq=False)
class Curve(FieldsOnlyPickle):
    """A polyline.

    Parameters
    ----------
    points_mm : (n, 3) array
        At least two points, from the start to the end.
    """

    points_mm: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "points_mm", read_only(self.points_mm, np.float64))

    @cached_property
    def marks_mm(self):
        """(n,) length from the start to each point."""
        steps = np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1)
        return read_only(np.concatenate([[0.0], np.cumsum(steps)]))

    @property
    def length_mm(self):
        return float(self.marks_mm[-1])

    def at(self, distance_mm):
        """Point or points at lengths from the start.

        Parameters
        ----------
        distance_mm : float or (k,) array

        Returns
        -------
        (3,) or (k, 3) array

        Raises
        ------
        LandmarkError
            A length beyond either end.
        """
        distance = np.asarray(distance_mm, dtype=np.float64)
        over = 1e-9 * self.length_mm
        if not np.all((distance >= -over) & (distance <= self.length_mm + over)):
            raise LandmarkError(
                f"{distance_mm} mm lies beyond the ends of a curve {self.length_mm:.1f} mm long"
            )
        axes = [np.interp(distance, self.marks_mm, x) for x in self.points_mm.T]
        return np.stack(axes, axis=-1)

    def part(self, fraction):
        """Point or points at fractions (0 to 1) of the length."""
        return self.at(np.asarray(fraction, dtype=np.float64) * self.length_mm)

    def length_to(self, point_mm):
        """Length from the start to the place nearest to a point."""
        starts, steps = self.points_mm[:-1], np.diff(self.points_mm, axis=0)
        size = np.maximum(np.sum(steps**2, axis=1), 1e-300)
        share = np.clip(np.sum((point_mm - starts) * steps, axis=1) / size, 0.0, 1.0)
        near = np.linalg.norm(starts + share[:, None] * steps - point_mm, axis=1)
        best = int(np.argmin(near))
        return float(self.marks_mm[best] + share[best] * np.linalg.norm(steps[best]))
