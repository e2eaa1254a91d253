"""How well the built-in figure-8 coil's dipoles stand for its winding, and what its assumptions are worth.

    python benchmarks/coil_discretization.py [--json FILE]

Errors are the largest |A - A_ref| over a plane below the casing, relative to the largest |A_ref|
there. The references are the same coil with ten times finer spacing, and the wires themselves:
current loops in closed form (elliptic integrals) summed over the cross-section of every turn.
The depth and spacing that fit published models of the same coil best are found where those files
are present in ../shared. Takes about a minute.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from efield.analytic.loop import loop_vector_potential
from efield.io.atomic import atomic_path
from efield.io.ccd import read_ccd
from efield.model.coil_geometry import MAGSTIM_70MM as WINDING
from efield.model.coil_geometry import MAGSTIM_70MM_WING_SPACING_MM as WING_SPACING_MM
from efield.model.coil_geometry import magstim_figure8_70mm

DEPTHS_MM = (0.0, 5.0, 10.0)
MODELS = ("Magstim_70mm_Fig8.ccd", "MagStim_D70.ccd")


def dipole_a(positions, moments, points, pairs=2_000_000):
    """(n, 3) vector potential of dipoles, T m; SI, plain NumPy, in blocks of `pairs`."""
    a = np.zeros((len(points), 3))
    step = max(1, pairs // len(points))
    for first in range(0, len(positions), step):
        r = points[:, None] - positions[None, first : first + step]
        weight = 1e-7 / np.sum(r * r, axis=2) ** 1.5
        a += np.einsum("pd,pdc->pc", weight, np.cross(moments[None, first : first + step], r))
    return a


def wire_a(winding, wing_spacing_mm, points, n_width=4, n_height=6):
    """(n, 3) vector potential of a figure-8 of loops spread over the wire's cross-section, T m."""
    across, across_weights = np.polynomial.legendre.leggauss(n_width)
    along, along_weights = np.polynomial.legendre.leggauss(n_height)
    middle = -winding.depth_mm - winding.wire_height_mm / 2
    a = np.zeros((len(points), 3))
    for sign in (1, -1):
        local = points - [sign * wing_spacing_mm / 2e3, 0.0, 0.0]
        for radius in winding.turn_radii_mm:
            for u, wu in zip(across, across_weights, strict=True):
                for v, wv in zip(along, along_weights, strict=True):
                    loop = (radius + u * winding.wire_width_mm / 2, middle + v * winding.wire_height_mm / 2)
                    a += sign * wu * wv / 4 * loop_vector_potential(loop[0] / 1e3, loop[1] / 1e3, local)
    return a


def plane(depth_mm, step_mm=6.0):
    """(n, 3) points, m, `depth_mm` below the casing's face and 2 cm beyond the windings."""
    x, y = np.meshgrid(np.arange(-108, 108.1, step_mm), np.arange(-63, 63.1, step_mm))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, depth_mm)], axis=1) / 1e3


def relative_max(a, reference):
    """Largest |a - reference| over the points, relative to the largest |reference|."""
    return float(np.linalg.norm(a - reference, axis=1).max() / np.linalg.norm(reference, axis=1).max())


def discretization(spacing_mm=8.0, finer=10, depths_mm=DEPTHS_MM):
    """Errors of the built-in coil at `spacing_mm`, one dict per depth."""
    coil = magstim_figure8_70mm(spacing_mm)
    fine = magstim_figure8_70mm(spacing_mm / finer)
    rows = []
    for depth in depths_mm:
        points = plane(depth)
        a = dipole_a(coil.positions, coil.moments, points)
        rows.append(
            {
                "depth_mm": depth,
                "n_dipoles": len(coil.moments),
                "finer": relative_max(a, dipole_a(fine.positions, fine.moments, points)),
                "wires": relative_max(a, wire_a(WINDING, WING_SPACING_MM, points)),
            }
        )
    return rows


def convergence(spacings_mm=(16.0, 12.0, 10.0, 8.0, 6.0, 4.0), depths_mm=DEPTHS_MM):
    """Error against the wires over the dipole spacing."""
    truth = {depth: wire_a(WINDING, WING_SPACING_MM, plane(depth)) for depth in depths_mm}
    rows = []
    for spacing in spacings_mm:
        coil = magstim_figure8_70mm(spacing)
        errors = {
            depth: relative_max(dipole_a(coil.positions, coil.moments, plane(depth)), a)
            for depth, a in truth.items()
        }
        rows.append({"spacing_mm": spacing, "n_dipoles": len(coil.moments), "wires": errors})
    return rows


def sensitivity(depths_mm=(5.0, 10.0, 20.0, 30.0)):
    """Relative change of |A| under the centre per millimetre of each assumed dimension."""
    points = np.array([[0.0, 0.0, depth] for depth in depths_mm]) / 1e3

    def a(winding_depth_mm, wing_spacing_mm):
        return -wire_a(replace(WINDING, depth_mm=winding_depth_mm), wing_spacing_mm, points)[:, 1]

    here = a(WINDING.depth_mm, WING_SPACING_MM)
    deeper, wider = a(WINDING.depth_mm + 1, WING_SPACING_MM), a(WINDING.depth_mm, WING_SPACING_MM + 1)
    return [
        {"depth_mm": d, "winding_depth": float(x), "wing_spacing": float(y)}
        for d, x, y in zip(depths_mm, deeper / here - 1, wider / here - 1, strict=True)
    ]


def fits(folder):
    """Winding depth and wing spacing that bring the wires closest to published models, 5 to 40 mm deep."""
    points = np.vstack([plane(depth, 12.0) for depth in (5.0, 10.0, 15.0, 20.0, 30.0, 40.0)])
    rows = []
    for path in (folder / name for name in MODELS):
        if not path.exists():
            continue
        record = read_ccd(path)
        model = dipole_a(record.positions_m, record.moments, points)
        scale = np.linalg.norm(model)

        def misfit(x, model=model, scale=scale):
            return ((wire_a(replace(WINDING, depth_mm=x[0]), x[1], points, 2, 3) - model) / scale).ravel()

        best = least_squares(misfit, [WINDING.depth_mm, WING_SPACING_MM])
        middle = best.x[0] + WINDING.wire_height_mm / 2
        residual = float(np.linalg.norm(best.fun))
        rows.append(
            {
                "model": path.name,
                "middle_depth_mm": float(middle),
                "wing_spacing_mm": float(best.x[1]),
                "residual": residual,
            }
        )
    return rows


def _print(result):
    print("Largest error of A over a plane, relative to the largest |A| there")
    print("depth mm   dipoles   vs 10x finer   vs wires")
    for row in result["discretization"]:
        print(f"{row['depth_mm']:8g} {row['n_dipoles']:9d} {row['finer']:14.2e} {row['wires']:10.2e}")
    print("\nspacing mm   dipoles   error vs wires at 0, 5, 10 mm")
    for row in result["convergence"]:
        errors = "  ".join(f"{e:.1e}" for e in row["wires"].values())
        print(f"{row['spacing_mm']:10g} {row['n_dipoles']:9d}   {errors}")
    print("\nChange of |A| under the centre per mm\ndepth mm   winding deeper   wings wider apart")
    for row in result["sensitivity"]:
        print(f"{row['depth_mm']:8g} {row['winding_depth']:16.2%} {row['wing_spacing']:19.2%}")
    for row in result["fits"]:
        print(
            f"\n{row['model']} is matched best (residual {row['residual']:.1%}) with the winding's middle "
            f"{row['middle_depth_mm']:.1f} mm behind the face, wings {row['wing_spacing_mm']:.1f} mm apart"
        )


def main():
    """Print the tables; write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    result = {
        "discretization": discretization(),
        "convergence": convergence(),
        "sensitivity": sensitivity(),
        "fits": fits(Path(__file__).resolve().parents[2] / "shared" / "data" / "coils"),
    }
    _print(result)
    if arguments.json:
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
