"""What is maximised: functions of E in the target.

An objective of the mean field is searched exactly through one to three linear functionals of E
(its adjoints). Any other has a measure of the element fields and is searched on the modes of E in
the target; its own functionals are the mean field's and only open the search. Either is judged on
the element fields of forward solutions.
"""

from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np

from efield.adjoint.modes import TargetModes
from efield.errors import SearchError
from efield.model.cortex import cortical_normals
from efield.search.measures import MeanMagnitude, Percentile, UserMeasure

OBJECTIVES = ("mean_magnitude", "magnitude_of_mean", "directional", "normal", "percentile:Q")
"""Names; Q is a number above 0, up to 100."""


@dataclass(frozen=True, eq=False)
class Objective:
    """An objective and its linear functionals.

    Attributes
    ----------
    name : str
    directions : (k, m, 3) array
        The functionals are the volume-weighted means of E along each direction; m is 1, or the
        number of elements where the direction changes over the target.
    measure : MeanMagnitude, Percentile, UserMeasure or None
        What is maximised; None where it is a function of the functionals.
    unit : str
    """

    name: str
    directions: np.ndarray = field(repr=False)
    measure: object = None
    unit: str = "V/m"

    smooth = True  # on the functionals; on modes it depends on the measure
    limited = False

    @property
    def exact(self):
        """Whether the functionals decide the objective."""
        return self.measure is None

    @property
    def functional(self):
        """Name of what the functionals decide: the objective, or |mean E| in its stead."""
        return self.name if self.exact else "magnitude_of_mean"

    def on_target(self, head, region):
        """The objective on a target's elements: normals of the cortex where it needs them."""
        if self.name != "normal":
            return self
        return replace(self, directions=cortical_normals(head, region.elements)[None])

    def weights(self, volumes):
        """Adjoint weights (k, n, 3) on a target with element volumes (n,) in m^3."""
        shape = (len(self.directions), len(volumes), 3)
        return np.broadcast_to(self.directions, shape) / volumes.sum()

    def functionals(self, e_field, volumes):
        """Functionals (k,) of element fields: the forward side of the check."""
        return np.einsum("knc,nc,n->k", self.weights(volumes), e_field, volumes)

    def of_functionals(self, functionals):
        """Search value of functionals (..., k), V/m: the signed one, or the length of three."""
        if len(self.directions) == 1:
            return functionals[..., 0]
        return np.sqrt(np.einsum("...k,...k->...", functionals, functionals))  # half the time of norm

    def slope(self, functionals):
        """Derivative (..., k) of the search value in the functionals."""
        if len(self.directions) == 1:
            return np.ones_like(functionals)
        length = np.linalg.norm(functionals, axis=-1, keepdims=True)
        return np.divide(functionals, length, out=np.zeros_like(functionals), where=length > 0)

    def of_field(self, e_field, volumes):
        """Value on element fields (n, 3) with volumes (n,)."""
        if self.exact:
            return float(self.of_functionals(self.functionals(e_field, volumes)))
        return self.measure.value(e_field, volumes)


@dataclass(frozen=True, eq=False)
class ModeObjective:
    """An objective as a function of the coefficients of a target's modes.

    To the polish it is what an :class:`Objective` is, the coefficients being its functionals.

    Attributes
    ----------
    measure : MeanMagnitude, Percentile or UserMeasure
    modes : TargetModes
    smooth : bool
        Whether :meth:`slope` exists.
    """

    measure: object
    modes: TargetModes
    smooth: bool

    limited = False

    def of_functionals(self, coefficients):
        """Value of one placement's coefficients (k,), or of many (..., k) in float32."""
        if coefficients.ndim > 1:
            flat = coefficients.reshape(-1, coefficients.shape[-1])
            return self.measure.of_modes(flat, self.modes).reshape(coefficients.shape[:-1])
        return self.measure.value(self.modes.element_fields(coefficients), self.modes.volumes)

    def slope(self, coefficients):
        """Derivative (k,) of the value in the coefficients (k,)."""
        e_field = self.modes.element_fields(coefficients)
        return self.modes.pull_back(self.measure.slope(e_field, self.modes.volumes))


def make_objective(objective, direction=None):
    """An objective by name, or from the user's function.

    Parameters
    ----------
    objective : str or callable
        One of `OBJECTIVES`; or a function of E (n, 3) in V/m and volumes (n,) in m^3 that
        returns the value to maximise, or the value and its derivative (n, 3) in E.
    direction : (3,) array, optional
        For "directional": the wanted direction of E in the head's frame; its length is ignored.

    Raises
    ------
    SearchError
        Unknown name (the valid ones are listed), or a direction that is missing or unusable.
    """
    if direction is not None and objective != "directional":
        raise SearchError(f"direction is for objective 'directional', not {objective!r}")
    if objective == "directional":
        return Objective(objective, _unit(direction)[None, None])
    mean_field = np.eye(3)[:, None]
    if callable(objective):
        name = f"callable {getattr(objective, '__name__', type(objective).__name__)}"
        return Objective(name, mean_field, UserMeasure(objective, name), unit="as returned")
    if objective == "mean_magnitude":
        return Objective(objective, mean_field, MeanMagnitude())
    if objective == "magnitude_of_mean":
        return Objective(objective, mean_field)
    if objective == "normal":
        return Objective(objective, np.full((1, 1, 3), np.nan))  # on_target has the normals
    if isinstance(objective, str) and objective.startswith("percentile:"):
        return Objective(objective, mean_field, Percentile(_percent(objective)))
    raise SearchError(
        f"unknown objective {objective!r}; valid: {', '.join(OBJECTIVES)} (such as percentile:99), "
        f"or a function of (E, volumes){_meant(objective)}"
    )


def _percent(name):
    text = name.removeprefix("percentile:")
    try:
        percent = float(text)
    except ValueError:
        percent = np.nan
    if not 0 < percent <= 100:
        raise SearchError(f"objective {name!r}: {text!r} is not a percentage above 0, up to 100")
    return percent


def _meant(name):
    close = get_close_matches(str(name), OBJECTIVES, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _unit(direction):
    try:
        vector = np.asarray(np.nan if direction is None else direction, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)) or not np.any(vector):
        raise SearchError(f"objective 'directional' needs direction=(x, y, z), not {direction!r}")
    return vector / np.linalg.norm(vector)
