"""What is maximised: functions of E in the target.

An objective is searched through a few linear functionals of E (its adjoints) and judged on
the element fields of a forward solve.
"""

from dataclasses import dataclass, field

import numpy as np

from efield.adjoint.current import mean_field_weights
from efield.errors import SearchError

OBJECTIVES = ("mean_magnitude", "magnitude_of_mean", "directional")


@dataclass(frozen=True, eq=False)
class Objective:
    """An objective and its search functionals.

    Attributes
    ----------
    name : str
    directions : (k, 3) array
        The functionals are the volume-weighted mean of E along each direction.
    searched_as : str
        Objective that the functionals give exactly; differs from `name` where the objective is
        not a function of the mean field.
    """

    name: str
    directions: np.ndarray = field(repr=False)
    searched_as: str

    def weights(self, volumes):
        """Adjoint weights (k, n, 3) on a target with element volumes (n,) in m^3."""
        return np.einsum("kc,cnd->knd", self.directions, mean_field_weights(volumes))

    def of_functionals(self, functionals):
        """Search value of functionals (..., k), V/m."""
        if self.searched_as == "directional":
            return functionals[..., 0]
        return np.linalg.norm(functionals, axis=-1)

    def slope(self, functionals):
        """Derivative (..., k) of the search value in the functionals."""
        if self.searched_as == "directional":
            return np.ones_like(functionals)
        length = np.linalg.norm(functionals, axis=-1, keepdims=True)
        return np.divide(functionals, length, out=np.zeros_like(functionals), where=length > 0)

    def of_field(self, e_field, volumes):
        """Value on element fields (n, 3) with volumes (n,), V/m."""
        if self.name == "mean_magnitude":
            return float(volumes @ np.linalg.norm(e_field, axis=1) / volumes.sum())
        return float(self.of_functionals(self.functionals(e_field, volumes)))

    def functionals(self, e_field, volumes):
        """Search functionals (k,) of element fields: the forward side of the check."""
        return self.directions @ (volumes @ e_field) / volumes.sum()


def make_objective(name, direction=None):
    """An objective by name.

    Parameters
    ----------
    name : {"mean_magnitude", "magnitude_of_mean", "directional"}
    direction : (3,) array, optional
        For "directional": the wanted direction of E in the head's frame; its length is ignored.

    Raises
    ------
    SearchError
        Unknown name (the valid ones are listed), or a direction that is missing or unusable.
    """
    if name not in OBJECTIVES:
        raise SearchError(f"unknown objective {name!r}; valid: {', '.join(OBJECTIVES)}")
    if name != "directional":
        if direction is not None:
            raise SearchError(f"direction is for objective 'directional', not {name!r}")
        return Objective(name, np.eye(3), "magnitude_of_mean")
    try:
        vector = np.asarray(np.nan if direction is None else direction, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)) or not np.any(vector):
        raise SearchError(f"objective 'directional' needs direction=(x, y, z), not {direction!r}")
    return Objective(name, (vector / np.linalg.norm(vector))[None], "directional")
