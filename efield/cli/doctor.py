"""``efield doctor``: what this installation runs on."""

import platform
import sys
from pathlib import Path

import click


@click.command()
def doctor():
    """Show versions, threads and the cache of compiled kernels."""
    from efield.kernels._jit import thread_count
    from efield.results.provenance import run_info, version

    rows = [
        ("efield", version()),
        ("installed in", Path(__file__).parents[1]),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
        ("threads", f"{thread_count()} (set EFIELD_NUM_THREADS to change)"),
        ("kernel cache", _kernel_cache()),
        *run_info()["packages"].items(),
    ]
    for label, text in rows:
        click.echo(f"{label:<14}{text}")


def _kernel_cache():
    """Where numba keeps the compiled kernels."""
    from efield.kernels import dipole

    cache = getattr(dipole.vector_potential, "_cache", None)
    path = getattr(cache, "cache_path", None)
    return path or "none: every process compiles anew; set NUMBA_CACHE_DIR to a writable folder"
