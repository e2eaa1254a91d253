"""Every stage of the engine on three sizes of head: time, memory and error, in one table.

    python benchmarks/stages.py [--heads small,full,large] [--baselines] [--json FILE] [--compare OLD.json]

Each head and part runs in a process of its own, with the threads set by --threads (by default the
cores this process may use) and checked. Kernels are compiled and cached before anything is timed. Let
nothing else run. Without --baselines some 10 minutes on 2 cores, with them an hour.

The large head is made by refine_head.py and kept, with the Gmsh files of the built-in ones, in
--cache (by default build/benchmarks of the checkout).
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import measure
import report

HEADS = {"small": "mni152-small", "full": "mni152", "large": None}
COIL = "figure8-70mm"
CACHE = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
MEMORY_SHARE = 0.9
"""Part of the memory that is free now which a baseline may ask for."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--heads", default=",".join(HEADS), help="some of small,full,large")
    parser.add_argument("--coil", default=COIL, help="name or .ccd file")
    parser.add_argument("--baselines", action="store_true", help="other programs on the same heads, too")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a baseline may take")
    parser.add_argument("--runs", type=int, default=measure.RUNS, help="runs of a stage at most")
    parser.add_argument("--no-accuracy", action="store_true", help="leave out the exterior field's errors")
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the mesh files")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--compare", type=Path, metavar="OLD.json")
    parser.add_argument("--worker", nargs=3, metavar=("PART", "HEAD", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    # the exception makes subprocess.run end the worker: an orphan would disturb whatever is timed next
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    heads = options.heads.split(",")
    unknown = set(heads) - set(HEADS)
    if unknown:
        parser.error(f"unknown heads {', '.join(sorted(unknown))}; valid: {', '.join(HEADS)}")
    before = json.loads(options.compare.read_text()) if options.compare else None
    record = {"machine": measure.machine(), "threads": options.threads, "coil": options.coil, "heads": {}}
    sys.stdout.reconfigure(line_buffering=True)
    print_machine(record)
    spawn("prepare", "small", options)  # compiles, and writes the mesh files
    for head in heads:
        record["heads"][head] = measure_head(head, options)
        report.print_head(head, record["heads"][head])
        save(options.json, record)
    report.print_growth(record["heads"])
    if before:
        report.print_comparison(before, record)


def print_machine(record):
    machine = record["machine"]
    versions = ", ".join(f"{name} {v or 'not installed'}" for name, v in machine["versions"].items())
    print(f"# Benchmark of {machine['revision'] or 'an installed efield'}\n")
    print(f"{machine['cpu']}, {machine['cores']} cores, {record['threads']} threads")
    print(f"load {machine['load_average']}; {machine['platform']}, Python {machine['python']}")
    print(f"{versions}; coil {record['coil']}")
    if record["threads"] > machine["cores"]:
        raise SystemExit(f"--threads {record['threads']}: this process may use {machine['cores']} cores only")


def save(path, record):
    if path is None:
        return
    from efield.io.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure_head(head, options):
    """The record of one head: each part from its own process."""
    record = spawn("stages", head, options) | spawn("runs", head, options)
    if not options.no_accuracy:
        record |= spawn("accuracy", head, options)
    if options.baselines:
        import baselines

        record["baselines"] = {
            group: [row for name in members for row in baseline(name, head, options)]
            for group, members in baselines.GROUPS.items()
        }
    return record


def baseline(name, head, options):
    """Rows of one baseline, or the one that says why there are none."""
    import baselines

    try:
        return spawn(name, head, options, limit=options.limit)["rows"]
    except subprocess.TimeoutExpired:
        why = f"stopped after {options.limit:g} s"
    except subprocess.CalledProcessError as error:
        why = f"its process ended with {error.returncode}"
    return [asdict(baselines.failed(name, why))]


def spawn(part, head, options, limit=None):
    """What a part of the benchmark finds, run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, __file__, "--worker", part, head, str(out)]
        command += ["--coil", options.coil, "--runs", str(options.runs), "--threads", str(options.threads)]
        command += ["--cache", str(options.cache)]
        environment = measure.thread_environment(options.threads)
        subprocess.run(command, env=environment, check=True, timeout=limit)
        return json.loads(out.read_text())


def work(options):
    """The process of one part: write what it finds as JSON."""
    part, head, out = options.worker
    import engine

    coil = engine.load_coil(options.coil)
    measure.require_threads(options.threads)
    parts = {"prepare": prepare, "stages": stages, "runs": runs, "accuracy": accuracy}
    found = parts.get(part, partial(rival, part))(head, coil, options)
    measure.require_threads(options.threads)
    Path(out).write_text(json.dumps(found))


def prepare(head, coil, options):
    """Compile every kernel and write the mesh files, so that no other part has to."""
    import head_stages
    import refine_head

    head_stages.stage_rows({"efmesh": HEADS["small"]}, coil, runs=1)
    for name, builtin in HEADS.items():
        path = mesh_file(name, options)
        if not path.exists():
            model = refine_head.refined_head() if builtin is None else refine_head.load_head(builtin)
            refine_head.write_head(path, model)
    return {}


def mesh_file(head, options):
    """Where the Gmsh file of a head is kept."""
    return options.cache / f"{HEADS[head] or 'mni152-refined'}.msh"


def source(head, options):
    """What a user names to open a head."""
    return HEADS[head] or mesh_file(head, options)


def stages(head, coil, options):
    import head_stages

    sources = {"msh": mesh_file(head, options)}
    if HEADS[head]:
        sources = {"efmesh": HEADS[head], **sources}
    head_stages.stage_rows({"efmesh": HEADS["small"]}, coil, runs=1)  # loads the compiled kernels
    rows, size = head_stages.stage_rows(sources, coil, runs=options.runs)
    return {"size": size, "stages": [asdict(row) for row in rows]}


def runs(head, coil, options):
    import engine
    import whole_runs

    engine.optimum(HEADS["small"], coil, engine.NORMAL)
    rows = whole_runs.run_rows(source(head, options), coil, runs=options.runs)
    return {"runs": [asdict(row) for row in rows], "runs_peak_mib": measure.process_peak_mib()}


def accuracy(head, coil, options):
    import accuracy

    return {"accuracy": accuracy.accuracy_rows(source(head, options), accuracy.coils())}


def rival(name, head, coil, options):
    import baselines

    measure.limit_memory(MEMORY_SHARE)
    return {"rows": [asdict(row) for row in baselines.run(name, source(head, options), coil)]}


if __name__ == "__main__":
    main()
