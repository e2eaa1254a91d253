"""Time, memory and the machine: what every row of a benchmark states."""

import gc
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

RUNS = 3
"""Runs of a stage at most; the fastest counts."""

ENOUGH_S = 8.0
"""Stages are not run again once their runs have taken this long together."""

PACKAGES = ("efield", "numpy", "scipy", "numba", "pyamg", "pypardiso", "scikit-sparse", "fmm3dpy")


@dataclass
class Row:
    """One stage of one head.

    Attributes
    ----------
    stage : str
    wall_s, cpu_s : float or None
        Of the fastest run, per item where `items` > 1; None where it could not be run.
    runs, items : int
        How often it ran, and how many results (right-hand sides, placements) a run gave.
    peak_mib : float or None
        Resident memory at its highest during the stage, all that was held before it included.
    errors : dict of str to float
        What is known about the error of this stage's result.
    note : str
    """

    stage: str
    wall_s: float | None
    cpu_s: float | None
    runs: int = 1
    items: int = 1
    peak_mib: float | None = None
    errors: dict = field(default_factory=dict)
    note: str = ""


def timed(stage, function, *, given=None, items=1, runs=RUNS):
    """Run a stage up to `runs` times.

    Parameters
    ----------
    stage : str
    function : callable
        Called with what `given` returns, or with nothing.
    given : callable, optional
        Makes the input of each run outside the clock: objects that cache have to be new.
    items : int
        Results per run; the row states seconds for each.
    runs : int

    Returns
    -------
    value, Row
        The result of the last run.
    """
    spent, best, count, peak = 0.0, None, 0, None
    while count < runs and (count == 0 or spent < ENOUGH_S):
        value = None  # the former result is not held beside the new one
        arguments = () if given is None else (given(),)
        gc.collect()
        reset_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        value = function(*arguments)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = max(filter(None, (peak, peak_mib())), default=None)
        spent, count = spent + wall, count + 1
        if best is None or wall < best[0]:
            best = wall, cpu
    return value, Row(stage, best[0] / items, best[1] / items, count, items, peak)


def reset_peak():
    """Start the kernel's record of this process's largest resident memory anew, where it lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib():
    """Largest resident memory since :func:`reset_peak`, MiB; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line), None)


def process_peak_mib():
    """Largest resident memory of this process since its start, MiB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def limit_memory(share):
    """Let this process ask for a share of the memory that is free now: it fails, not the machine."""
    import resource

    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return
    available = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
    limit = int(share * available)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def cores():
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def thread_environment(n_threads):
    """Environment in which efield and the baselines' libraries use `n_threads` threads."""
    names = ("EFIELD", "OMP", "OPENBLAS", "MKL")
    return {**os.environ, **{f"{name}_NUM_THREADS": str(n_threads) for name in names}}


def require_threads(n_threads):
    """Stop unless efield runs with `n_threads`: as it states, and as its pool has been built."""
    from efield.kernels._jit import thread_count

    pool = sum(thread.name.startswith("efield") for thread in threading.enumerate())
    if thread_count() != n_threads or pool not in (0, n_threads):
        raise SystemExit(f"{n_threads} threads wanted, {thread_count()} stated, {pool} in the pool")


def machine():
    """The machine and the versions, as a record for the JSON file."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "revision": revision(),
    }


def cpu_model():
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def version(package):
    """Installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def revision():
    """Commit of the checkout, `-dirty` where it has changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
