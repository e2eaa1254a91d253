"""Is the reported optimum the best there is? Against 2.1 million placements, and 200 at random.

Tangential placements: the search's own grid at 0.57 mm and 1 degree. With tilt and distance free:
poses of their own making, tilts up to 10 degrees spread over the disc at every scalp point and
yaw, each coil lifted just until it clears the scalp. Of either the best distinct ones are solved
forward, and 200 random ones as well. An excess is how far the best of them lies above the reported
optimum, both by forward solutions: above 0 it is a better placement than the reported one.

    python benchmarks/exhaustive.py --colin ../shared/data/meshes/colin27_fullhead_4tissue_derived.msh.gz
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import cores, machine
from report import print_table
from three_heads import DIDT, add_options, forward_values, heads, new_run

import efield
from efield.kernels._jit import thread_count
from efield.search.candidates import Search, scalp_grid, yaw_rotations
from efield.search.constraints import LIFT_MM, Constraints, HeightField
from efield.search.evaluate import functionals_over_yaw
from efield.search.maxima import distinct_maxima, turned

OBJECTIVES = ("mean_magnitude", "magnitude_of_mean", "percentile:99")
N_RANDOM = 200
N_JUDGED = 16
ALLOWED = 1e-3
"""Excess up to which the search counts as exact."""

TILTED = Constraints(max_tilt_deg=10.0)
TILTED_OBJECTIVES = OBJECTIVES[:2]
N_TILTS, TILTED_SPACING_MM = 20, 1.93
YAW_DEG = np.arange(-180.0, 180.0, 1.8)
ROUGH_MM = 0.5
"""The height field's lifts are right to about this."""

APART_MM, APART_DEG = 3.0, 10.0
"""Of the tilted placements that are solved forward."""

COLUMNS = (
    "head",
    "tilt up to",
    "objective",
    "optimum, V/m",
    "placements",
    "excess, exhaustive: search / forward",
    "excess, 200 random",
    "wall s",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser)
    parser.add_argument("--spacing", type=float, default=0.57, help="of the tangential grid, mm")
    options = parser.parse_args()
    coil = efield.load_coil("figure8-70mm")
    report = {"machine": machine(), "threads": thread_count(), "coil": coil.name, "rows": []}
    for name, head, target in heads(options):
        prepared, region = efield.prepare(head), target.resolve(head)
        rows = [tangential(prepared, coil, target, region, o, options.spacing) for o in OBJECTIVES]
        rows += tilted(prepared, coil, target, region)
        for row in rows:
            print(name, json.dumps(row), flush=True)
            report["rows"].append({"head": name, "tets": len(head.tets), **row})
        if options.json:
            Path(options.json).write_text(json.dumps(report, indent=1))
    print(f"\n{report['threads']} threads on {cores()} cores, commit {report['machine']['revision']}\n")
    print_table(COLUMNS, [line(row) for row in report["rows"]])
    beaten = [row for row in report["rows"] if max(row["forward_excess"], row["random_excess"]) > ALLOWED]
    print(f"\nbeaten by more than {ALLOWED:g}: {len(beaten)} of {len(report['rows'])}")


def line(row):
    return (
        row["head"],
        f"{row['max_tilt_deg']:g}°",
        f"`{row['objective']}`",
        f"{row['optimum_V_per_m']:.4f}",
        f"{row['placements']:,d}",
        f"{row['search_excess']:+.1e} / {row['forward_excess']:+.1e}",
        f"{row['random_excess']:+.1e}",
        f"{row['exhaustive_wall_s']:.0f}",
    )


def tangential(prepared, coil, target, region, objective, spacing_mm):
    """One optimum of the default constraints against a dense grid of the same feasible set."""
    result = efield.optimize_coil(prepared, coil, target, objective=objective)
    start = time.perf_counter()
    dense_search = Search(radius_mm=result.search["radius_mm"], spacing_mm=spacing_mm)
    run = new_run(prepared, coil, region, objective, dense_search)
    dense = run.on_elements(run.search_grid(dense_search.radius_mm))
    picks = np.stack([turned(dense.poses[i], dense.yaw_deg[j]) for i, j in distinct_maxima(dense, N_JUDGED)])
    judged = forward_values(run, picks)
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(11)
    positions = rng.choice(np.flatnonzero(dense.feasible.all(axis=1)), N_RANDOM)
    at_random = np.stack([turned(dense.poses[i], rng.uniform(-180.0, 180.0)) for i in positions])
    return facts(
        result,
        Constraints(),
        placements=int(dense.feasible.sum()),
        search_best=dense.values.max(),
        judged=judged,
        at_random=forward_values(run, at_random),
        seconds=seconds,
    )


def tilted(prepared, coil, target, region):
    """The optima with tilt and distance free against poses of their own making; one row an objective."""
    results = [
        efield.optimize_coil(prepared, coil, target, objective=o, constraints=TILTED)
        for o in TILTED_OBJECTIVES
    ]
    run = new_run(prepared, coil, region, TILTED_OBJECTIVES[0], Search(), TILTED)
    found = run.on_elements(run.search_grid(max(result.search["radius_mm"] for result in results)))
    start = time.perf_counter()
    points, base, lift = tilted_poses(run, found)
    functionals, _ = functionals_over_yaw(
        found.field, coil, found.exterior.expansion, base, YAW_DEG, DIDT, progress=lambda _: None
    )
    values = (found.goal.of_functionals(functionals), np.linalg.norm(functionals[..., :3], axis=-1))
    del functionals
    summed = time.perf_counter() - start
    limits = run.feasible_set(found.grid)
    at_random = random_tilted(limits, points, base, lift)
    rows = []
    for result, own_values in zip(results, values, strict=True):
        start = time.perf_counter()
        own = new_run(prepared, coil, region, result.objective.name, Search(), TILTED)
        picks, search_best = best_apart(own, found, limits, points, base, lift, own_values)
        rows.append(
            facts(
                result,
                TILTED,
                placements=int(np.count_nonzero(lift <= LIFT_MM)),
                search_best=search_best,
                judged=forward_values(own, picks),
                at_random=forward_values(own, at_random),
                seconds=summed + time.perf_counter() - start,
            )
            | {"share_lifted": float(np.mean(lift > 0))}
        )
    return rows


def facts(result, constraints, *, placements, search_best, judged, at_random, seconds):
    best = result.objective.value
    return {
        "objective": result.objective.name,
        "max_tilt_deg": constraints.max_tilt_deg,
        "optimum_V_per_m": best,
        "placements": placements,
        "search_excess": float(search_best / best - 1),
        "forward_excess": float(judged.max() / best - 1),
        "n_judged": len(judged),
        "random_excess": float(at_random.max() / best - 1),
        "n_random": len(at_random),
        "operator_error": result.search["operator_error"],
        "exhaustive_wall_s": seconds,
        "warnings": [w.code for w in result.warnings],
    }


def tilted_poses(run, found):
    """Scalp points (n, 3), poses (n, 4, 4) at yaw 0 and every tilt, and lifts (n, n_yaw) that clear."""
    rng = np.random.default_rng(7)
    grid = scalp_grid(run.head.scalp, found.grid.center_mm, found.grid.radius_mm, TILTED_SPACING_MM)
    spots = grid.among(np.repeat(np.arange(len(grid.points_mm)), N_TILTS))
    upright = spots.base_poses(0.0)
    angle, azimuth = spread_tilts(len(spots.points_mm), rng)
    sideways = np.cos(azimuth)[:, None] * upright[:, :3, 0] + np.sin(azimuth)[:, None] * upright[:, :3, 1]
    leaning = np.cos(angle)[:, None] * spots.normals + np.sin(angle)[:, None] * sideways
    base = replace(spots, normals=leaning).base_poses(TILTED.distance_mm)
    heights = HeightField.over(run.head.scalp, run.coil, base)
    lift = np.stack([lift_mm(heights, run.coil, pose @ yaw_rotations(YAW_DEG)) for pose in base])
    return spots.points_mm, base, lift


def spread_tilts(n, rng):
    """Tilts (n,), rad, and their azimuths: `N_TILTS` even points of the disc, turned at each position."""
    step = np.arange(n) % N_TILTS
    angle = np.radians(TILTED.max_tilt_deg) * np.sqrt(step / (N_TILTS - 1))
    turn = np.repeat(rng.uniform(0.0, 2 * np.pi, n // N_TILTS), N_TILTS)
    return angle, np.pi * (3 - np.sqrt(5)) * step + turn


def lift_mm(heights, coil, poses):
    """How far each pose (n, 4, 4) has to be lifted along its axis by the scalp's height field."""
    least = TILTED.least_clearance_mm(coil)
    lift = np.zeros(len(poses))
    for _ in range(3):
        moved = poses.copy()
        moved[:, :3, 3] -= lift[:, None] * poses[:, :3, 2]
        lift += np.maximum(0.0, least - heights.gaps(coil.extent_mm, moved, np.zeros(1))[:, 0])
    return lift


def placed(limits, base, lift, i, j):
    """The pose of a tilted placement, its coil lifted exactly as far as it has to be."""
    pose = turned(base[i], YAW_DEG[j])
    pose[:3, 3] -= max(lift[i, j] - ROUGH_MM, 0.0) * pose[:3, 2]
    return limits.lifted(pose)[0]


def random_tilted(limits, points, base, lift):
    """Poses at random that are allowed without exception."""
    rng = np.random.default_rng(12)
    poses = []
    for k in rng.permutation(np.flatnonzero(lift <= LIFT_MM)):
        i, j = divmod(int(k), lift.shape[1])
        pose = placed(limits, base, lift, i, j)
        if limits.allowed(pose, points[i]):
            poses.append(pose)
        if len(poses) == N_RANDOM:
            break
    return np.stack(poses)


def best_apart(run, found, limits, points, base, lift, values):
    """The best allowed poses, apart from each other, and their largest search value.

    Lifting only lowers a value: in the order of the unlifted ones, the first that cannot reach
    what is known ends the list.
    """
    picks, seen, best = [], [], -np.inf
    goal = found.goal if run.goal.measure else run.goal
    width = None if run.goal.measure else len(run.goal.directions)
    for k in np.argsort(-values, axis=None):
        i, j = divmod(int(k), values.shape[1])
        pose = turned(base[i], YAW_DEG[j])
        if lift[i, j] > LIFT_MM or any(near(pose, other) for other in seen):
            continue
        pose = placed(limits, base, lift, i, j)
        if not limits.allowed(pose, points[i]):
            continue
        functionals = found.field.functionals(run.coil, pose[None], DIDT)[0][:width]
        best = max(best, float(goal.of_functionals(functionals)))
        picks.append(pose)
        seen.append(turned(base[i], YAW_DEG[j]))
        if len(picks) == N_JUDGED:
            break
    return np.stack(picks), best


def near(pose, other):
    apart = np.linalg.norm(pose[:3, 3] - other[:3, 3])
    return apart < APART_MM and pose[:3, 1] @ other[:3, 1] > np.cos(np.radians(APART_DEG))


if __name__ == "__main__":
    main()
