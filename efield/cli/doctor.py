"""``efield doctor``: what this installation runs on, and what it lacks."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path

import click

OPTIONAL = {
    "report": ("plotly", "jinja2"),
    "view": ("pyvista",),
    "cohort": ("dask", "distributed"),
    "slurm": ("dask_jobqueue",),
    "parquet": ("pyarrow",),
}
"""Packages of each pip extra, by the names they are imported by."""

PROGRAMS = ("simnibs",)
"""Other programs that efield uses where they are there."""


@click.command()
def doctor():
    """Show versions, threads, the cache of compiled kernels and the optional parts."""
    from efield.kernels._jit import thread_count
    from efield.model.coil_folders import coil_folders
    from efield.results.provenance import run_info
    from efield.version import version

    rows = [
        ("efield", version()),
        ("installed in", Path(__file__).parents[1]),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
        ("threads", f"{thread_count()} of {os.cpu_count()} cores (set EFIELD_NUM_THREADS to change)"),
        ("kernel cache", _kernel_cache()),
        ("built-in heads", _builtin_heads()),
        ("coil folders", ", ".join(map(str, coil_folders())) or "none (set EFIELD_COIL_PATH)"),
        *run_info()["packages"].items(),
        *((f"[{extra}]", _extra(extra, modules)) for extra, modules in OPTIONAL.items()),
        *((name, "found" if _there(name) else "not installed (not needed)") for name in PROGRAMS),
    ]
    for label, text in rows:
        click.echo(f"{label:<16}{text}")


def _kernel_cache():
    """Where numba keeps the compiled kernels, and whether it can."""
    from efield.kernels import dipole

    cache = getattr(dipole.vector_potential, "_cache", None)
    path = getattr(cache, "cache_path", None)
    if not path:
        return "none: every process compiles anew; set NUMBA_CACHE_DIR to a writable folder"
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return f"{path} (NOT WRITABLE: kernels compile anew; set NUMBA_CACHE_DIR)"
    compiled = list(Path(path).glob("*.nbc"))
    size = sum(file.stat().st_size for file in compiled) / 1e6
    return f"{path} (writable; {len(compiled)} kernels, {size:.1f} MB)"


def _builtin_heads():
    from efield.errors import MeshError
    from efield.model.heads import BUILTIN_HEADS, builtin_path

    found = []
    for name in BUILTIN_HEADS:
        try:
            found.append(f"{name} ({builtin_path(name).stat().st_size / 1e6:.1f} MB)")
        except MeshError:
            found.append(f"{name} MISSING")
    return ", ".join(found)


def _extra(extra, modules):
    """Versions of an extra's packages, or how to get them."""
    missing = [name for name in modules if not _there(name)]
    if missing:
        return f"not installed: pip install 'efield[{extra}]'"
    return ", ".join(f"{name} {_version(name)}" for name in modules)


def _there(module):
    return importlib.util.find_spec(module) is not None


def _version(module):
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
