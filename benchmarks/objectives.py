"""Does the choice of objective matter? What each objective's placement costs by the others' measure.

On three heads: the optimum of every objective, valued by all of them on its forward solution, and
how far it lies from the one for mean |E|.

    python benchmarks/objectives.py --colin ../shared/data/meshes/colin27_fullhead_4tissue_derived.msh.gz
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measure import machine
from three_heads import add_options, heads

import efield
from efield.kernels._jit import thread_count
from efield.search.objectives import make_objective

OBJECTIVES = ("mean_magnitude", "magnitude_of_mean", "percentile:99")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    coil = efield.load_coil("figure8-70mm")
    report = {
        "machine": machine(),
        "threads": thread_count(),
        "target_radius_mm": options.radius,
        "coil": coil.name,
        "heads": {},
    }
    print(f"{report['threads']} threads, commit {report['machine']['revision']}")
    for name, head, target in heads(options):
        prepared, region = efield.prepare(head), target.resolve(head)
        print(f"\n{name}: {len(head.tets):,d} tetrahedra, {len(region.elements)} in the target")
        results, seconds = {}, {}
        for objective in OBJECTIVES:
            start = time.perf_counter(), time.process_time()
            results[objective] = efield.optimize_coil(prepared, coil, target, objective=objective)
            seconds[objective] = time.perf_counter() - start[0], time.process_time() - start[1]
            print(
                f"  {objective:20} {results[objective].objective.value:.4f} V/m, "
                f"{seconds[objective][0]:.1f} s ({seconds[objective][1]:.1f} CPU s) on a prepared head"
            )
        crossed = cross_table(region, results)
        print_cross(crossed)
        report["heads"][name] = {"wall_and_cpu_s": seconds, "crossed": crossed}
        if options.json:
            Path(options.json).write_text(json.dumps(report, indent=1))


def cross_table(region, results):
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
