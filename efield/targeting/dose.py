"""Dose: dI/dt and percent of a stimulator's output, and the intensity that gives a wanted field.

A stimulator's largest dI/dt is measured, or shown by its display: the two differ by -4 to +10 %, so every
percentage says by which it is.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from efield.errors import CoilError, PlacementError
from efield.forward import simulate
from efield.metrics import weighted_mean
from efield.model.target import as_target

CALIBRATIONS = ("measured", "displayed")


@dataclass(frozen=True)
class Stimulator:
    """A stimulator with one coil, at 100 % of its output.

    Attributes
    ----------
    name : str
    measured_didt : float or None
        A/s, from a recorded waveform.
    displayed_didt : float or None
        A/s, as the device shows it.
    source : str
    """

    name: str
    measured_didt: float | None
    displayed_didt: float | None = None
    source: str = "given"

    def maximum(self, calibration="measured"):
        """dI/dt at 100 %, A/s.

        Raises
        ------
        CoilError
            Unknown calibration, or this stimulator has none by it.
        """
        if calibration not in CALIBRATIONS:
            raise CoilError(f"unknown calibration {calibration!r}; valid: {', '.join(CALIBRATIONS)}")
        value = self.measured_didt if calibration == "measured" else self.displayed_didt
        if value is None:
            raise CoilError(f"{self.name} has no {calibration} maximum; use the other calibration")
        if not np.isfinite(value) or value <= 0:
            raise CoilError(
                f"the {calibration} maximum of {self.name} must be a positive dI/dt, not {value!r}"
            )
        return value

    def didt(self, percent, calibration="measured"):
        """dI/dt (A/s) at a percentage of the maximum output."""
        if not 0 <= percent <= 100:
            raise CoilError(f"{percent!r} is no percentage of the maximum output: 0 to 100")
        return percent / 100 * self.maximum(calibration)

    def percent(self, didt, calibration="measured"):
        """Percentage of the maximum output at a dI/dt (A/s); above 100 it cannot be reached."""
        return 100 * didt / self.maximum(calibration)


_DRAKAKI = "Drakaki et al. 2022, Brain Stimul 15:697 (10.1016/j.brs.2022.04.017), metadata of the coil files"

_MAXIMA = {
    "MagPro X100": {
        "Cool-B65": (149.8, 155),
        "MCF-B65": (147.9, 151),
        "C-B60": (155.4, 161),
        "C-B70": (146.5, 152),
        "MC-B70": (155.3, 151),
        "Cool-B70": (143.8, 146),
        "Cool-D-B80": (146.4, 151),
        "MCF-75": (160.0, 163),
        "MMC-140-II": (124.4, 124),
        "C-100": (168.3, 173),
        "MRI-B91": (194.3, 203),
        "Cool-B35": (141.3, 145),
        "MC-B65-HO8": (129.0, 124),
    },
    "Magstim Rapid": {"D70": (114.7, None), "DCC": (84.4, None)},
    "DuoMAG XT": {"70BF": (101.1, None)},
}
"""Measured and displayed maxima, A/us."""

STIMULATORS = MappingProxyType(
    {
        f"{device} {coil}": Stimulator(
            f"{device} {coil}",
            measured * 1e6,
            None if displayed is None else displayed * 1e6,
            _DRAKAKI,
        )
        for device, coils in _MAXIMA.items()
        for coil, (measured, displayed) in coils.items()
    }
)
"""By name of device and coil."""


@dataclass(frozen=True)
class Dose:
    """An intensity and whether it can be reached.

    Attributes
    ----------
    didt : float
        A/s.
    field : float
        Mean |E| in the target there, V/m.
    percent : float
        Of the maximum output, by `calibration`.
    calibration : {"measured", "displayed"}
    reachable : bool
        Whether the stimulator goes that far.
    stimulator : str
    """

    didt: float
    field: float
    percent: float
    calibration: str
    reachable: bool
    stimulator: str


def dose_for(wanted, field, didt, stimulator, calibration="measured"):
    """The intensity that gives a wanted field.

    E is proportional to dI/dt.

    Parameters
    ----------
    wanted : float
        Mean |E| in the target, V/m.
    field : float
        The same at `didt`.
    didt : float
        A/s.
    stimulator : Stimulator or str
        One of :data:`STIMULATORS` by name.
    calibration : {"measured", "displayed"}

    Returns
    -------
    Dose

    Raises
    ------
    CoilError
        Unknown stimulator or calibration, or a field that is not positive.
    """
    stimulator = known_stimulator(stimulator)
    for name, value in (("wanted", wanted), ("field", field), ("didt", didt)):
        if not np.isfinite(value) or value <= 0:
            raise CoilError(f"{name} must be positive, not {value!r}")
    needed = didt * wanted / field
    percent = stimulator.percent(needed, calibration)
    return Dose(needed, wanted, percent, calibration, bool(percent <= 100), stimulator.name)


def known_stimulator(stimulator):
    """A Stimulator from itself or its name in :data:`STIMULATORS`.

    Raises
    ------
    CoilError
        No stimulator has that name.
    """
    if isinstance(stimulator, Stimulator):
        return stimulator
    if stimulator not in STIMULATORS:
        raise CoilError(f"unknown stimulator {stimulator!r}; valid: {', '.join(STIMULATORS)}")
    return STIMULATORS[stimulator]


@dataclass(frozen=True)
class MotorDose:
    """The motor threshold's field, and what gives the target as much.

    Attributes
    ----------
    motor_field, target_field : float
        Mean |E| in the motor target and in the target, each under its own placement, at `didt`, V/m.
    didt : float
        A/s at the motor threshold.
    threshold_percent : float
    equivalent : Dose
        Gives the target the motor target's field at threshold.
    """

    motor_field: float
    target_field: float
    didt: float
    threshold_percent: float
    equivalent: Dose


def motor_dose(
    head,
    coil,
    placement,
    target,
    motor_placement,
    threshold_percent,
    stimulator,
    *,
    motor_target="m1-hand-left",
    calibration="measured",
    element_order=None,
    progress=None,
):
    """E at the motor hotspot beside E at the target, and the intensity that makes them equal.

    Whether equal fields mean equal effects outside the motor cortex nobody knows; on average 133.5 % of the
    resting motor threshold gives the prefrontal cortex what 100 % gives M1 (Caulfield et al. 2021, Brain
    Stimul 14:1032).

    Parameters
    ----------
    head : HeadModel or PreparedHead
    coil : Coil, str or path
    placement : Placement
        Over the target.
    target : Target, str or (x, y, z)
    motor_placement : Placement
        Over the motor hotspot, where the threshold was found.
    threshold_percent : float
        Resting motor threshold, % of the maximum output by `calibration`.
    stimulator : Stimulator or str
    motor_target : Target, str or (x, y, z)
    calibration : {"measured", "displayed"}
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.
    progress : callable, optional
        ``progress(stage, fraction)``; may raise to cancel.

    Returns
    -------
    MotorDose

    Raises
    ------
    EfieldError
        As of :func:`dose_for` and :func:`efield.simulate`.
    """
    stimulator = known_stimulator(stimulator)
    didt = stimulator.didt(threshold_percent, calibration)
    if didt == 0:
        raise PlacementError("threshold_percent must not be 0")
    model = getattr(head, "head", head)
    both = [motor_placement, placement]
    fields = simulate(head, coil, both, didt=didt, element_order=element_order, progress=progress)
    regions = [as_target(t).resolve(model) for t in (motor_target, target)]
    motor, there = (
        weighted_mean(f.magnitude[r.elements], r.volumes_mm3) for f, r in zip(fields, regions, strict=True)
    )
    equivalent = dose_for(motor, there, didt, stimulator, calibration)
    return MotorDose(motor, there, didt, threshold_percent, equivalent)
