"""Every stage of one head, timed one by one, with the error of its result."""

from functools import partial

import engine
import numpy as np
from measure import RUNS, Row, timed

FORWARD_RTOLS = (1e-3, engine.DEFAULT_RTOL)
FIELD_RTOLS = (1e-5, engine.DEFAULT_RTOL)
EXACT_RTOL = 1e-10
N_STARTS = 20
N_ROWS = 300
"""Nodes whose right-hand side is computed again in float64 by plain NumPy."""

N_COMPARED = 4
"""Fields of a batch that are compared with the solution at `EXACT_RTOL`."""


def stage_rows(sources, coil, *, runs=RUNS):
    """All rows of a head.

    Parameters
    ----------
    sources : dict of str to str or path
        The head in each file format that is to be loaded; the last one is used.
    coil : Coil
    runs : int
        Runs of a stage at most.

    Returns
    -------
    rows : list of Row
    size : dict
        Numbers of nodes, tetrahedra, placements and the like.
    """
    clock = partial(timed, runs=runs)
    rows = []
    for kind, source in sources.items():
        head, row = clock(f"load ({kind})", partial(engine.load_head, source))
        rows.append(row)
    prepared = _set_up(head, clock, rows)
    currents = _adjoints(prepared, coil, clock, rows)
    size = _placements(prepared, coil, currents, clock, rows)
    del currents
    _forward(prepared, coil, clock, rows)
    return rows, {"nodes": len(head.nodes_mm), "tets": len(head.tets), "dipoles": len(coil.positions), **size}


def _set_up(head, clock, rows):
    given = partial(engine.fresh, head)
    _, row = clock("outer scalp", lambda model: model.scalp, given=given)
    rows.append(row)
    (geo, operators), row = clock("assembly", engine.assembled, given=given)
    matrix = engine.stiffness(geo, operators)
    scale = np.abs(matrix.data).max()
    row.errors["row sums"] = float(np.abs(matrix @ np.ones(matrix.shape[0])).max() / scale)
    row.errors["asymmetry"] = float(np.abs((matrix - matrix.T).data).max() / scale)
    rows.append(row)
    _, row = clock("solver set-up", partial(engine.hierarchy, matrix))
    rows.append(row)
    del geo, operators, matrix
    prepared, row = clock("head set-up", engine.set_up, given=given)
    rows.append(row)
    return prepared


def _adjoints(prepared, coil, clock, rows):
    """Rows of the adjoint solves; their values at a few placements against `EXACT_RTOL`."""
    region = engine.TARGET.resolve(prepared.head)
    where = engine.positions(prepared.head, engine.NORMAL)
    poses = [p.matsimnibs for p in engine.spread(where, 4)]
    loose, first = clock("three adjoints, rtol 1e-4", partial(engine.adjoints, prepared, region, 1e-4))
    currents, second = clock("three adjoints, default rtol", partial(engine.adjoints, prepared, region))
    exact = engine.adjoints(prepared, region, EXACT_RTOL)
    truth = _direct_values(exact, coil, poses)
    for row, found in ((first, loose), (second, currents)):
        difference = np.abs(_direct_values(found, coil, poses) - truth).max()
        row.errors["residual"] = float(found.residual.max())
        row.errors["values"] = float(difference / np.abs(truth).max())
    second.note = f"rtol {engine.ADJOINT_RTOL[1]:g}"
    rows += [first, second]
    return currents


def _direct_values(currents, coil, poses):
    return np.array([currents.coil_functionals(*engine.dipoles(coil, pose)) for pose in poses])


def _placements(prepared, coil, currents, clock, rows):
    head, yaw_deg = prepared.head, engine.DENSE.yaw_deg
    where, row = clock("scalp points", partial(engine.positions, head, engine.DENSE))
    rows.append(row)
    model = _exterior(prepared, coil, currents, where, clock, rows)
    field, row = clock("exterior: spline", partial(engine.spline, model, coil, where))
    rows.append(row)
    rows.append(_sum("exterior field", rows, ("exterior: sums", "exterior: fit", "exterior: spline")))
    _, row = clock("clearance of all placements", partial(engine.clear, head, coil, where, yaw_deg))
    rows.append(row)

    def all_values():
        functionals, error = engine.over_yaw(model, field, coil, where, yaw_deg)
        return engine.values(functionals), error

    (values, error), row = clock("placements", all_values)
    row.errors["yaw expansion"] = error
    row.note = f"{values.size:,d}, {1e6 * row.wall_s / values.size:.2f} us each"
    rows.append(row)
    rows.append(_polish(head, coil, field, where, values, clock))
    return {"positions": values.shape[0], "placements": values.size, "grid_best": float(values.max())}


def _exterior(prepared, coil, currents, where, clock, rows):
    """Rows of the fit, its direct sums apart; returns the model."""
    used = []

    def given():
        used[:] = [engine.ObservedCurrents.of(currents)]
        return used[0]

    model, row = clock("both", lambda c: engine.exterior(c, prepared.head, coil, where), given=given)
    wall, cpu = used[0].spent  # of the last run: sums and fit are stated for the same one
    sums = Row("exterior: sums", float(wall), float(cpu), row.runs, peak_mib=row.peak_mib)
    fit = Row(
        "exterior: fit", row.wall_s - sums.wall_s, row.cpu_s - sums.cpu_s, row.runs, peak_mib=row.peak_mib
    )
    fit.errors["rms, held out"] = model.error
    fit.note = f"{len(model.charges)} charges, {model.error_height_mm:.0f} mm above the scalp"
    rows += [sums, fit]
    return model


def _sum(stage, rows, parts):
    chosen = [row for row in rows if row.stage in parts]
    walls, cpus, peaks = zip(*((r.wall_s, r.cpu_s, r.peak_mib or 0) for r in chosen), strict=True)
    return Row(stage, sum(walls), sum(cpus), chosen[0].runs, peak_mib=max(peaks) or None, note="their sum")


def _polish(head, coil, field, where, values, clock):
    """Polish from positions spread over the grid, each at its best yaw."""
    starts = np.linspace(0, len(values) - 1, N_STARTS).astype(int)
    yaw_deg = engine.DENSE.yaw_deg

    def all_starts():
        return [engine.polished(field, coil, head, where, i, yaw_deg[values[i].argmax()]) for i in starts]

    found, row = clock(f"continuous polish, {N_STARTS} starts", all_starts)
    lost = np.maximum(values[starts].max(axis=1) - found, 0.0)
    row.errors["loss"] = float(lost.max() / values.max())
    row.note = f"best {max(found):.4f} V/m, grid {values.max():.4f}"
    return row


def _forward(prepared, coil, clock, rows):
    head, count = prepared.head, engine.BLOCK
    placements = engine.spread(engine.positions(head, engine.NORMAL), count)
    (b, _), row = clock("right-hand side alone", partial(engine.loads, prepared, coil, placements[:1]))
    row.errors["rms"] = _load_error(prepared, coil, placements[0], b[:, 0])
    rows.append(row)
    (b, rates), row = clock(
        f"right-hand side in {count}", partial(engine.loads, prepared, coil, placements), items=count
    )
    row.errors["rms"] = _load_error(prepared, coil, placements[-1], b[:, -1])
    rows.append(row)
    elements = np.flatnonzero(head.tags == 2)
    exact = _fields(prepared, engine.solved(prepared, b[:, :N_COMPARED], EXACT_RTOL), rates, elements)
    for rtol in FORWARD_RTOLS:
        for columns, words in ((1, "alone"), (count, f"in {count}")):
            rows.append(_solve(prepared, b[:, :columns], rates, rtol, words, exact, elements, clock))
    del b, rates
    for rtol in FIELD_RTOLS:
        one = partial(engine.forward, prepared, coil, placements[0], rtol)
        field, row = clock(f"one forward E after set-up, rtol {rtol:g}", one)
        row.errors = {"residual": field.residual, **_difference(field.E[elements][None], exact[:1])}
        rows.append(row)
        del field
        many = partial(engine.forward_many, prepared, coil, placements, rtol)
        rows.append(clock(f"forward E in {count}, rtol {rtol:g}", many, items=count)[1])


def _solve(prepared, b, rates, rtol, words, exact, elements, clock):
    width = b.shape[1]
    x, row = clock(
        f"forward solve {words}, rtol {rtol:g}", partial(engine.solved, prepared, b, rtol), items=width
    )
    matrix = engine.prepared_stiffness(prepared)
    row.errors["residual"] = float(
        max(np.linalg.norm(b[:, k] - matrix @ x[:, k]) / np.linalg.norm(b[:, k]) for k in range(width))
    )
    row.errors |= _difference(_fields(prepared, x[:, :N_COMPARED], rates, elements), exact[:width])
    return row


def _fields(prepared, x, rates, elements):
    """(k, n, 3) E on some tetrahedra."""
    return np.array(
        [engine.element_field(prepared, x[:, k], rates[:, :, k], elements) for k in range(x.shape[1])]
    )


def _difference(found, exact):
    """Largest and rms difference of |E| in grey matter, relative to the largest and the rms |E|."""
    found, exact = np.linalg.norm(found, axis=2), np.linalg.norm(exact, axis=2)
    apart = np.abs(found - exact)
    return {
        "|E| max": float((apart.max(axis=1) / exact.max(axis=1)).max()),
        "|E| rms": float(np.sqrt((apart**2).sum(axis=1) / (exact**2).sum(axis=1)).max()),
    }


def _load_error(prepared, coil, placement, b):
    """Relative rms error of a right-hand side at some nodes, against plain NumPy in float64."""
    chosen = np.random.default_rng(0).choice(len(b), N_ROWS, replace=False)
    positions, rates = engine.dipoles(coil, placement.matsimnibs)
    exact = engine.load_rows(prepared, chosen, lambda points: plain_dadt(points, positions, rates))
    return float(np.linalg.norm(b[chosen] - exact) / np.linalg.norm(exact))


def plain_dadt(points, positions, rates):
    """(n, 3) dA/dt of dipoles in float64, V/m."""
    r = points[:, None] - positions
    return 1e-7 * np.sum(np.cross(rates, r) / np.linalg.norm(r, axis=2, keepdims=True) ** 3, axis=1)
