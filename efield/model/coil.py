"""A TMS coil as magnetic dipoles."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from efield.errors import CoilError
from efield.kernels import dipole
from efield.kernels._jit import run_chunks
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.coil_extent import ExtentBlocks
from efield.model.fingerprint import fingerprint
from efield.units import to_m

COVER_MM = 1.0
"""A casing covers dipoles that lie this deep in it: it may itself dip half a millimetre into the scalp."""


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
        Points of the casing surface, where known.
    max_didt : float or None
        Largest dI/dt the stimulator reaches, A/s, where known.
    notes : tuple of str
        Source, assumptions, what is not modelled.
    stimulator : (n,) int array or None
        Which of `stimulators` drives each dipole; None where one drives all.
    stimulators : tuple of Stimulator
        Names, largest dI/dt and pulses, where known.
    didt_weights : tuple of float
        dI/dt of each stimulator relative to the run's; already in `moments`. Empty: all equal.
    fit_error : float or None
        Where the dipoles stand for wires or a sampled field: their relative error, see
        :mod:`efield.model.coil_fit`.
    sampled_boxes : tuple of (4, 4) arrays
        Where the field of the file was sampled, as maps from mm in the coil frame to the unit cube.
    assembly : CoilAssembly or None
        The parts of a ``.tcd`` file, which `deformed` puts together.
    settings : tuple of float
        Of the movable parts, in the order of `deformations`: where they are.
    casing : TriSurface or None
        The surface that `casing_mm` are points of, where known.
    covered : (n,) bool array or None
        Dipoles that the casing covers, where its surface tells; None: those in the convex hull of its points.

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
    stimulator: np.ndarray | None = field(default=None, repr=False)
    stimulators: tuple = field(default=(), repr=False)
    didt_weights: tuple = ()
    fit_error: float | None = None
    sampled_boxes: tuple = field(default=(), repr=False)
    assembly: object = field(default=None, repr=False)
    settings: tuple = ()
    casing: object = field(default=None, repr=False)
    covered: np.ndarray | None = field(default=None, repr=False)

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
        if self.covered is not None:
            covered = read_only(self.covered, bool)
            if covered.shape != (len(positions),):
                raise CoilError(
                    f"covered must say yes or no of {len(positions)} dipoles, not {covered.shape}"
                )
            object.__setattr__(self, "covered", covered)
        if self.stimulator is not None:
            drives = read_only(self.stimulator, np.int64)
            if drives.shape != (len(positions),) or drives.min() < 0:
                raise CoilError(f"stimulator must be {len(positions)} indices >= 0, not {drives.shape}")
            object.__setattr__(self, "stimulator", drives)

    @cached_property
    def positions(self):
        """(n, 3) dipole positions in metres."""
        return read_only(to_m(self.positions_mm))

    @cached_property
    def bare(self):
        """(n,) bool: dipoles that lie outside the casing or less than `COVER_MM` inside."""
        if self.casing_mm is None:
            return np.ones(len(self.positions_mm), bool)
        covered = _in_hull(self.positions_mm, self.casing_mm) if self.covered is None else self.covered
        return ~covered

    @cached_property
    def extent_mm(self):
        """(m, 3) points that may not enter the head: of the casing, and the dipoles it does not cover."""
        bare = self.positions_mm[self.bare]
        return read_only(bare if self.casing_mm is None else np.vstack([self.casing_mm, bare]))

    @cached_property
    def extent_blocks(self):
        """`extent_mm` in blocks, see :class:`~efield.model.coil_extent.ExtentBlocks`."""
        return ExtentBlocks.of(self.extent_mm)

    @cached_property
    def sha256(self):
        """Hash of positions and moments."""
        return fingerprint(self.positions_mm, self.moments)

    def a_field(self, points_mm):
        """(n, 3) vector potential per ampere, T m, at points (n, 3), mm in the coil frame."""
        return dipole_a_field(self.positions_mm, self.moments, points_mm)

    @property
    def n_stimulators(self):
        """How many stimulators drive the coil, each at a dI/dt of its own."""
        return 1 if self.stimulator is None else max(int(self.stimulator.max()) + 1, len(self.stimulators))

    def weighted(self, weights):
        """The coil with its stimulators at `weights` times their present dI/dt.

        Parameters
        ----------
        weights : sequence of float, one for each stimulator
            Relative to the ``didt`` of a run; negative turns the current round, 0 switches off.

        Returns
        -------
        Coil
            Its `max_didt` is the largest ``didt`` at which no stimulator exceeds its own.

        Raises
        ------
        CoilError
            A wrong number of weights, one that is not finite, or no current left.
        """
        factors = np.atleast_1d(np.asarray(weights, dtype=np.float64))
        if factors.shape != (self.n_stimulators,) or not np.isfinite(factors).all():
            raise CoilError(
                f"coil {self.name!r} needs {self.n_stimulators} finite weight(s), not {weights!r}"
            )
        drives = np.zeros(len(self.moments), int) if self.stimulator is None else self.stimulator
        total = factors * (self.didt_weights or np.ones(len(factors)))
        return replace(
            self,
            moments=self.moments * factors[drives, None],
            didt_weights=tuple(total.tolist()),
            max_didt=largest_didt(self.stimulators, total),
        )

    def not_sampled(self, points_mm):
        """(n,) bool: points (n, 3), mm in the coil frame, where the file of a sampled coil has no field."""
        outside = np.zeros(len(points_mm), bool)
        for box in self.sampled_boxes:
            unit = points_mm @ box[:3, :3].T + box[:3, 3]
            outside |= (np.abs(unit - 0.5) > 0.5 + 1e-6).any(axis=1)
        return outside

    @property
    def deformations(self):
        """Movable parts of the coil: a tuple of :class:`~efield.model.coil_assembly.Parameter`."""
        return () if self.assembly is None else self.assembly.parameters

    def deformed(self, values):
        """The coil with its movable parts set.

        Parameters
        ----------
        values : sequence of float, or mapping of name to float
            One for each of `deformations`, mm or degrees; what a mapping leaves out keeps its initial value.

        Returns
        -------
        Coil

        Raises
        ------
        CoilError
            No movable parts, a wrong number or name, a value out of its range, or parts that would meet.
        """
        if not self.deformations:
            raise CoilError(f"coil {self.name!r} has no movable parts")
        coil = self.assembly.coil(values)
        return coil.weighted(self.didt_weights) if self.didt_weights else coil


def _in_hull(points_mm, casing_mm):
    """(n,) bool: points `COVER_MM` and more inside the convex hull of a casing's points."""
    try:
        faces = ConvexHull(casing_mm).equations
    except (QhullError, ValueError):  # on a plane, or too few: nothing is inside
        return np.zeros(len(points_mm), bool)
    inside = np.ones(len(points_mm), bool)
    for face in faces:
        inside &= points_mm @ face[:3] + face[3] <= -COVER_MM
    return inside


def largest_didt(stimulators, weights):
    """Largest common dI/dt, A/s, at which no stimulator exceeds its own; None where one's is not known."""
    if len(stimulators) != len(weights):
        return None
    used = [(s.max_didt, abs(w)) for s, w in zip(stimulators, weights, strict=True) if w != 0]
    if not used or any(most is None for most, _ in used):
        return None
    return float(min(most / weight for most, weight in used))


def dipole_a_field(positions_mm, moments, points_mm):
    """(n, 3) vector potential of dipoles at points, T m; positions and points in mm."""
    points = np.ascontiguousarray(to_m(points_mm).T)
    out = np.empty((points.shape[1], 3, 1))
    sources = np.ascontiguousarray(to_m(positions_mm))[None], np.ascontiguousarray(moments)[None]
    run_chunks(dipole.vector_potential, len(out), points, *sources, out)
    return out[:, :, 0]
