"""Other ways to the exterior field and to the values of all placements."""

from functools import partial

import engine
import numpy as np
from measure import Row, timed

N_SAMPLE = 4
"""Placements that brute force on the mesh is timed with."""

N_MORE = 40
"""Placements that quicker ways are timed with, one call for all their dipoles."""

SPLINE_POSITIONS, SPLINE_YAW_STRIDE = 50, 9
"""Summing every dipole on the spline is timed with these of the positions and every ninth angle."""

FMM_EPS = (1e-3, 1e-5)


def field_sums(source, coil):
    """The adjoint currents' field at the points the exterior fit asks for."""
    prepared, currents, where = _adjoints(source)
    points = _fit_points(prepared, currents, coil, where)
    exact, direct = timed("direct sum, float64", partial(currents.field, points), runs=1)
    direct.note = f"{len(points):,d} points, {len(currents.nodes):,d} nodes"
    rows = [direct]
    single, row = timed("direct sum, float32", partial(currents.field, points, dtype=np.float32))
    row.errors = _field_errors(single, exact)
    return [*rows, row]


def fmm_sums(source, coil):
    """The same by the fast multipole method."""
    prepared, currents, where = _adjoints(source)
    points = _fit_points(prepared, currents, coil, where)
    exact, rows = currents.field(points), []
    for eps in FMM_EPS:
        found, row = timed(f"fmm3dpy, eps {eps:g}", partial(_fmm_field, currents, points, eps))
        row.errors = _field_errors(found, exact)
        rows.append(row)
    return rows


def _fmm_field(currents, points, eps):
    """B of node currents: the curl of A, whose components are potentials of three charges a node."""
    import fmm3dpy

    k = currents.currents.shape[1]
    charges = np.ascontiguousarray(currents.currents.reshape(len(currents.nodes), 3 * k).T)
    out = fmm3dpy.lfmm3d(
        eps=eps,
        sources=np.ascontiguousarray(currents.nodes.T),
        charges=charges,
        targets=np.ascontiguousarray(points.T),
        pgt=2,
        nd=3 * k,
    )
    slope = 1e-7 * FMM_UNIT * out.gradtarg.reshape(k, 3, 3, len(points))  # functional, component, d/dx
    curl = [slope[:, 2, 1] - slope[:, 1, 2], slope[:, 0, 2] - slope[:, 2, 0], slope[:, 1, 0] - slope[:, 0, 1]]
    return np.stack(curl, axis=2).transpose(1, 0, 2)


FMM_UNIT = 4 * np.pi
"""fmm3dpy 2 sums charge / (4 pi distance)."""


def _field_errors(found, exact):
    apart = np.linalg.norm(found - exact, axis=2)
    return {"max": float(apart.max() / np.linalg.norm(exact, axis=2).max())}


def _adjoints(source):
    prepared = engine.set_up(engine.load_head(source))
    where = engine.positions(prepared.head, engine.DENSE)
    return prepared, engine.adjoints(prepared, engine.TARGET.resolve(prepared.head)), where


def _fit_points(prepared, currents, coil, where):
    """The points at which the exterior fit sums over the mesh."""
    observed = engine.ObservedCurrents.of(currents)
    engine.exterior(observed, prepared.head, coil, where)
    return np.concatenate(observed.points)


def placements_direct(source, coil):
    """All placements by brute force on the mesh, extrapolated from a few."""
    _, currents, where = _adjoints(source)
    sample = engine.spread(where, N_SAMPLE)
    return [
        _extrapolated(
            "sum over mesh and dipoles", partial(_values, currents.field, coil, sample), where, N_SAMPLE
        )
    ]


def placements_fmm(source, coil):
    """The same by the fast multipole method, all dipoles of the sample in one call."""
    _, currents, where = _adjoints(source)
    sample = engine.spread(where, N_MORE)
    rows = []
    for eps in FMM_EPS:
        run = partial(_values, lambda points, eps=eps: _fmm_field(currents, points, eps), coil, sample)
        rows.append(_extrapolated(f"fmm3dpy, eps {eps:g}", run, where, len(sample)))
    return rows


def placements_fast(source, coil):
    """Every dipole on the charges and on the spline, yaw by yaw; and efield's own way."""
    prepared, currents, where = _adjoints(source)
    model = engine.exterior(currents, prepared.head, coil, where)
    field = engine.spline(model, coil, where)
    yaw_deg = engine.DENSE.yaw_deg
    few = where.at(np.linspace(0, len(where.poses) - 1, SPLINE_POSITIONS).astype(int))
    sample = engine.spread(where, N_MORE)
    charges = _extrapolated(
        "charges, every dipole", partial(_values, model.field, coil, sample), where, len(sample)
    )
    some = yaw_deg[::SPLINE_YAW_STRIDE]
    every = partial(engine.at_yaw, field, coil, few, some)
    spline = _extrapolated("spline, every dipole", every, where, SPLINE_POSITIONS * len(some))
    _, own = timed(
        "efield: spline and yaw expansion", partial(engine.over_yaw, model, field, coil, where, yaw_deg)
    )
    own.note = f"{len(where.poses) * len(yaw_deg):,d} placements, not extrapolated"
    return [charges, spline, own]


def _values(field, coil, placements):
    """Functionals of placements: every dipole, its field from `field`."""
    pairs = [engine.dipoles(coil, placement.matsimnibs) for placement in placements]
    b = field(np.concatenate([points for points, _ in pairs])).reshape(len(placements), -1, 3, 3)
    return -np.einsum("pjc,pjkc->pk", np.array([rates for _, rates in pairs]), b)


def _extrapolated(stage, function, where, sampled):
    _, row = timed(stage, function, runs=1)
    total = len(where.poses) * len(engine.DENSE.yaw_deg)
    scale = total / sampled
    return Row(
        stage,
        scale * row.wall_s,
        scale * row.cpu_s,
        peak_mib=row.peak_mib,
        note=f"EXTRAPOLATED to {total:,d} from {sampled} placements in {row.wall_s:.2f} s",
    )
