"""The documentation says what is there: its examples run, its numbers hold, its list of names is whole."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import efield

DOCS = Path(__file__).resolve().parents[1] / "docs"


def example(name):
    return runpy.run_path(str(DOCS / "gallery" / f"{name}.py"))["run"]()


def test_best_placement():
    found = example("best_placement")
    assert found["optimum"] == pytest.approx(1.260, abs=0.002)
    assert found["closest scalp point"] == pytest.approx(1.236, abs=0.002)
    assert found["forward and reciprocity differ by"] < 1e-4


def test_yaw_curve():
    means = example("yaw_curve")
    for yaw in range(-180, 0, 30):  # the coil is the same after half a turn
        assert means[yaw] == pytest.approx(means[yaw + 180], rel=1e-4)
    assert (means[-60], means[30]) == pytest.approx((1.2018, 1.1687), abs=0.001)


def test_cortex_field():
    found = example("cortex_field")
    assert found["raw"] == pytest.approx([0.1283, 1.0761], abs=0.001)
    assert found["recovered"] == pytest.approx([0.1261, 1.0749], abs=0.001)


def test_own_coil():
    """Polygons of 48 sides have 0.3 % less area than their circles."""
    found = example("own_coil")
    assert found["dipoles"] == pytest.approx(1.1229, abs=0.002)
    polygon = np.sin(2 * np.pi / 48) / (2 * np.pi / 48)
    assert found["wires"] / found["dipoles"] == pytest.approx(polygon, abs=0.004)


def test_conductivity():
    means = example("conductivity")
    expected = {"default": 1.1750, "bone / 2": 1.1582, "bone x 2": 1.1942, "fibres along z": 1.1914}
    assert means == pytest.approx(expected, abs=0.001)


def test_every_example_is_shown_and_tested():
    scripts = {path.stem for path in (DOCS / "gallery").glob("*.py")}
    page = (DOCS / "examples.md").read_text(encoding="utf-8")
    assert scripts == set(re.findall(r"literalinclude\} gallery/(\w+)\.py", page))
    assert {f"test_{name}" for name in scripts} <= set(globals())


def test_the_page_of_the_interface_names_everything_public():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"auto(?:function|class):: (\w+)", page))
    assert listed == set(efield.__all__) - set(efield.errors.__all__) - {"__version__"}


def test_every_page_can_be_reached():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    contents = re.search(r"toctree\}\n.*?\n\n(.*?)```", index, re.DOTALL).group(1).split()
    pages = {path.stem: path.name for path in DOCS.iterdir() if path.suffix in (".md", ".ipynb")}
    assert set(pages) == {*contents, "index"}
    assert all(f"({pages[name]})" in index for name in contents)


def test_the_tutorial_runs():
    nbclient = pytest.importorskip("nbclient", reason="needs pip install '.[docs]'")
    pytest.importorskip("ipykernel", reason="needs pip install '.[docs]'")
    import nbformat

    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # what a run writes is not kept
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(DOCS)}}).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    values = [float(v) for v in re.findall(r"turned by +\d+ degrees: ([\d.]+) V/m", printed)]
    assert len(values) == 3 and values[0] == max(values)
    assert float(re.search(r"([\d.]+) V/m at 1e\+06", printed).group(1)) == pytest.approx(
        values[0], abs=0.002
    )
