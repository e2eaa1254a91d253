"""Several coils as one: their fields superpose, and each keeps its own dI/dt."""

from dataclasses import replace

import numpy as np

from efield.errors import CoilError
from efield.io.stimulator import Stimulator
from efield.model.coil import Coil, largest_didt
from efield.model.coils import load_coil
from efield.model.placement import Placement

__all__ = ["join_coils"]


def join_coils(coils, placements):
    """Coils in fixed places as one coil, in the frame of the first.

    ``simulate(head, join_coils(coils, placements), placements[0])`` is the field of all of them at
    once; moved or optimized, they move as one rigid body.

    Parameters
    ----------
    coils : sequence of Coil, str or path
    placements : sequence of Placement or (4, 4) array
        One for each coil, in one frame.

    Returns
    -------
    Coil
        Its stimulators are those of the first coil, then of the second, ...: `Coil.weighted` gives
        each a dI/dt of its own.

    Raises
    ------
    CoilError
        No coils, or not one placement for each.
    """
    coils = [load_coil(coil) for coil in coils]
    poses = [p.matsimnibs if isinstance(p, Placement) else Placement(p).matsimnibs for p in placements]
    if not coils or len(coils) != len(poses):
        raise CoilError(
            f"{len(coils)} coil(s) and {len(poses)} placement(s): give one placement for each coil"
        )
    moves = [np.linalg.inv(poses[0]) @ pose for pose in poses]
    first = np.cumsum([0, *(coil.n_stimulators for coil in coils)])
    stimulators = tuple(s for coil in coils for s in _stimulators(coil))
    weights = np.concatenate([coil.didt_weights or np.ones(coil.n_stimulators) for coil in coils])
    fits = [coil.fit_error for coil in coils if coil.fit_error is not None]
    return Coil(
        positions_mm=np.vstack([_moved(m, c.positions_mm) for m, c in zip(moves, coils, strict=True)]),
        moments=np.vstack([c.moments @ m[:3, :3].T for m, c in zip(moves, coils, strict=True)]),
        name=" + ".join(coil.name for coil in coils),
        casing_mm=np.vstack([_moved(m, c.extent_mm) for m, c in zip(moves, coils, strict=True)]),
        max_didt=largest_didt(stimulators, weights),
        notes=tuple(f"{coil.name}: {note}" for coil in coils for note in coil.notes),
        stimulator=np.concatenate([_drives(c) + k for c, k in zip(coils, first[:-1], strict=True)]),
        stimulators=stimulators,
        covered=np.concatenate([~coil.bare for coil in coils]),
        didt_weights=tuple(weights.tolist()) if any(coil.didt_weights for coil in coils) else (),
        fit_error=max(fits, default=None),
        sampled_boxes=tuple(
            box @ np.linalg.inv(m) for m, c in zip(moves, coils, strict=True) for box in c.sampled_boxes
        ),
    )


def _moved(matrix, points_mm):
    return points_mm @ matrix[:3, :3].T + matrix[:3, 3]


def _drives(coil):
    return np.zeros(len(coil.moments), int) if coil.stimulator is None else coil.stimulator


def _stimulators(coil):
    """One for each stimulator of a coil; a coil's own largest dI/dt where its stimulator states none."""
    known = coil.stimulators or (Stimulator(),) * coil.n_stimulators
    if len(known) == 1 and known[0].max_didt is None:
        return (replace(known[0], max_didt=coil.max_didt),)
    return known
