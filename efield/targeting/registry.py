"""The register of targeting methods, and the check of what they return."""

from dataclasses import dataclass

import numpy as np

from efield.errors import LandmarkError, PlacementError
from efield.model.placement import Placement, describe_placement
from efield.targeting.noise import PlacementNoise
from efield.units import point_words

FAR_MM = 50.0
"""A coil farther from the scalp along its axis is in the air."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What a method found.

    Attributes
    ----------
    placement : Placement
    measured : str
        What was measured on the way, in words.
    """

    placement: Placement
    measured: str


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes
    ----------
    name : str
    find : callable
        ``find(case) -> Aim``; its docstring names the source.
    noise : PlacementNoise or None
        Published noise of placing a coil by this method; None where there is none.
    """

    name: str
    find: object
    noise: PlacementNoise | None = None

    @property
    def summary(self):
        """First line of the method's docstring."""
        return (self.find.__doc__ or "").strip().split("\n")[0]


METHODS = {}
"""Methods by name, in the order of their registration."""


def targeting_method(name, *, noise=None):
    """Register a function ``find(case) -> Aim`` under a name.

    A name that is taken is replaced, so that a project may put its own variant in place. ::

        @targeting_method("two fingers up")
        def two_fingers(case):
            \"\"\"How our clinic does it.\"\"\"
            point = case.ten_ten.positions["F3"] + [0, 0, 30]
            return Aim(case.place(point), "30 mm above F3")
    """

    def register(find):
        METHODS[name] = Method(name, find, noise)
        return find

    return register


def aim(name, case):
    """Apply a method; a coil that would touch the scalp there is moved back along its axis until it does not.

    Parameters
    ----------
    name : str
    case : TargetingCase

    Returns
    -------
    Aim

    Raises
    ------
    PlacementError
        No such method; the method's coil lies in the air or on the face.
    SearchError
        The coil touches wherever along its axis.
    EfieldError
        What the method needs is not there.
    """
    if name not in METHODS:
        raise PlacementError(f"unknown targeting method {name!r}; valid: {', '.join(METHODS)}")
    found = METHODS[name].find(case)
    _check_place(name, case, found.placement)
    placement, lift = case.clear_of_scalp(found.placement)
    if lift:
        found = Aim(
            placement, f"{found.measured}; moved back by {lift:.1f} mm, where the coil clears the scalp"
        )
    return found


def _check_place(name, case, placement):
    info = describe_placement(case.model, placement)
    if info["scalp_mm"] is None or info["distance_mm"] > FAR_MM:
        raise PlacementError(
            f"method {name!r} puts the coil in the air: its axis meets no scalp within {FAR_MM:g} mm of "
            f"{point_words(placement.center_mm)} mm"
        )
    try:
        marks, axes = case.ten_ten.fiducials, case.ten_ten.axes
    except LandmarkError:  # without landmarks nothing says where the face begins
        return
    level = np.cross(marks.right - marks.left, marks.nasion - (marks.left + marks.right) / 2)
    above = (np.asarray(info["scalp_mm"]) - marks.nasion) @ level
    if above * np.sign(level @ axes[2]) < 0:
        raise PlacementError(
            f"method {name!r} puts the coil on the face or the neck: {point_words(info['scalp_mm'])} mm "
            "lies below the plane of nasion and ears"
        )
