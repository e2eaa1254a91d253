"""The error bar of a target value: what finer elements would make of it."""

from dataclasses import asdict, dataclass

import numpy as np

from efield.adjoint.correction import Corrections
from efield.adjoint.patch import LARGEST_TARGET

FLOOR = 5e-4
"""Half-widths are at least this share of the value (docs/validation.md)."""


@dataclass(frozen=True)
class Discretization:
    """Estimated discretization error of the objective at the optimum.

    Attributes
    ----------
    estimated_error : float or None
        Of the objective's value: the value minus the corrected one.
    corrected_value : float or None
        What second-order elements on finer tetrahedra around the target would give, estimated.
    half_width : float or None
        The error bar: corrected value plus or minus this. The size of the correction, or of its last
        step where that is larger; at least `FLOOR` of the value.
    reason : str or None
        Why there is no estimate.
    """

    estimated_error: float | None = None
    corrected_value: float | None = None
    half_width: float | None = None
    reason: str | None = None

    def as_dict(self):
        """Plain values for a result."""
        return asdict(self)


def discretization(run, field, value):
    """The :class:`Discretization` of a run's objective.

    Parameters
    ----------
    run : Run
    field : Field
        Forward solution at the optimum.
    value : float
        The objective there.
    """
    if run.avoided:
        return Discretization(reason="not estimated where regions are to be avoided")
    goal, volumes, elements = run.goal, run.volumes, run.region.elements
    if len(elements) > LARGEST_TARGET:
        return Discretization(
            reason=f"not estimated for a target of more than {LARGEST_TARGET:,d} tetrahedra; this one has "
            f"{len(elements):,d}"
        )
    e_field = field.E[elements]
    if not goal.exact and not goal.measure.is_smooth(e_field, volumes):
        return Discretization(reason=f"{goal.name} has no derivative in E")
    slope = _slope(goal, e_field, volumes)
    correction = Corrections(run.prepared, elements).of(
        run.coil,
        [field.placement],
        field.didt,
        field.node_potential[:, None],
        field.node_dadt[:, :, None],
        slope[None],
        start=_nearest_psi(run, slope)[:, None],
    )
    after = changes(goal.of_field, slope, e_field, volumes, correction.functional[0], correction.e_field[0])
    return Discretization(
        estimated_error=-after[-1], corrected_value=value + after[-1], half_width=half_width(value, after)
    )


def changes(value_of, slope, e_field, volumes, functional, steps):
    """By how much the steps of a correction change an objective, each together with those before.

    Parameters
    ----------
    value_of : callable (e_field, volumes) -> float
    slope : (m, 3) array, 1/m^3
        Weights of its linearisation at `e_field` (m, 3), V/m.
    volumes : (m,) array, m^3
    functional : (s,) array
        What each step adds to the linearisation, over the whole head.
    steps : (s, m, 3) array, V/m
        What it adds to E of the elements: where the objective is curved, more than its linearisation.

    Returns
    -------
    list of s floats
    """
    here = value_of(e_field, volumes)
    after = []
    for linear, change in zip(np.cumsum(functional), np.cumsum(steps, axis=0), strict=True):
        within = np.einsum("nc,nc,n->", slope, change, volumes)
        after.append(float(linear + value_of(e_field + change, volumes) - here - within))
    return after


def half_width(value, after):
    """Half-width of the error bar of a value whose correction goes by the steps `after`."""
    last = after[-1] - (after[-2] if len(after) > 1 else 0.0)
    return max(abs(after[-1]), abs(last), FLOOR * abs(value))


def _nearest_psi(run, slope):
    """Adjoint solution (n,) of the combination of the searched functionals that is nearest to a slope."""
    known = run.goal.weights(run.volumes)
    root = np.sqrt(run.volumes)[:, None]
    shares = np.linalg.lstsq((known * root).reshape(len(known), -1).T, (slope * root).ravel(), rcond=None)[0]
    return run.currents.psi @ shares


def _slope(goal, e_field, volumes):
    """Weights (n, 3), 1/m^3, of the objective's linearisation at element fields."""
    if not goal.exact:
        return goal.measure.slope(e_field, volumes) / volumes[:, None]
    return np.einsum("k,knc->nc", goal.slope(goal.functionals(e_field, volumes)), goal.weights(volumes))
