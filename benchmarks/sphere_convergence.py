"""How the error of the field falls with the mesh, on layered spheres with a closed form.

    python benchmarks/sphere_convergence.py [--json FILE] [--steps 1 2 3 4]

Spheres of 60, 75 and 90 mm (brain, skull, scalp), the built-in figure-8 coil 4 mm above at
1e6 A/s, on two families of meshes: structured ones (cones of the icosahedron, refined) and
unstructured ones (Delaunay meshes of irregular points). Layers are cut into whole steps of
15 mm / step. Errors are relative: volume-weighted vector L2 over the sphere and over the brain,
and the largest of the brain relative to the largest |E| there. "target" is the error of the mean
|E| in a ball of 10 mm, 15 mm below the brain's surface. The order is that of the L2 error, with
the cube root of the mean volume as the mesh size. Times are of one set-up and one forward field
with compiled kernels.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from efield.analytic.shapes import layered_sphere, random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.fem.source import dipoles_in_head
from efield.forward import simulate
from efield.io.atomic import atomic_path
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.placement import Placement
from efield.solve.prepared import prepare

RADII_MM = (60.0, 75.0, 90.0)
TAGS = (2, 4, 5)
BRAIN = 2
COARSEST_MM = 15.0
DIDT = 1e6
FAMILIES = {"structured": layered_sphere, "unstructured": random_layered_sphere}


def pose():
    """Over no axis of symmetry of the structured mesh."""
    outward = np.array([0.3, -0.5, 0.81])
    outward /= np.linalg.norm(outward)
    x = np.cross([0.2, 0.9, 0.1], outward)
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, np.cross(-outward, x), -outward], axis=-1)
    matrix[:3, 3] = (RADII_MM[-1] + 4.0) * outward
    return Placement(matrix)


def relative_l2(difference, exact, volumes):
    return float(np.sqrt((volumes @ np.sum(difference**2, axis=1)) / (volumes @ np.sum(exact**2, axis=1))))


def timed(function):
    """Value, wall seconds and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def measure(family, step, coil, placement):
    """One row of the table."""
    mesh = FAMILIES[family](RADII_MM, TAGS, COARSEST_MM / step)
    head = HeadModel.from_mesh(mesh)
    prepared, setup_wall, setup_cpu = timed(lambda: prepare(head))
    field, field_wall, field_cpu = timed(lambda: simulate(prepared, coil, placement, didt=DIDT))
    positions, moments = dipoles_in_head(coil, placement)
    exact = tms_field(positions, DIDT * moments, 1e-3 * mesh.barycentres_mm)

    volumes, brain = mesh.volumes_mm3, mesh.tags == BRAIN
    difference = field.E - exact
    e_mag = np.linalg.norm(exact, axis=1)
    outward = placement.center_mm / np.linalg.norm(placement.center_mm)
    target = brain & (np.linalg.norm(mesh.barycentres_mm - (RADII_MM[0] - 15) * outward, axis=1) < 10)
    mean, exact_mean = (np.average(m[target], weights=volumes[target]) for m in (field.magnitude, e_mag))
    return {
        "family": family,
        "nodes": len(mesh.nodes_mm),
        "tets": len(mesh.tets),
        "size_mm": float(np.cbrt(volumes.mean())),
        "l2": relative_l2(difference, exact, volumes),
        "l2_brain": relative_l2(difference[brain], exact[brain], volumes[brain]),
        "max_brain": float(np.linalg.norm(difference[brain], axis=1).max() / e_mag[brain].max()),
        "target_mean": float(mean / exact_mean - 1),
        "setup_wall_s": setup_wall,
        "setup_cpu_s": setup_cpu,
        "field_wall_s": field_wall,
        "field_cpu_s": field_cpu,
    }


def order(row, before):
    return np.log(row["l2"] / before["l2"]) / np.log(row["size_mm"] / before["size_mm"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 4])
    options = parser.parse_args()
    coil, placement = load_coil("figure8-70mm"), pose()
    measure("structured", 2, coil, placement)  # compiles
    print(
        "family            nodes      tets  size mm   L2 %  brain %  max %  target %  order set-up s  field s"
    )
    rows = []
    for family in FAMILIES:
        before = None
        for step in options.steps:
            row = measure(family, step, coil, placement)
            row["order"] = None if before is None else float(order(row, before))
            print(
                f"{family:12s} {row['nodes']:10,d} {row['tets']:9,d} {row['size_mm']:8.2f} "
                f"{100 * row['l2']:6.2f} {100 * row['l2_brain']:8.2f} {100 * row['max_brain']:6.1f} "
                f"{100 * row['target_mean']:+9.2f}  {row['order'] or float('nan'):5.2f} "
                f"{row['setup_wall_s']:9.2f} {row['field_wall_s']:8.2f}",
                flush=True,
            )
            rows.append(row)
            before = row
    if options.json:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps({"benchmark": "sphere_convergence", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
