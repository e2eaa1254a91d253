"""Is the reported optimum the optimum of its objective, and does the choice of objective matter?

For each head and objective: the optimum of `optimize_coil` against the target operator evaluated
on a dense grid of the same feasible set (0.57 mm and 1 degree on the default radius, 2.1 million
placements), its best placements solved forward; against 200 random feasible poses solved forward;
the operator's error at those against what was reported; pose gradients against central
differences. Then what each objective's placement costs by the others' measure.

    python benchmarks/objectives.py --colin ../shared/data/meshes/colin27_fullhead_4tissue_derived.msh.gz

Colin27 has scalp and skull in one tissue, here of 0.05 S/m.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import efield
from efield.analytic.shapes import random_layered_sphere
from efield.search.candidates import Search
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.maxima import distinct_maxima, turned
from efield.search.objectives import make_objective
from efield.search.operator import fields_on_target, relative_errors
from efield.search.run import Run

OBJECTIVES = ("mean_magnitude", "magnitude_of_mean", "percentile:99")
DIDT = 1e6
N_RANDOM = 200
N_DENSE_JUDGED = 16
N_GRADIENTS = 8
DIRECTION = np.array([-0.5, 0.5, 0.7]) / np.linalg.norm([-0.5, 0.5, 0.7])


def heads(options):
    """Name, head and target of each head asked for."""
    if "sphere" in options.heads:
        mesh = random_layered_sphere([66.0, 72.0, 78.0, 85.0], [2, 3, 4, 5], options.sphere_edge_mm, seed=1)
        target = efield.Target.sphere(60.0 * DIRECTION, options.radius)
        yield "sphere", efield.HeadModel.from_mesh(mesh, name="sphere"), target
    if "mni152" in options.heads:
        target = efield.Target.mni((-42.0, 44.0, 30.0), options.radius)
        yield "mni152", efield.load_head("mni152"), target
    if options.colin:
        head = efield.load_head(options.colin, conductivity={5: 0.05})
        under_f3 = (-39.7, 60.0, 16.7)  # grey matter nearest to the head's own F3
        yield "colin27", head, efield.Target.sphere(under_f3, options.radius)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--heads", nargs="*", default=["sphere", "mni152"], choices=["sphere", "mni152"])
    parser.add_argument("--colin", help="the Colin27 mesh; left out without it")
    parser.add_argument("--radius", type=float, default=5.0, help="of the target, mm")
    parser.add_argument("--spacing", type=float, default=0.57, help="of the dense grid, mm")
    parser.add_argument("--sphere-edge-mm", type=float, default=5.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    coil = efield.load_coil("figure8-70mm")
    report = {"target_radius_mm": options.radius, "coil": coil.name, "heads": {}}
    for name, head, target in heads(options):
        prepared = efield.prepare(head)
        region = target.resolve(head)
        print(f"\n{name}: {len(head.tets):,d} tetrahedra, {len(region.elements)} in the target")
        rows, results = {}, {}
        for objective in OBJECTIVES:
            start = time.perf_counter()
            results[objective] = efield.optimize_coil(prepared, coil, target, objective=objective)
            seconds = time.perf_counter() - start
            rows[objective] = judged(prepared, coil, region, objective, results[objective], options.spacing)
            rows[objective]["optimize_wall_s"] = seconds
            print(f"  {objective}")
            for key, value in rows[objective].items():
                print(f"    {key:34} {value}")
        crossed = cross_table(prepared, coil, region, results)
        print_cross(crossed)
        report["heads"][name] = {"objectives": rows, "crossed": crossed}
        if options.json:
            Path(options.json).write_text(json.dumps(report, indent=1))


def judged(prepared, coil, region, objective, result, spacing_mm):
    """One optimum against the dense grid and random poses, and the operator against forward solutions."""
    best = result.objective.value
    row = {
        "optimum_V_per_m": best,
        "operator_error_reported": result.search["operator_error"],
        "operator_modes": result.search["operator_modes"],
        "warnings": [w.code for w in result.warnings],
    }
    run = new_run(prepared, coil, region, objective, Search())
    found = run.explore()
    poses = random_poses(found, N_RANDOM)
    forward = forward_values(run, poses)
    row["best_of_200_random_excess"] = float(forward.max() / best - 1)
    search = np.array([value_at(run, found, pose) for pose in poses])
    row["search_error_at_random_max"] = float(relative_errors(search, forward).max())
    row["search_error_at_random_rms"] = float(np.sqrt(np.mean((search / forward - 1) ** 2)))
    if found.goal.smooth:
        row["gradient_error"] = max(gradient_error(run, found, pose) for pose in poses[:N_GRADIENTS])
    del found
    start = time.perf_counter()
    dense_run = new_run(prepared, coil, region, objective, Search(spacing_mm=spacing_mm))
    dense = dense_run.explore()
    row["dense_wall_s"] = time.perf_counter() - start
    row["dense_placements"] = int(dense.feasible.sum())
    row["dense_search_excess"] = float(dense.values.max() / best - 1)
    picks = [turned(dense.poses[i], dense.yaw_deg[j]) for i, j in distinct_maxima(dense, N_DENSE_JUDGED)]
    row["dense_forward_excess"] = float(forward_values(dense_run, picks).max() / best - 1)
    return row


def new_run(prepared, coil, region, objective, search):
    return Run(prepared, coil, region, make_objective(objective), search, Constraints(), DIDT, Clock(None))


def random_poses(found, count):
    """Feasible positions of the grid at angles of no grid."""
    rng = np.random.default_rng(11)
    positions = rng.choice(np.flatnonzero(found.feasible.all(axis=1)), count)
    return np.stack([turned(found.poses[i], rng.uniform(-180.0, 180.0)) for i in positions])


def forward_values(run, poses):
    fields = fields_on_target(run.prepared, run.coil, poses, run.region.elements, DIDT)
    return np.array([run.value_of(e_field) for e_field in fields])


def value_at(run, found, pose):
    return float(found.goal.of_functionals(found.field.functionals(run.coil, pose[None], DIDT)[0]))


def gradient_error(run, found, pose, step=1e-5):
    """Largest difference from central differences, relative, along a random move and a random turn."""
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
    from scipy.spatial.transform import Rotation

    new = pose.copy()
    if part == 0:
        new[:3, 3] += 1e3 * vector
    else:
        new[:3, :3] = Rotation.from_rotvec(vector).as_matrix() @ pose[:3, :3]
    return new


def cross_table(prepared, coil, region, results):
    """Loss of each objective's placement by every objective, and how far the placements differ."""
    volumes = region.volumes_mm3 * 1e-9
    goals = {name: make_objective(name) for name in results}
    fields = {name: result.field.E[region.elements] for name, result in results.items()}
    table = []
    for chosen_by, e_field in fields.items():
        row = {"chosen_by": chosen_by}
        for name, goal in goals.items():
            value = goal.of_field(e_field, volumes)
            row[f"loss_{name}"] = float(1 - value / goal.of_field(fields[name], volumes))
        first = results["mean_magnitude"].placement
        other = results[chosen_by].placement
        row["mm_from_mean_magnitude"] = float(np.linalg.norm(first.center_mm - other.center_mm))
        turn = abs(first.yaw_to_midline_deg - other.yaw_to_midline_deg) % 180.0
        row["deg_from_mean_magnitude"] = min(turn, 180.0 - turn)
        table.append(row)
    return table


def print_cross(table):
    names = [key.removeprefix("loss_") for key in table[0] if key.startswith("loss_")]
    print(f"  {'chosen by':20}" + "".join(f"{'loss ' + n:>24}" for n in names) + f"{'mm':>8}{'deg':>8}")
    for row in table:
        losses = "".join(f"{100 * row['loss_' + n]:22.2f} %" for n in names)
        print(
            f"  {row['chosen_by']:20}{losses}{row['mm_from_mean_magnitude']:8.1f}"
            f"{row['deg_from_mean_magnitude']:8.1f}"
        )


if __name__ == "__main__":
    main()
