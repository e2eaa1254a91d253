"""Does the exact search say how exact it is? The operator of `optimize_coil` against forward solutions.

For targets of 5, 10 and 20 mm: the operator error that the result reports, and the largest found
at 200 random feasible placements, each solved forward; pose gradients against central differences.

    python benchmarks/operator_error.py --head mni152
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measure import cores, machine
from report import print_table
from scipy.spatial.transform import Rotation
from three_heads import DIDT, new_run

import efield
from efield.kernels._jit import thread_count
from efield.search.candidates import Search
from efield.search.maxima import turned
from efield.search.operator import fields_on_target, relative_errors

POINT_MM = (-42.0, 44.0, 30.0)
RADII_MM = {5.0: 5e-3, 10.0: 5e-3, 20.0: 1e-2}
"""Radii of the targets, and the error that is demanded."""

OBJECTIVES = ("mean_magnitude", "percentile:99")
N_RANDOM = 200
N_GRADIENTS = 8

COLUMNS = (
    "target, mm",
    "elements",
    "objective",
    "modes",
    "error reported",
    "largest at 200",
    "rms at 200",
    "demand",
    "gradient",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--head", default="mni152")
    parser.add_argument("--json")
    options = parser.parse_args()
    coil, head = efield.load_coil("figure8-70mm"), efield.load_head(options.head)
    prepared = efield.prepare(head)
    targets = {radius: efield.Target.mni(POINT_MM, radius) for radius in RADII_MM}
    regions = {radius: target.resolve(head) for radius, target in targets.items()}
    poses, solved = None, None
    rows = []
    for objective in OBJECTIVES:
        for radius, region in regions.items():
            start = time.perf_counter()
            result = efield.optimize_coil(prepared, coil, targets[radius], objective=objective)
            seconds = time.perf_counter() - start
            run = new_run(prepared, coil, region, objective, Search(radius_mm=result.search["radius_mm"]))
            found = run.on_elements(run.search_grid(run.search.radius_mm))
            if poses is None:
                poses = random_poses(found)
                largest = regions[max(RADII_MM)].elements
                solved = fields_on_target(prepared, coil, poses, largest, DIDT)
            at = np.array([np.flatnonzero(largest == e)[0] for e in region.elements])
            row = judged(run, found, poses, solved[:, at])
            row |= {
                "objective": objective,
                "radius_mm": radius,
                "elements": len(region.elements),
                "modes": result.search["operator_modes"],
                "reported": result.search["operator_error"],
                "demand": RADII_MM[radius],
                "optimize_wall_s": seconds,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    report = {"machine": machine(), "threads": thread_count(), "head": options.head, "rows": rows}
    print(f"\n{options.head}, {thread_count()} threads on {cores()} cores, {report['machine']['revision']}\n")
    print_table(COLUMNS, [line(row) for row in rows])
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


def line(row):
    return (
        f"{row['radius_mm']:g}",
        row["elements"],
        f"`{row['objective']}`",
        row["modes"],
        f"{row['reported']:.1e}",
        f"{row['largest']:.1e}",
        f"{row['rms']:.1e}",
        f"{row['demand']:g}",
        "–" if row["gradient"] is None else f"{row['gradient']:.0e}",
    )


def random_poses(found):
    """Feasible positions of the grid at angles of no grid."""
    rng = np.random.default_rng(11)
    positions = rng.choice(np.flatnonzero(found.feasible.all(axis=1)), N_RANDOM)
    return np.stack([turned(found.poses[i], rng.uniform(-180.0, 180.0)) for i in positions])


def judged(run, found, poses, solved):
    """The search's values at poses against their forward solutions."""
    forward = np.array([run.value_of(e_field) for e_field in solved])
    search = np.array([value_at(run, found, pose) for pose in poses])
    gradients = [gradient_error(run, found, p) for p in poses[:N_GRADIENTS]] if found.goal.smooth else None
    return {
        "largest": float(relative_errors(search, forward).max()),
        "rms": float(np.sqrt(np.mean((search / forward - 1) ** 2))),
        "gradient": None if gradients is None else max(gradients),
    }


def value_at(run, found, pose):
    return float(found.goal.of_functionals(found.field.functionals(run.coil, pose[None], DIDT)[0]))


def gradient_error(run, found, pose, step=1e-5):
    """Largest relative difference from central differences along the slopes of shifts and of turns."""
    functionals, slopes = (a[0] for a in found.field.gradients(run.coil, pose[None], DIDT))
    gradient = found.goal.slope(functionals) @ slopes
    worst = 0.0
    for part in (0, 3):
        along = gradient[part : part + 3] / np.linalg.norm(gradient[part : part + 3])
        ends = [value_at(run, found, moved(pose, sign * step * along, part)) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        worst = max(worst, abs(slope / np.linalg.norm(gradient[part : part + 3]) - 1))
    return float(worst)


def moved(pose, vector, part):
    """Pose shifted by metres (part 0) or turned by a rotation vector (part 3)."""
    new = pose.copy()
    if part == 0:
        new[:3, 3] += 1e3 * vector
    else:
        new[:3, :3] = Rotation.from_rotvec(vector).as_matrix() @ pose[:3, :3]
    return new


if __name__ == "__main__":
    main()
