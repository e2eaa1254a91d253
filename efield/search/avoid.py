"""Regions whose field is to stay low: limits, and weights against the objective."""

from dataclasses import dataclass

import numpy as np

from efield.errors import SearchError, TargetError
from efield.model.target import TargetRegion, as_target
from efield.search.objectives import make_objective


@dataclass(frozen=True)
class Avoid:
    """A region to keep the field out of.

    Parameters
    ----------
    target : Target, str or (x, y, z)
        As the target of :func:`efield.optimize_coil`.
    limit : float or None
        Largest allowed value of `objective` over the region, V/m at the run's dI/dt.
    weight : float or None
        This many times the value is taken off what is maximised.
    objective : str or callable
        What is measured over the region: "mean_magnitude", "percentile:Q" or a function of
        (E, volumes).

    Raises
    ------
    SearchError
        Neither limit nor weight, one that is not positive, or an objective of the mean field.
    """

    target: object
    limit: float | None = None
    weight: float | None = None
    objective: object = "mean_magnitude"

    def __post_init__(self):
        if self.limit is None and self.weight is None:
            raise SearchError("Avoid needs a limit (V/m) or a weight, or both")
        for name in ("limit", "weight"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise SearchError(f"{name} of Avoid must be positive, not {value!r}")
        if make_objective(self.objective).exact:
            raise SearchError(
                f"Avoid measures mean_magnitude, percentile:Q or a function of (E, volumes), "
                f"not {self.objective!r}"
            )

    def resolve(self, head, target):
        """The region in a head.

        Parameters
        ----------
        head : HeadModel
        target : TargetRegion
            What is to be stimulated.

        Returns
        -------
        AvoidedRegion

        Raises
        ------
        TargetError
            The region is empty, or shares tetrahedra with the target.
        """
        return AvoidedRegion.of(head, target, self.target, self.objective, self.limit, self.weight or 0.0)


@dataclass(frozen=True, eq=False)
class AvoidedRegion:
    """An :class:`Avoid` in one head; a weight of 0 and no limit only measure.

    Attributes
    ----------
    region : TargetRegion
    name : str
        Of what is measured.
    measure : MeanMagnitude, Percentile or UserMeasure
    limit : float or None
    weight : float
    """

    region: TargetRegion
    name: str
    measure: object
    limit: float | None
    weight: float

    @classmethod
    def of(cls, head, target, avoided, objective, limit=None, weight=0.0):
        """Resolve a region and make sure that it is apart from the target."""
        region = as_target(avoided).resolve(head)
        shared = np.isin(region.elements, target.elements)
        if shared.any():
            raise TargetError(
                f"the region to avoid, {region.name!r}, shares {np.count_nonzero(shared)} tetrahedra "
                f"({region.volumes_mm3[shared].sum():.0f} of its {region.volumes_mm3.sum():.0f} mm3) with "
                f"the target {target.name!r}; choose regions apart"
            )
        goal = make_objective(objective)
        return cls(region, goal.name, goal.measure, limit, weight)

    @property
    def volumes(self):
        """(n,) element volumes, m^3."""
        return self.region.volumes_mm3 * 1e-9

    def value(self, e_field):
        """What is measured, on the region's element fields."""
        return self.measure.value(e_field, self.volumes)

    def keeps(self, value):
        """Whether a value is within the limit."""
        return self.limit is None or value <= self.limit

    def summary(self):
        """The record that results carry."""
        return {
            "target": self.region.summary(),
            "objective": self.name,
            "limit": self.limit,
            "weight": self.weight,
        }


def resolve_avoid(avoid, head, target):
    """Tuple of :class:`AvoidedRegion` from what :func:`efield.optimize_coil` takes.

    Raises
    ------
    SearchError
        Something that is not an :class:`Avoid`.
    """
    wanted = [] if avoid is None else [avoid] if isinstance(avoid, Avoid) else list(avoid)
    for item in wanted:
        if not isinstance(item, Avoid):
            raise SearchError(f"avoid takes efield.Avoid(target, limit=..., weight=...), not {item!r}")
    return tuple(item.resolve(head, target) for item in wanted)


@dataclass(frozen=True, eq=False)
class GuardedObjective:
    """An objective less weighted off-target values, under limits, on joint functionals.

    To the polish it is what an :class:`Objective` is.

    Attributes
    ----------
    goal : Objective or ModeObjective
        On the first functionals.
    off_target : tuple of ModeObjective
        On the following ones, in turn.
    sizes : tuple of int
        Functionals of each, the goal's first.
    weights : (n,) array
    limits : (n,) array
        Infinite where there is none.
    """

    goal: object
    off_target: tuple
    sizes: tuple
    weights: np.ndarray
    limits: np.ndarray

    @property
    def smooth(self):
        """Whether :meth:`slope` exists."""
        return self.goal.smooth and all(off.smooth for off in self.off_target)

    @property
    def limited(self):
        """Whether there is any limit."""
        return bool(np.isfinite(self.limits).any())

    def of_functionals(self, functionals):
        """Search value of functionals (..., k)."""
        own = self.goal.of_functionals(self._parts(functionals)[0])
        return own - self.off_values(functionals) @ self.weights

    def off_values(self, functionals):
        """Off-target values (..., n) of functionals (..., k)."""
        parts = self._parts(functionals)[1:]
        values = [off.of_functionals(p) for off, p in zip(self.off_target, parts, strict=True)]
        return np.stack(values, axis=-1)

    def slope(self, functionals):
        """Derivative (k,) of the search value in the functionals (k,)."""
        own = self.goal.slope(self._parts(functionals)[0])
        off = [-w * s for w, s in zip(self.weights, self._off_slopes(functionals), strict=True)]
        return np.concatenate([own, *off])

    def room(self, functionals):
        """(n_limits,) share of each limit that is left, of functionals (k,)."""
        limited = np.isfinite(self.limits)
        return 1.0 - self.off_values(functionals)[limited] / self.limits[limited]

    def room_slope(self, functionals):
        """Derivative (n_limits, k) of :meth:`room`."""
        rows = []
        starts = np.cumsum(self.sizes)
        for i, slope in enumerate(self._off_slopes(functionals)):
            if np.isfinite(self.limits[i]):
                row = np.zeros(len(functionals))
                row[starts[i] : starts[i + 1]] = -slope / self.limits[i]
                rows.append(row)
        return np.array(rows)

    def _off_slopes(self, functionals):
        parts = self._parts(functionals)[1:]
        return [off.slope(p) for off, p in zip(self.off_target, parts, strict=True)]

    def _parts(self, functionals):
        return np.split(functionals, np.cumsum(self.sizes)[:-1], axis=-1)
