"""The exterior field at the dipoles of real coils, and the fast placement values, against direct sums.

Model: the harmonic model's field against the float64 sum over the mesh, per band of dipole-to-scalp
distance, relative to the largest value at any dipole of that coil and casing. Placements: spline and
yaw expansion against summing the SAME model at every dipole, relative to the largest value.
"""

import itertools
from dataclasses import replace

import engine
import numpy as np

from efield.model.coil_geometry import Casing, Winding, circular, magstim_figure8_70mm

CASINGS_MM = (0.0, 4.0, 10.0)
BANDS_MM = (0.0, 2.0, 4.0, 7.0, 12.0, np.inf)
N_POSES = 5
N_TRIED = 15
TOUCH_MM = 0.5
"""The casing may come this much nearer than stated: a flat face touches a bump first."""

CHECK_YAW_DEG = np.arange(0.0, 360.0, 45.0)
YAW_DEG = np.arange(0.0, 360.0, 15.0)
FOLD_DEG = 20.0


def coils():
    """A figure-8, a round coil and a bent one; and a thin one whose dipoles come nearer than real ones."""
    flat = magstim_figure8_70mm()
    round_coil = circular(Winding(66.0, 123.0, 14, 1.75, 6.0, 5.0), Casing(16.0, 6.0), name="round 90 mm")
    thin = circular(
        Winding(30.0, 90.0, 10, 2.0, 2.0, 0.5), Casing(6.0, 5.0), spacing_mm=5.0, name="thin round"
    )
    return (flat, round_coil, folded(flat, FOLD_DEG), thin)


def folded(coil, degrees):
    """The coil with both wings turned towards the head about the y axis."""
    angle = np.radians(degrees) * np.sign(coil.positions_mm[:, 0])
    casing_angle = np.radians(degrees) * np.sign(coil.casing_mm[:, 0])
    return replace(
        coil,
        positions_mm=_turned_up(coil.positions_mm, angle),
        moments=_turned_up(coil.moments, angle),
        casing_mm=_turned_up(coil.casing_mm, casing_angle),
        name=f"figure-8 folded by {degrees:g} degrees",
        notes=(),
    )


def _turned_up(vectors, angle):
    """Vectors (n, 3) turned about the y axis, each so that its wing's end moves towards +z."""
    x, y, z = vectors.T
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * x - sine * z, y, sine * x + cosine * z], axis=1)


def accuracy_rows(source, tried):
    """Bands and placement errors of some coils at each casing distance, on one head.

    Parameters
    ----------
    source : str or path
    tried : sequence of Coil

    Returns
    -------
    dict
        ``model``: a row per band; ``placements``: a row per coil and casing.
    """
    head = engine.load_head(source)
    prepared = engine.set_up(head)
    currents = engine.adjoints(prepared, engine.TARGET.resolve(head))
    bands, placements = [], []
    for coil in tried:
        for casing_mm in CASINGS_MM:
            chosen = _chosen(head, coil, casing_mm)
            whole = engine.positions(head, engine.NORMAL, chosen.distance_mm)
            model = engine.exterior(currents, head, coil, whole)
            name = {"coil": coil.name, "casing_mm": casing_mm, "origin_mm": float(chosen.distance_mm)}
            bands += [name | row for row in _bands(head, currents, model, coil, chosen)]
            placements.append(name | _placements(model, coil, chosen))
    return {"model": bands, "placements": placements}


def _chosen(head, coil, casing_mm):
    """Positions at which the casing stays about `casing_mm` off the scalp at every yaw.

    The coil's origin is as high as the casing needs at the `N_POSES` easiest of `N_TRIED` positions:
    for a flat coil near `casing_mm`, for one bent towards the head higher.
    """
    where = engine.positions(head, engine.NORMAL, casing_mm)
    tried = np.random.default_rng(0).permutation(len(where.poses))[:N_TRIED]
    gaps = np.array([engine.casing_gap_mm(head, coil, where.poses[i], CHECK_YAW_DEG) for i in tried])
    easiest = np.argsort(-gaps, kind="stable")[:N_POSES]
    missing = casing_mm - TOUCH_MM - gaps[easiest].min()
    return engine.positions(head, engine.NORMAL, casing_mm + max(0.0, missing)).at(np.sort(tried[easiest]))


def _bands(head, currents, model, coil, chosen):
    """Errors of the model at the dipoles of the chosen positions, each at a yaw of its own."""
    placements = engine.turned(chosen.poses, 137.0 * np.arange(len(chosen.poses)))
    points = np.concatenate([engine.dipoles(coil, p.matsimnibs)[0] for p in placements])
    truth = currents.field(points)
    error = np.linalg.norm(model.field(points) - truth, axis=2).max(axis=1)
    error /= np.linalg.norm(truth, axis=2).max()
    height = engine.scalp_distance_mm(head, points)
    for low, high in itertools.pairwise(BANDS_MM):
        inside = (height >= low) & (height < high)
        found = error[inside]
        yield {
            "low_mm": low,
            "high_mm": high if np.isfinite(high) else None,
            "dipoles": len(found),
            "rms": float(np.sqrt(np.mean(found**2))) if len(found) else None,
            "max": float(found.max()) if len(found) else None,
        }


def _placements(model, coil, chosen):
    """Errors of spline and yaw expansion at the chosen positions and `YAW_DEG`."""
    field = engine.spline(model, coil, chosen)
    fast, estimate = engine.over_yaw(model, field, coil, chosen, YAW_DEG)
    summed = engine.at_yaw(field, coil, chosen, YAW_DEG)
    exact = np.empty_like(fast)
    for i, pose in enumerate(chosen.poses):
        for j, placement in enumerate(engine.turned(np.repeat(pose[None], len(YAW_DEG), axis=0), YAW_DEG)):
            points, rates = engine.dipoles(coil, placement.matsimnibs)
            exact[i, j] = -np.einsum("jc,jkc->k", rates, model.field(points))
    scale = np.linalg.norm(exact, axis=2).max()
    return {
        "positions": len(chosen.poses),
        "spline": float(np.linalg.norm(summed - exact, axis=2).max() / scale),
        "yaw_and_spline": float(np.linalg.norm(fast - exact, axis=2).max() / scale),
        "engine_estimate": estimate,
        "expansion_used": not np.array_equal(fast, summed),
    }
