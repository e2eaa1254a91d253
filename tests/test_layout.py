"""The package keeps its layout: data flows one way, and importing it costs nothing."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import efield

ROOT = Path(efield.__file__).parent

LAYERS = [
    {"errors"},
    {"units"},
    {"tissues"},
    {"frames"},
    {"memory"},
    {"version"},
    {"kernels"},
    {"io"},
    {"model"},
    {"analytic"},
    {"fem"},
    {"solve"},
    {"metrics"},
    {"forward"},
    {"results"},
    {"adjoint"},
    {"search"},
    {"scalp"},
    {"targeting"},
    {"cohort"},
    {"report"},
    {"cli"},
]
"""A folder (or module) imports only from the lines above its own, and from itself."""

HEAVY = {
    "numba": {"kernels"},
    "meshio": {"io"},
    "nibabel": {"io"},
    "pyamg": {"solve"},
    "potpourri3d": {"scalp"},
    "matplotlib": {"results", "report", "cli"},
    "click": {"cli"},
    "dask": {"cohort"},
    "distributed": {"cohort"},
    "pyarrow": {"results"},
    "rich": {"cli"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "pyvista": {"report"},
}
"""Packages that only these folders may import."""

MODULES = {
    ".".join(("efield", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imported(module):
    """Every module that a module imports anywhere, functions included."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES else base


def part(module):
    return module.split(".")[1] if "." in module else ""


def rank(module):
    return next(i for i, names in enumerate(LAYERS) if part(module) in names)


INSIDE = [m for m in MODULES if m != "efield"]  # the package itself gathers names from everywhere


def test_every_module_has_its_place():
    known = set().union(*LAYERS)
    unknown = [m for m in INSIDE if part(m) not in known]
    assert not unknown, f"not in the layout: {unknown}"


@pytest.mark.parametrize("module", INSIDE)
def test_a_module_imports_only_from_above(module):
    for name in imported(module):
        assert name != "efield", f"{module} imports the package itself"
        if name.startswith("efield."):
            same = part(name) == part(module)
            assert same or rank(name) < rank(module), f"{module} imports {name}, which lies below it"


@pytest.mark.parametrize("module", INSIDE)
def test_heavy_packages_stay_in_their_folder(module):
    for name in imported(module):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or part(module) in allowed, f"{module} imports {name}"


def test_no_module_imports_itself_in_a_circle():
    graph = {m: {n for n in imported(m) if n in MODULES and n != m} for m in INSIDE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(reversed(error.args[1]))}")


def test_importing_efield_loads_nothing_heavy_and_starts_no_thread():
    watched = {*HEAVY, "scipy", "dask", "h5py"}
    code = (
        "import sys, threading, efield;"
        f"print(sorted(set(sys.modules) & {watched!r}), threading.active_count())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "[] 1"


def test_public_names_resolve():
    assert len(set(efield.__all__)) == len(efield.__all__)
    for name in efield.__all__:
        value = getattr(efield, name)
        assert name == "__version__" or value.__doc__, f"{name} has no docstring"
        assert name in dir(efield)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = efield.no_such_name
