"""Equivalent dipoles of sampled fields, on coils that the fit's thresholds were not chosen on.

    python benchmarks/coil_fit.py [--json FILE]

A of coils of known dipoles is sampled on grids of several steps and shifts, in single precision as a
`.nii.gz` holds it, also with noise; equivalent dipoles are fitted, and A of theirs and of the coil's are
compared in the nearer half of a ball of 75 mm, a brain, that comes within 12 mm of the nearest dipole: rms of
the difference over rms, and largest difference over largest |A|. Beside it stands the error that the
fit reports. Coils: built-in ones, and files of ../shared/data/coils where present. Takes three minutes.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from efield.errors import CoilError
from efield.io.atomic import atomic_path
from efield.model.coil import dipole_a_field
from efield.model.coil_fit import HEAD_MM, fit_grid
from efield.model.coils import load_coil

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "coils"
BUILT_IN = ("bent-d-b80", "figure8-c-b60", "figure8-mri-b91", "figure8-cool-b35", "round-90mm")
FILES = ("MagVenture_MCF-B65.ccd",)
STEPS_MM = (3.0, 5.0)
SHIFTS = (0.0, 0.37)
NOISE = (1e-5, 1e-4)
"""Of the largest |A|, but for the highest thousandth: a sample may lie beside a dipole."""

BRAIN_MM = 75.0

BESIDE_MM, BELOW_MM, ABOVE_MM = 70.0, 30.0, 100.0


def sampled(coil, step_mm, shift):
    """Affine and A (nx, ny, nz, 3) on a grid round a coil, moved by `shift` of a step along each axis."""
    low = coil.positions_mm.min(axis=0) - [BESIDE_MM, BESIDE_MM, BELOW_MM] + shift * step_mm
    high = coil.positions_mm.max(axis=0) + [BESIDE_MM, BESIDE_MM, ABOVE_MM]
    axes = [np.arange(a, b, step_mm) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    affine = np.diag([step_mm] * 3 + [1.0])
    affine[:3, 3] = low
    return affine, dipole_a_field(coil.positions_mm, coil.moments, points.reshape(-1, 3)).reshape(
        points.shape
    )


def brain_points(coil, count=1500, seed=3):
    """(n, 3) points of a ball of `BRAIN_MM` as near the coil along z as keeps `HEAD_MM` off every dipole."""
    rng = np.random.default_rng(seed)
    away = np.hypot(*coil.positions_mm[:, :2].T)
    over = np.sqrt(np.maximum((BRAIN_MM + HEAD_MM) ** 2 - away**2, 0.0))
    middle = (coil.positions_mm[:, 2] + over)[away < BRAIN_MM + HEAD_MM].max()
    points = rng.uniform(-BRAIN_MM, BRAIN_MM, (4 * count, 3))
    points = points[(np.linalg.norm(points, axis=1) <= BRAIN_MM) & (points[:, 2] < 0)][:count]
    return points + [0, 0, middle]


def row(coil, step_mm, shift, noise, points):
    """One fit: what it reports and what it does."""
    affine, data = sampled(coil, step_mm, shift)
    if noise:
        scale = noise * np.quantile(np.linalg.norm(data, axis=-1), 0.999)
        data = data + scale * np.random.default_rng(0).standard_normal(data.shape)
    facts = {"coil": coil.name, "step_mm": step_mm, "shift": shift, "noise": noise}
    try:
        fit = fit_grid(affine, data.astype(np.float32))
    except CoilError as error:
        return {**facts, "refused": str(error)}
    exact = dipole_a_field(coil.positions_mm, coil.moments, points)
    apart = dipole_a_field(fit.positions_mm, fit.moments, points) - exact
    return {
        **facts,
        "dipoles": len(fit.moments),
        "reported": fit.error,
        "rms": float(np.linalg.norm(apart) / np.linalg.norm(exact)),
        "largest": float(np.linalg.norm(apart, axis=1).max() / np.linalg.norm(exact, axis=1).max()),
    }


def study():
    """Rows of every coil, step, shift and noise."""
    rows = []
    for source in (*BUILT_IN, *(SHARED / name for name in FILES)):
        if isinstance(source, Path) and not source.exists():
            continue
        coil = load_coil(source)
        points = brain_points(coil)
        for step in STEPS_MM:
            for shift, noise in (*((shift, 0.0) for shift in SHIFTS), *((SHIFTS[1], n) for n in NOISE)):
                rows.append(row(coil, step, shift, noise, points))
                print(_line(rows[-1]), flush=True)
    return rows


def _line(found):
    start = f"{found['coil']:22} {found['step_mm']:5g} {found['shift']:6g} {found['noise']:7g}"
    if "refused" in found:
        return f"{start}  refused: {found['refused']}"
    errors = "".join(f"{found[key]:11.2e}" for key in ("reported", "rms", "largest"))
    return f"{start} {found['dipoles']:8d}{errors}"


def main():
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print("coil                    step  shift   noise  dipoles   reported        rms    largest")
    rows = study()
    fitted = [r for r in rows if "rms" in r]
    within = sum(r["rms"] <= 1e-3 for r in fitted)
    told = sum(r["reported"] >= 0.5 * r["rms"] for r in fitted)
    print(
        f"\n{len(rows)} grids: {len(rows) - len(fitted)} refused, {within} within 1e-3, largest rms ", end=""
    )
    print(f"{max(r['rms'] for r in fitted):.2g}; the reported error is at least half the true one in {told}")
    if arguments.json:
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
