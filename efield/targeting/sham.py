"""Sham: what is left of the field when the coil is tilted, raised, or replaced.

Trials tilt the coil by 45 to 90 degrees with one or both wings on the scalp. Measured in a monkey's
prefrontal cortex, one wing, and two wings at 90 degrees, left 27 to 33 % of the voltage, two wings at 45
degrees 76 %: Lisanby et al. 2001, Biol Psychiatry 49:460.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from efield.errors import PlacementError
from efield.forward import simulate
from efield.metrics import field_metrics
from efield.model.coils import load_coil
from efield.model.placement import Placement
from efield.model.target import as_target
from efield.search.constraints import clearance_mm
from efield.solve.prepared import prepare

TILTS = {"one wing": 1, "two wings": 0}
"""Axis of the coil (column of matsimnibs) about which it is tilted: one wing stays down, or the far ends
of both."""

LIFT_MM = 400.0
"""No tilt lifts a coil farther."""


@dataclass(frozen=True, eq=False)
class Sham:
    """A sham condition: a name, and what it makes of a coil and its active placement.

    Make one with :meth:`tilted`, :meth:`spacer` or :meth:`other_coil`.
    """

    name: str
    _apply: object = field(repr=False)

    def apply(self, head, coil, placement):
        """The coil and the placement of the sham.

        Returns
        -------
        Coil, Placement
        """
        return self._apply(head, coil, placement)

    @classmethod
    def tilted(cls, angle_deg, over="one wing"):
        """Tilted about its origin, then lifted until it clears the scalp as the active coil did.

        `over` is "one wing" (about the handle's axis) or "two wings" (across it).
        """
        if over not in TILTS:
            raise PlacementError(f"unknown tilt {over!r}; valid: {', '.join(TILTS)}")
        if not np.isfinite(angle_deg) or not 0 < angle_deg <= 90:
            raise PlacementError(f"a sham's tilt must lie between 0 and 90 degrees, not {angle_deg!r}")

        def apply(head, coil, placement):
            return coil, _tilted(head, coil, placement, float(angle_deg), TILTS[over])

        return cls(f"tilted {angle_deg:g} degrees, {over}", apply)

    @classmethod
    def spacer(cls, thickness_mm):
        """Raised along its axis by a spacer."""
        if not np.isfinite(thickness_mm) or thickness_mm <= 0:
            raise PlacementError(f"a spacer's thickness must be positive, in mm, not {thickness_mm!r}")

        def apply(head, coil, placement):
            pose = np.array(placement.matsimnibs)
            pose[:3, 3] -= thickness_mm * pose[:3, 2]
            return coil, Placement(pose)

        return cls(f"spacer of {thickness_mm:g} mm", apply)

    @classmethod
    def other_coil(cls, coil):
        """A sham coil in the active coil's place."""
        sham = load_coil(coil)
        return cls(f"sham coil {sham.name}", lambda head, active, placement: (sham, placement))


USUAL_SHAMS = (
    Sham.tilted(45),
    Sham.tilted(90),
    Sham.tilted(45, "two wings"),
    Sham.tilted(90, "two wings"),
    Sham.spacer(30),
)
"""The tilts that trials have used, and a spacer of 3 cm."""


@dataclass(frozen=True)
class ShamResidual:
    """What a sham leaves.

    Attributes
    ----------
    name : str
    placement : Placement
    mean : float
        Of |E| over the target, V/m.
    peak : float or None
        99.9th percentile of |E| over grey matter, V/m.
    mean_percent, peak_percent : float or None
        Relative to the active condition.
    """

    name: str
    placement: Placement
    mean: float
    peak: float | None
    mean_percent: float
    peak_percent: float | None


def sham_residuals(
    head, coil, placement, target, shams=USUAL_SHAMS, *, didt=1e6, element_order=None, progress=None
):
    """Residual field of sham conditions, as a percentage of the active one.

    Parameters
    ----------
    head : HeadModel or PreparedHead
    coil : Coil, str or path
    placement : Placement
        The active one.
    target : Target, str or (x, y, z)
    shams : sequence of Sham
    didt : float
        A/s, the same for active and sham.
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.
    progress : callable, optional
        ``progress(stage, fraction)``; may raise to cancel.

    Returns
    -------
    tuple of ShamResidual
        The active condition first.

    Raises
    ------
    PlacementError
        A coil that cannot be lifted off the scalp.
    """
    report = progress or (lambda stage, fraction: None)
    report("setup", 0.0)
    prepared, active = prepare(head, element_order=element_order), load_coil(coil)
    model = prepared.head
    region = as_target(target).resolve(model)
    conditions = [("active", active, placement)]
    conditions += [(sham.name, *sham.apply(model, active, placement)) for sham in shams]
    measured = []
    for k, (name, used, where) in enumerate(conditions):
        report("forward", k / len(conditions))
        magnitude = simulate(prepared, used, where, didt=didt).magnitude
        metrics = field_metrics(model, magnitude, region.elements)
        measured.append((name, where, metrics["mean"], metrics["peak"]))
    _, _, whole, whole_peak = measured[0]
    return tuple(
        ShamResidual(
            name, where, mean, peak, 100 * mean / whole, None if peak is None else 100 * peak / whole_peak
        )
        for name, where, mean, peak in measured
    )


def _tilted(head, coil, placement, angle_deg, axis):
    pose = np.array(placement.matsimnibs)
    outward, around = -pose[:3, 2], pose[:3, axis]
    wanted = clearance_mm(head.scalp, coil, pose)
    turn = Rotation.from_rotvec(angle_deg * around, degrees=True).as_matrix()
    pose[:3, :3] = turn @ pose[:3, :3]

    def lifted(height):
        moved = pose.copy()
        moved[:3, 3] += height * outward
        return moved

    def short_of(height):
        return clearance_mm(head.scalp, coil, lifted(height)) - wanted

    if short_of(0.0) >= 0:
        return Placement(pose)
    if short_of(LIFT_MM) < 0:
        raise PlacementError(f"a coil tilted by {angle_deg:g} degrees cannot be lifted off the scalp")
    return Placement(lifted(brentq(short_of, 0.0, LIFT_MM, xtol=1e-3)))
