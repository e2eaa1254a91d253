"""How set-up and solves grow from the built-in head to the large one.

    python benchmarks/growth.py [--rounds 3] [--json FILE]

Each round prepares and solves on both heads; each stage's fastest round counts. Growth is the ratio of the
times over the ratio of the nodes: 1 is linear. Seconds: wall / CPU / system, a part of CPU.
It is measured four times. In turn in one process, as numpy comes: there the allocator keeps the smaller
head's arrays from round to round; the larger one's are above its limit. In turn, another process having
touched TOUCHED_GIB of memory and ended just before each head is prepared: a virtual machine that gives free
memory back to its host gets it anew at ten times the cost of clearing it, and this way that is paid before.
In turn with NUMPY_MADVISE_HUGEPAGE=0: numpy asks the kernel for huge pages for arrays above 4 MiB. And in a
process for each head and round, kernels loaded: all memory is fresh for both, as for a user who prepares one
head.
Needs the head that stages.py makes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import measure
import stages

HEADS = {"full": "mni152", "large": stages.CACHE / "mni152-refined.msh"}
TOUCHED_GIB = 6
IN_TURN = {
    "in turn": {},
    f"in turn, {TOUCHED_GIB} GiB touched before": {"touched": TOUCHED_GIB},
    "in turn, NUMPY_MADVISE_HUGEPAGE=0": {"variables": {"NUMPY_MADVISE_HUGEPAGE": "0"}},
}
ALONE = "a process each"
SMALL = "mni152-small"
TOLERANCES = (1e-3, 1e-6)
ALLOWED = 1.2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--touched", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs="+", metavar="HEAD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(rounds(options), sys.stdout)
        return
    if not HEADS["large"].exists():
        parser.error(f"{HEADS['large']} is made by: python benchmarks/stages.py --heads large --no-accuracy")
    record = {"machine": measure.machine(), "threads": options.threads, "growth": {}}
    print(f"{record['machine']['cpu']}, {record['machine']['cores']} cores, {options.threads} threads")
    runs = {way: [spawn(options, HEADS, options.rounds, **own)] for way, own in IN_TURN.items()}
    runs[ALONE] = [spawn(options, [name], 1) for _ in range(options.rounds) for name in HEADS]
    for way, found in runs.items():
        record["growth"][way] = merged = fastest(found)
        print_growth(way, merged)
    stages.save(options.json, record)


def fastest(runs):
    """Nodes, and each stage's fastest seconds on both heads, of some workers' rounds."""
    nodes, spent = {}, {}
    for run in runs:
        nodes |= run["nodes"]
        for stage, by_head in run["seconds"].items():
            for name, rows in by_head.items():
                spent.setdefault(stage, {}).setdefault(name, []).extend(rows)
    return {
        "nodes": nodes,
        "seconds": {stage: [min(one[name]) for name in HEADS] for stage, one in spent.items()},
    }


def spawn(options, names, n_rounds, *, touched=0, variables=None):
    command = [sys.executable, __file__, "--threads", str(options.threads), "--rounds", str(n_rounds)]
    command += ["--touched", str(touched), "--worker", *names]
    environment = measure.thread_environment(options.threads) | (variables or {})
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def print_growth(way, found):
    nodes = found["nodes"]["large"] / found["nodes"]["full"]
    print(f"\n{way}: {nodes:.2f} times the nodes; growth wanted at most {ALLOWED}\n")
    print("| stage | full | large | growth wall | growth CPU | growth user |\n|---|---|---|---|---|---|")
    for stage, (full, large) in found["seconds"].items():
        kinds = ((wall, cpu, cpu - system) for wall, cpu, system in (full, large))
        growth = " | ".join(f"{b / a / nodes:.2f}" for a, b in zip(*kinds, strict=True))
        times = " | ".join(" / ".join(f"{t:.2f}" for t in head) for head in (full, large))
        print(f"| {stage} | {times} | {growth} |", flush=True)


def rounds(options):
    """Seconds of each stage in every round on some heads, kernels loaded, and their nodes."""
    import engine

    measure.require_threads(options.threads)
    list(one_round(engine.load_head(SMALL)))
    found, nodes = {}, {}
    for _ in range(options.rounds):
        for name in options.worker:
            head = engine.load_head(HEADS[name])
            touch(options.touched)
            nodes[name] = len(head.nodes_mm)
            for stage, spent in one_round(head):
                found.setdefault(stage, {}).setdefault(name, []).append(spent)
    measure.require_threads(options.threads)
    return {"nodes": nodes, "seconds": found}


def touch(gib):
    """Let another process write to so much memory, and end."""
    if gib:
        subprocess.run([sys.executable, "-c", f"import numpy; numpy.ones({gib} * 2**27)"], check=True)


def one_round(head):
    """(stage, (wall, CPU, system seconds)) of everything that is asked to grow linearly."""
    import engine
    import numpy as np

    prepared, spent = timed(engine.prepare, head)
    yield "set-up", spent
    yield "adjoints", timed(engine.adjoints, prepared, engine.TARGET.resolve(head))[1]
    placements = engine.spread(engine.positions(head, engine.NORMAL), 16)
    loads, _ = engine.loads(prepared, engine.load_coil(stages.COIL), placements)
    one = np.ascontiguousarray(loads[:, :1])
    for rtol in TOLERANCES:
        for _ in range(2):
            yield f"one solve, {rtol:g}", timed(prepared.solve, one, rtol=rtol)[1]
            yield f"16 solves, {rtol:g}", timed(prepared.solve, loads, rtol=rtol)[1]


def timed(function, *arguments, **options):
    before = seconds()
    result = function(*arguments, **options)
    return result, tuple(after - at for after, at in zip(seconds(), before, strict=True))


def seconds():
    """Wall, CPU and system seconds so far."""
    return time.perf_counter(), time.process_time(), os.times().system


if __name__ == "__main__":
    main()
