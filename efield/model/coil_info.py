"""What a coil is, for ``efield coil info``; its current is read off its computed field."""

from dataclasses import asdict, fields

import numpy as np

__all__ = ["describe_coil"]

PROBE_MM = (0.0, 0.0, 10.0)
"""Where "under the coil's centre" is taken: 10 mm into the head from the coil's origin."""

REVERSAL_TOLERANCE = 1e-5
"""Largest deviation, relative to the largest |A|, at which a half turn counts as a reversal of the
field: what the digits of coil files leave (2.7e-6 in one whose windings are exactly antisymmetric)."""

VANISHING = 0.01
"""Below this part of the largest |A| at its depth, the field under the centre has no direction."""

AXIS_TOLERANCE_DEG = 10.0


def describe_coil(coil):
    """Facts about a coil, JSON-ready.

    Parameters
    ----------
    coil : Coil

    Returns
    -------
    dict
        ``name``, ``n_dipoles``, ``bounds_mm`` (lowest and highest corner of the dipoles),
        ``z_range_mm``, ``sum_moments`` (sum of |m|, m^2 i.e. A m^2 per A), ``net_moment`` (3,) the
        same unit, ``casing_points`` (null: no casing), ``bare_dipoles`` (how many dipoles the casing does not
        cover: outside it or less than 1 mm inside), ``max_didt`` (A/s or null), ``stimulators`` (name,
        brand, ``max_didt``, ``displayed_max_didt``, A/s or null, ``waveforms``: name and duration, s),
        ``deformations`` (name, unit, initial, low, high, moves), ``fit_error`` (of equivalent dipoles, or
        null), ``notes``, ``sha256``; ``current`` in words; ``probe_mm`` and ``induced_e`` (3,),
        E = -dA/dt there per A/s of dI/dt, V/m, in the coil frame and without a head; ``half_turn``:
        ``effect`` of a yaw of
        180 degrees (``reverses``, ``keeps`` or ``changes`` the field), ``deviation`` from a reversal
        relative to the largest |A|, ``tolerance``, and ``text``.
    """
    low, high = coil.positions_mm.min(axis=0), coil.positions_mm.max(axis=0)
    field = -coil.a_field(np.array([PROBE_MM]))[0]
    return {
        "name": coil.name,
        "n_dipoles": len(coil.moments),
        "bounds_mm": [low.tolist(), high.tolist()],
        "z_range_mm": [float(low[2]), float(high[2])],
        "sum_moments": float(np.linalg.norm(coil.moments, axis=1).sum()),
        "net_moment": coil.moments.sum(axis=0).tolist(),
        "casing_points": None if coil.casing_mm is None else len(coil.casing_mm),
        "bare_dipoles": int(coil.bare.sum()),
        "max_didt": coil.max_didt,
        "stimulators": [_stimulator(s) for s in coil.stimulators],
        "deformations": [{**asdict(p), "moves": list(p.moves)} for p in coil.deformations],
        "fit_error": coil.fit_error,
        "notes": list(coil.notes),
        "sha256": coil.sha256,
        "current": _current_in_words(coil, field),
        "probe_mm": list(PROBE_MM),
        "induced_e": field.tolist(),
        "half_turn": _half_turn(coil),
    }


def _stimulator(stimulator):
    waveforms = [{"name": w.name, "duration": w.duration} for w in stimulator.waveforms]
    return {**{f.name: getattr(stimulator, f.name) for f in fields(stimulator)}, "waveforms": waveforms}


def _current_in_words(coil, field):
    largest = np.linalg.norm(coil.a_field(_plane(coil, PROBE_MM[2])), axis=1).max()
    strength = np.linalg.norm(field)
    if strength < VANISHING * largest:
        net = coil.moments.sum(axis=0)
        turning = f"; net dipole moment along {_direction(net)}, the current circulates about it right-handed"
        return (
            f"positive didt: induced E under the centre is below {100 * VANISHING:g} % of its largest value "
            f"at that depth" + (turning if np.linalg.norm(net) > 0 else "")
        )
    return (
        f"positive didt: induced E under the centre along {_direction(field)}; "
        f"coil current under the centre along {_direction(-field)}"
    )


def _direction(vector):
    """ "+y", "-y (3 deg off)" or, far from every axis, the unit vector."""
    unit = vector / np.linalg.norm(vector)
    axis = int(np.argmax(np.abs(unit)))
    off = np.degrees(np.arccos(min(1.0, abs(unit[axis]))))
    if off > AXIS_TOLERANCE_DEG:
        return "({:.2f}, {:.2f}, {:.2f})".format(*(np.round(unit, 2) + 0.0))  # + 0.0: no -0.00
    name = ("-" if unit[axis] < 0 else "+") + "xyz"[axis]
    return name if off < 1 else f"{name} ({off:.0f} deg off)"


def _half_turn(coil):
    """Compare A with the A of the coil turned by 180 degrees about z, at points below the casing."""
    points = np.vstack([_plane(coil, depth) for depth in (5.0, 10.0, 20.0, 40.0)])
    turn = np.array([-1.0, -1.0, 1.0])
    before, after = coil.a_field(points), turn * coil.a_field(turn * points)
    scale = np.linalg.norm(before, axis=1).max()
    reversal = float(np.linalg.norm(after + before, axis=1).max() / scale)
    identity = float(np.linalg.norm(after - before, axis=1).max() / scale)
    if reversal <= REVERSAL_TOLERANCE:
        effect, text = (
            "reverses",
            f"a yaw of 180 degrees reverses the field (to {reversal:.0e}): |E| does not change",
        )
    elif identity <= REVERSAL_TOLERANCE:
        effect, text = "keeps", "a yaw of 180 degrees leaves the field as it is"
    else:
        effect = "changes"
        text = f"a yaw of 180 degrees changes the field: {100 * reversal:.3g} % away from a reversal"
    return {"effect": effect, "deviation": reversal, "tolerance": REVERSAL_TOLERANCE, "text": text}


def _plane(coil, depth_mm, n=15):
    """(n * n, 3) points, mm, over the coil's extent, `depth_mm` beyond its origin or foremost point."""
    reach = 1.2 * np.abs(coil.extent_mm[:, :2]).max() + 10.0
    # A bent coil reaches past its own origin; keep the points clear of its dipoles.
    z = max(0.0, coil.extent_mm[:, 2].max()) + depth_mm
    x, y = np.meshgrid(np.linspace(-reach, reach, n), np.linspace(-reach, reach, n))
    return np.stack([x.ravel(), y.ravel(), np.full(n * n, z)], axis=1)
