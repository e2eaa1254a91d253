"""The error bar of a target value: what finer elements would make of it."""

from dataclasses import asdict, dataclass

import numpy as np

from efield.adjoint.correction import EdgeCorrection

FLOOR = 1.5e-3
"""Half-widths are at least this share of the value: with it 90 % of the error bars on `mni152` hold what
local refinement gives (docs/validation.md)."""


@dataclass(frozen=True)
class Discretization:
    """Estimated discretization error of the objective at the optimum.

    Attributes
    ----------
    estimated_error : float or None
        Of the objective's value: the value minus the corrected one.
    corrected_value : float or None
        What second-order elements would give, estimated.
    half_width : float or None
        The error bar: corrected value plus or minus this.
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
    if run.prepared.element_order == 2:
        return Discretization(reason="a second-order run has no estimate of the error that remains")
    if run.avoided:
        return Discretization(reason="not estimated where regions are to be avoided")
    goal, volumes, elements = run.goal, run.volumes, run.region.elements
    e_field = field.E[elements]
    if not goal.exact and not goal.measure.is_smooth(e_field, volumes):
        return Discretization(reason=f"{goal.name} has no derivative in E")
    slope = _slope(goal, e_field, volumes)
    correction = EdgeCorrection(run.prepared).of(
        run.coil,
        [field.placement],
        field.didt,
        field.node_potential[:, None],
        field.node_dadt[:, :, None],
        elements,
        slope[None],
    )
    change = correction.e_field[0]
    linear = np.einsum("nc,nc,n->", slope, change, volumes)
    curved = goal.of_field(e_field + change, volumes) - goal.of_field(e_field, volumes) - linear
    added = float(correction.functional[0] + curved)
    return Discretization(
        estimated_error=-added,
        corrected_value=value + added,
        half_width=max(abs(added), FLOOR * abs(value)),
    )


def _slope(goal, e_field, volumes):
    """Weights (n, 3), 1/m^3, of the objective's linearisation at element fields."""
    if not goal.exact:
        return goal.measure.slope(e_field, volumes) / volumes[:, None]
    return np.einsum("k,knc->nc", goal.slope(goal.functionals(e_field, volumes)), goal.weights(volumes))
