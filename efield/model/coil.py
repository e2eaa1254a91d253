"""A TMS coil as magnetic dipoles."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from efield.errors import CoilError
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.fingerprint import fingerprint
from efield.units import to_m


@dataclass(frozen=True, eq=False)
class Coil(FieldsOnlyPickle):
    """Magnetic dipoles of a coil, in its own frame.

    The frame is that of matsimnibs: x, y in the coil plane, z into the head, origin at
    the casing's face under the coil's centre (where the source file puts it).

    Parameters
    ----------
    positions_mm : (n, 3) array
        Dipole positions, millimetres.
    moments : (n, 3) array
        Dipole moments per ampere of coil current, A m^2 / A = m^2.
    name : str
    casing_mm : (m, 3) array or None
        Points of the casing surface, where known; clearance falls back on the dipoles.
    max_didt : float or None
        Largest dI/dt the stimulator reaches, A/s, where known.
    notes : tuple of str
        Source, assumptions, what is not modelled.

    Raises
    ------
    CoilError
        No dipoles, wrong shapes, values that are not finite, or all moments zero.
    """

    positions_mm: np.ndarray
    moments: np.ndarray
    name: str = "coil"
    casing_mm: np.ndarray | None = field(default=None, repr=False)
    max_didt: float | None = None
    notes: tuple = ()

    def __post_init__(self):
        positions = read_only(np.atleast_2d(self.positions_mm), np.float64)
        moments = read_only(np.atleast_2d(self.moments), np.float64)
        if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
            raise CoilError(f"positions_mm must have shape (n, 3) with n > 0, not {positions.shape}")
        if moments.shape != positions.shape:
            raise CoilError(f"moments have shape {moments.shape}, positions {positions.shape}")
        for what, values in (("position", positions), ("moment", moments)):
            finite = np.isfinite(values).all(axis=1)
            if not finite.all():
                bad = int(np.argmin(finite))
                raise CoilError(f"{what} of dipole {bad} is not finite: {values[bad]}")
        if not np.any(moments):
            raise CoilError(f"all {len(moments)} dipole moments of {self.name!r} are zero")
        object.__setattr__(self, "positions_mm", positions)
        object.__setattr__(self, "moments", moments)
        if self.casing_mm is not None:
            object.__setattr__(self, "casing_mm", read_only(self.casing_mm, np.float64))

    @cached_property
    def positions(self):
        """(n, 3) dipole positions in metres."""
        return read_only(to_m(self.positions_mm))

    @property
    def extent_mm(self):
        """(m, 3) points that may not enter the head: the casing, else the dipoles."""
        return self.positions_mm if self.casing_mm is None else self.casing_mm

    @cached_property
    def sha256(self):
        """Hash of positions and moments."""
        return fingerprint(self.positions_mm, self.moments)
