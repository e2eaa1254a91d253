"""What second order costs: from the file to the three adjoints, and the optimum beside that of first order.

    python benchmarks/second_order.py [--heads full,large] [--optimum] [--cache FOLDER] [--json FILE]

Each row comes from a process of its own that has loaded its compiled kernels by a run on the smallest head;
memory is the largest that the process ever held. The heads are those of stages.py, from their Gmsh files.
Let nothing else run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import engine
import measure
import refine_head
from stages import CACHE, HEADS, mesh_file

COLUMNS = ("head", "task", "wall s", "CPU s", "peak GiB", "value")
ORDERS = (1, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--heads", default="full,large", help="some of small,full,large")
    parser.add_argument("--optimum", action="store_true", help="whole searches at both orders, too")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the mesh files")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=3, metavar=("TASK", "ORDER", "MESH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(*options.worker)))
        return
    names = options.heads.split(",")
    if unknown := set(names) - set(HEADS):
        parser.error(f"unknown heads {', '.join(sorted(unknown))}; valid: {', '.join(HEADS)}")
    rows = []
    for name in names:
        path = kept_mesh(name, options)
        tasks = [("adjoints", 2)]
        if options.optimum:
            tasks += [("optimum", order) for order in ORDERS]
        for task, order in tasks:
            rows.append({"head": name, **spawn(task, order, path)})
            print(rows[-1], flush=True)
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        print(f"| {' | '.join(f'{v:.4g}' if isinstance(v, float) else v for v in row.values())} |")
    if options.json:
        options.json.write_text(json.dumps({"machine": measure.machine(), "rows": rows}, indent=1) + "\n")


def kept_mesh(name, options):
    """The Gmsh file of a head, made where it is missing."""
    path = mesh_file(name, options)
    if not path.exists():
        head = refine_head.load_head(HEADS[name]) if HEADS[name] else refine_head.refined_head()
        refine_head.write_head(path, head)
    return path


def spawn(task, order, path):
    """The row of one task, from a process of its own."""
    command = [sys.executable, __file__, "--worker", task, str(order), str(path)]
    environment = measure.thread_environment(measure.cores())
    with tempfile.TemporaryFile("w+") as out:
        subprocess.run(command, env=environment, check=True, stdout=out)
        out.seek(0)
        return json.loads(out.read().splitlines()[-1])


def work(task, order, path):
    """Time one task, its kernels loaded."""
    run = {"adjoints": adjoints, "optimum": optimum}[task]
    run(HEADS["small"], int(order))
    wall, cpu = time.perf_counter(), time.process_time()
    value = run(path, int(order))
    return {
        "task": f"{task}, order {order}",
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": measure.process_peak_mib() / 1024,
        "value": value,
    }


def adjoints(source, order):
    """File, set-up, three adjoints to the search's own tolerance; their residual."""
    prepared = engine.prepare(engine.load_head(source), element_order=order)
    return float(engine.adjoints(prepared, engine.TARGET.resolve(prepared.head)).residual.max())


def optimum(source, order):
    """A user's whole search without its error bar; the objective at the optimum, V/m."""
    coil = engine.load_coil("figure8-70mm")
    options = {"didt": engine.DIDT, "element_order": order, "error_bar": False}
    return engine.optimize_coil(source, coil, engine.TARGET, **options).objective.value


if __name__ == "__main__":
    main()
