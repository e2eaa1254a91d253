"""What a robust optimum and a certificate cost, and what the first is worth.

From the file to the optimum: exact mean |E|, the same under placement noise, and |mean E| with its
certificate. The optima are then valued under that noise by forward solutions of every noisy
placement, beside what the search says of them.

    python benchmarks/robust.py --head mni152
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measure import cores, machine
from report import print_table
from three_heads import DIDT

import efield
from efield.kernels._jit import thread_count
from efield.search.objectives import make_objective
from efield.search.operator import fields_on_target

POINT_MM = (-42.0, 44.0, 30.0)
NAVIGATION = efield.PoseNoise.neuronavigation

RUNS = {
    "mean |E|": {"objective": "mean_magnitude"},
    "mean |E|, mean under navigation": {"objective": "mean_magnitude", "robust": NAVIGATION()},
    "mean |E|, worst 20 % under navigation": {"objective": "mean_magnitude", "robust": NAVIGATION("cvar:20")},
    "p99": {"objective": "percentile:99"},
    "p99, mean under navigation": {"objective": "percentile:99", "robust": NAVIGATION()},
    "|mean E|, mean under navigation": {"objective": "magnitude_of_mean", "robust": NAVIGATION()},
    "|mean E|": {"objective": "magnitude_of_mean"},
    "mean |E|, certified to 1 %": {"objective": "mean_magnitude", "certify": True},
    "|mean E|, certified to 1 %": {"objective": "magnitude_of_mean", "certify": True},
}
COLUMNS = (
    "optimum",
    "wall s",
    "CPU s",
    "without noise, V/m",
    "under navigation: search / forward",
    "mean |E| and p99 under navigation, forward",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--head", default="mni152")
    parser.add_argument("--only", nargs="*", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--no-forward", action="store_true", help="time alone")
    parser.add_argument("--json")
    options = parser.parse_args()
    coil, target = efield.load_coil("figure8-70mm"), efield.Target.mni(POINT_MM, 5.0)
    efield.optimize_coil("mni152-small", coil, target)  # compiled kernels, loaded libraries
    rows = []
    for name in options.only:
        start = time.perf_counter(), time.process_time()
        result = efield.optimize_coil(options.head, coil, target, **RUNS[name])
        row = {
            "run": name,
            "wall_s": time.perf_counter() - start[0],
            "cpu_s": time.process_time() - start[1],
            "value": result.objective.value,
            "under_noise": result.robustness["mean"],
            "certificate": result.certificate,
            "timings_s": result.timings,
        }
        if not options.no_forward:
            row |= by_forward(options.head, coil, target, result, RUNS[name])
        print(json.dumps(row), flush=True)
        rows.append(row)
    report = {"machine": machine(), "threads": thread_count(), "head": options.head, "rows": rows}
    print(f"\n{options.head}, {thread_count()} threads on {cores()} cores, {report['machine']['revision']}\n")
    print_table(COLUMNS, [line(row) for row in rows])
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


def line(row):
    return (
        row["run"],
        f"{row['wall_s']:.1f}",
        f"{row['cpu_s']:.1f}",
        f"{row['value']:.4f}",
        f"{row['under_noise']:.4f} / {row.get('forward_under_noise', np.nan):.4f}",
        f"{row.get('mean_magnitude', np.nan):.4f}, {row.get('percentile:99', np.nan):.4f}",
    )


def by_forward(head, coil, target, result, asked):
    """Means over the noisy placements of an optimum, every one of them solved forward."""
    prepared = efield.prepare(efield.load_head(head))
    region = target.resolve(prepared.head)
    poses = result.placement.matsimnibs @ NAVIGATION().motions()
    fields = fields_on_target(prepared, coil, poses, region.elements, DIDT)
    volumes = region.volumes_mm3 * 1e-9
    means = {}
    for objective in ("mean_magnitude", "magnitude_of_mean", "percentile:99"):
        goal = make_objective(objective)
        means[objective] = float(np.mean([goal.of_field(e_field, volumes) for e_field in fields]))
    return means | {"forward_under_noise": means[asked["objective"]]}


if __name__ == "__main__":
    main()
