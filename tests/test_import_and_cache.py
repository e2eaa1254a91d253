"""What importing costs, and the disk cache of compiled kernels: warm, missing, full, damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import efield

TESTS = Path(__file__).resolve().parent
PACKAGE = Path(efield.__file__).resolve().parent

KERNEL = """
import json, warnings
import numpy as np
{before}
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    from efield.kernels import geometry
    kept = np.empty(3, np.int64)
    count = geometry.thin(np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]]), 4.0, kept)
print(json.dumps({{
    "value": int(count),
    "compiled": sum(geometry.thin.stats.cache_misses.values()),
    "warnings": [str(w.message) for w in seen],
}}))
"""

RUN = """
import json, sys
sys.path.insert(0, {tests!r})
from small_heads import QUICK, TARGET_MM, few_dipoles, sphere
from efield.forward import simulate
from efield.model.target import Target
from efield.search.optimize import optimize_coil
result = optimize_coil(sphere(), few_dipoles(), Target.sphere(TARGET_MM, 8.0), search=QUICK)
simulate(sphere(), few_dipoles(), result.placement)
kernels = [
    value
    for name, module in list(sys.modules.items())
    if name.startswith("efield.kernels.")
    for value in vars(module).values()
    if hasattr(value, "py_func")
]
print(json.dumps({{
    "compiled": sorted({{k.py_func.__name__ for k in kernels if k.stats.cache_misses}}),
    "loaded": sum(bool(k.stats.cache_hits) for k in kernels),
}}))
"""


def python(code, package=PACKAGE, **environment):
    """Run code in a fresh interpreter; returns what it prints last, parsed."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONSTARTUP", "PYTHONWARNINGS")}
    kept["PYTHONPATH"] = str(package.parent)
    for name, value in environment.items():
        kept.pop(name, None) if value is None else kept.__setitem__(name, str(value))
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=kept, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


# --- importing


@pytest.mark.parametrize(
    "statement",
    [
        "import efield",
        "import efield; efield.__version__; dir(efield)",
        "from efield import EfieldError, MeshError",
    ],
)
def test_import_loads_nothing_heavy(statement):
    heavy = ["numba", "scipy", "meshio", "matplotlib", "nibabel", "pyamg", "numpy", "click", "rich"]
    code = f"{statement}\nimport json, sys\nprint(json.dumps([m for m in {heavy} if m in sys.modules]))"
    assert python(code) == []


def test_import_is_quick():
    """The best of three fresh interpreters; it must not take half a second."""
    code = "import time; start = time.perf_counter(); import efield; print(time.perf_counter() - start)"
    assert min(python(code) for _ in range(3)) <= 0.5


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_the_command_says_what_it_is_without_what_computes(argument):
    heavy = ["numba", "scipy", "meshio", "matplotlib", "nibabel", "pyamg", "numpy", "rich"]
    code = (
        "import json, sys\nfrom efield.cli import main\n"
        f"main([{argument!r}], standalone_mode=False)\n"
        f"print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    assert python(code) == []


def test_names_load_on_first_use():
    code = "import efield, json, sys; efield.Search; print(json.dumps('numba' in sys.modules))"
    assert python(code) is False


# --- the cache


def test_the_second_run_compiles_nothing():
    """A whole optimization and a simulation, in the cache that this test run uses."""
    python(RUN.format(tests=str(TESTS)))
    second = python(RUN.format(tests=str(TESTS)))
    assert second["compiled"] == []
    assert second["loaded"] > 10


@pytest.fixture
def copied(tmp_path):
    """A copy of the package in which no file can be put beside the kernels, and its environment.

    A file stands where the cache folder would be: unlike a permission, this stops root, too.
    """
    package = tmp_path / "site" / "efield"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "meshes"))
    (package / "kernels" / "__pycache__").write_text("in the way")
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    environment = {
        "package": package,
        "HOME": blocked / "home",
        "XDG_CACHE_HOME": None,
        "LOCALAPPDATA": blocked / "local",
        "NUMBA_CACHE_DIR": None,
        "PYTHONDONTWRITEBYTECODE": 1,
    }
    return tmp_path, environment


@pytest.mark.parametrize("cache_dir", [None, "blocked/cache"])
def test_without_any_place_for_the_cache(copied, cache_dir):
    folder, environment = copied
    if cache_dir:
        environment["NUMBA_CACHE_DIR"] = folder / cache_dir
    said = python(KERNEL.format(before=""), **environment)
    assert said["value"] == 2 and said["compiled"] == 1
    (warning,) = said["warnings"]
    assert "compiled kernels cannot be cached" in warning and "Set NUMBA_CACHE_DIR" in warning
    assert (folder / "blocked").read_text() == "in the way"


def test_the_users_cache_stands_in_for_a_read_only_package(copied):
    folder, environment = copied
    environment |= {"HOME": folder / "home", "LOCALAPPDATA": folder / "home"}
    first, second = (python(KERNEL.format(before=""), **environment) for _ in range(2))
    assert first["warnings"] == second["warnings"] == []
    assert (first["compiled"], second["compiled"]) == (1, 0)
    assert first["value"] == second["value"] == 2


def test_a_cache_folder_of_ones_own(copied):
    folder, environment = copied
    environment["NUMBA_CACHE_DIR"] = folder / "chosen"
    first, second = (python(KERNEL.format(before=""), **environment) for _ in range(2))
    assert (first["compiled"], second["compiled"]) == (1, 0)
    files = {f: f.read_bytes() for f in (folder / "chosen").rglob("*thin*")}
    assert len(files) >= 2

    for file, whole in files.items():  # cut short, as by a crash
        file.write_bytes(whole[: len(whole) // 2])
    damaged, repaired = (python(KERNEL.format(before=""), **environment) for _ in range(2))
    assert damaged["value"] == repaired["value"] == 2
    assert damaged["warnings"] == repaired["warnings"] == []
    assert (damaged["compiled"], repaired["compiled"]) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk(copied):
    folder, environment = copied
    environment["NUMBA_CACHE_DIR"] = folder / "chosen"
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    said = python(KERNEL.format(before=full), **environment)
    assert said["value"] == 2 and said["compiled"] == 1
    (warning,) = said["warnings"]
    assert "compiled kernels cannot be cached" in warning
