"""The report and the figures: complete, self-contained, harmless whatever the names are."""

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from results_fake import (
    fake_cohort,
    fake_comparison,
    fake_optimize_result,
    fake_provenance,
    fake_scene,
    fake_simulate_result,
)
from small_heads import few_dipoles
from test_metrics import block_head

from efield.analytic.shapes import random_layered_sphere
from efield.cli import main
from efield.errors import FormatError, MissingExtraError
from efield.forward import StoredField
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.model.coil_files import save_coil
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.report import charts, save_figures, surfaces, view, write_report
from efield.report.facts import methods_text, provenance_rows
from efield.report.figures import slices_figure
from efield.report.notebook import SCALARS
from efield.report.solid import CORTEX_TRIANGLES, SCALP_TRIANGLES, head_figure
from efield.results.comparison_picture import _together
from efield.results.opened import open_result
from efield.results.result import OptimizeResult
from efield.results.scene import Scene
from efield.results.words import digits
from efield.search.noise import PoseNoise
from efield.search.robust import robustness

HOSTILE = "<img src=x onerror=alert(1)></script><!--<script><b>&amp;{{7*7}}\u2028\"'"


def fake_field(seed=0):
    """Noise on a block of grey matter whose values the hand can check."""
    head = block_head(n=4)
    e_field = np.random.default_rng(seed).normal(size=(len(head.tets), 3))
    return StoredField(head, e_field, None, 1e6, "coil")


def fake_tolerance():
    def value(poses):
        return 1.0 - 0.001 * ((poses[:, :3, 3] - pose[:3, 3]) ** 2).sum(axis=1)

    pose = fake_optimize_result().placement.matsimnibs
    noise = PoseNoise.neuronavigation()
    return json.loads(json.dumps(robustness(value, pose, noise, functional="magnitude_of_mean").as_dict()))


def whole_result(**changes):
    """A result that lacks nothing."""
    parts = {"field": fake_field(), "scene": fake_scene(), "robustness": fake_tolerance()}
    return fake_optimize_result(**{**parts, **changes})


class Page(HTMLParser):
    """Elements, attributes, texts and scripts of a page."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.scripts = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append((self.elements[-1][1], data))
        else:
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))

    def figure(self, name):
        (text,) = (data for attrs, data in self.scripts if attrs.get("data-figure") == name)
        return json.loads(text)

    @property
    def figures(self):
        return {attrs["data-figure"] for attrs, _ in self.scripts if "data-figure" in attrs}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return Page(write_report(whole_result(), path))


def test_every_part_is_there(page):
    assert page.open == []
    assert page.figures == {"head", "yaw", "tolerance", "distribution"}
    for words in (
        "Where the coil lies",
        "From landmarks and with a tape",
        "Distribution of |E|",
        "Angle",
        "How far off the coil may be",
        "Best placements",
        "Checks",
        "Text for a methods section",
        "Provenance",
        "edge_of_search",
        "0123456789abcdef",
        "differ by 2.0e-08",
    ):
        assert words in page.words, words
    matrix = next(text for text in page.text if text.count("\n") == 3 and "1.000000" in text)
    pose = [[float(x) for x in line.split()] for line in matrix.splitlines()]
    np.testing.assert_allclose(pose, whole_result().placement.matsimnibs, atol=1e-6)


def test_nothing_comes_from_outside(page):
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        for name in ("src", "href", "srcset", "action", "data"):
            assert name not in attrs, (tag, attrs)
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
    style = " ".join(page.text)
    assert "url(" not in style and "@import" not in style


def test_colours_are_safe_without_colour_vision(page):
    maps = [trace.get("colorscale") for trace in page.figure("head")["data"] if "intensity" in trace]
    from plotly.express.colors import sequential

    known = {tuple(sequential.Viridis), tuple(sequential.Cividis)}
    assert {tuple(colour for _, colour in one) for one in maps} == known


def test_hostile_names_stay_text(tmp_path):
    source = fake_provenance() | {"head": HOSTILE, "coil": HOSTILE, "target": HOSTILE}
    source["run"] = {"finished_utc": HOSTILE, "platform": HOSTILE, "packages": {HOSTILE: HOSTILE}}
    target = fake_optimize_result().target | {"name": HOSTILE}
    folder = tmp_path / "result"
    whole_result(provenance=source, target=target).save(folder)
    rows = tuple(row | {"method": HOSTILE, "summary": HOSTILE} for row in fake_comparison().rows)
    fake_comparison(rows=rows, provenance=source, target=target).save(folder)
    page = Page(write_report(folder, tmp_path / "report.html"))
    assert page.open == []
    assert [attrs["id"] for tag, attrs in page.elements if tag == "img"] == ["head-print"]
    assert not any(tag == "b" for tag, _ in page.elements)
    assert "49" not in page.words.split("Provenance")[1].split("mesh")[0]
    assert HOSTILE.replace("\u2028", " ") in page.words.replace("\u2028", " ")
    labels = page.figure("compare")["data"][0]["y"]
    assert all("<" not in name for name in labels) and "&lt;img" in labels[0]
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert len(scripts) == 2 + len(page.figures)


def test_a_folder_whose_large_files_are_gone(tmp_path):
    whole_result().save(tmp_path)
    for name in ("field.msh", "field.vtu", "scene.npz"):
        (tmp_path / name).unlink()
    page = Page(write_report(tmp_path / "result.json", tmp_path / "report.html"))
    assert "field.msh) is not in the result folder" in page.words
    assert "scene.npz) are not in the result folder" in page.words
    assert "Not available: the head is not at hand" in page.words
    assert page.figures == {"head", "yaw", "tolerance"}


def test_report_of_a_folder_equals_that_of_the_result_in_memory(tmp_path):
    result = whole_result(scene=fake_scene((3, 4, 5, 6)))
    result.save(tmp_path)
    from efield.results.opened import with_field

    again = with_field(OptimizeResult.load(tmp_path), tmp_path)
    assert again.field.head.name == result.provenance["head"]
    assert again.field.head.space == "mni"
    mine, theirs = (charts.distribution(one) for one in (result, again))
    for name, (magnitude, volumes) in mine.items():
        np.testing.assert_allclose(theirs[name][0], magnitude, rtol=1e-6)
        np.testing.assert_allclose(theirs[name][1], volumes, rtol=1e-6)


@pytest.mark.parametrize("result", [fake_simulate_result(field=fake_field()), fake_comparison()])
def test_results_without_a_search(result, tmp_path):
    page = Page(write_report(result, tmp_path / "report.html"))
    assert page.open == []
    assert page.figures <= {"head", "distribution", "compare"} and page.figures


@pytest.mark.parametrize(("order", "words"), [(1, "first-order"), (2, "second-order")])
def test_the_methods_text_says_how_it_was_computed(order, words):
    result = whole_result()
    tensors = {"tissues": ["white_matter", "grey_matter"], "image": "DTI.nii.gz", "mapping": "vn"}
    object.__setattr__(result, "provenance", result.provenance | {"element_order": order})
    text = methods_text(result)
    assert f"by {words} finite elements" in text and "tensors" not in text
    object.__setattr__(result, "provenance", result.provenance | {"anisotropy": tensors})
    assert "in white matter and grey matter tensors from DTI.nii.gz (mapping vn)" in methods_text(result)


def test_the_methods_text_says_where_the_coil_lay():
    found = {"estimated_error": -0.01, "corrected_value": 1.25, "half_width": 0.01, "reason": None}
    result = whole_result(discretization=found)
    pose = "4 mm from the scalp along its axis, and its handle (+y) 52.5° from posterior towards the "
    text = methods_text(result)
    assert pose in text and pose in methods_text(fake_simulate_result())
    assert text.endswith("; the discretization error of that value was estimated at -0.80%.")
    assert "discretization" not in methods_text(whole_result())


def test_towards_the_head_the_scalp_ends_the_tolerance(tmp_path):
    """The coil lies 4 mm off it, and the fake loses next to nothing on the way there."""
    rows = dict(charts.tolerance_rows(whole_result()))
    assert rows["away from the head, mm"] == ["to the scalp", "7.1"]
    assert rows["sideways (coil x), mm"] == ["7.1", "7.1"]
    assert rows["turn about the coil's axis, degrees"] == ["beyond 60", "beyond 60"]
    page = Page(write_report(whole_result(), tmp_path / "report.html"))
    assert "away from the head, mm to the scalp 7.1" in page.words


def test_the_angles_caption_says_what_the_angle_matters():
    _, values, apart = charts.yaw_curve(whole_result())
    loss = (values.max() - values.min()) / values.max()
    words = charts.yaw_sentence(whole_result())
    assert f"{apart:.1f} mm off. The worst angle there has {loss:.1%} less than the best." in words


def test_the_loss_under_noise_has_the_objectives_unit(tmp_path):
    goal = dataclasses.replace(whole_result().objective, unit="as returned")
    page = Page(write_report(whole_result(objective=goal), tmp_path / "report.html"))
    assert re.search(r"one placement in twenty falls below [\d.]+ as returned\. The noise: ", page.words)


def test_conductivities_and_values_are_not_rounded_to_others():
    sigma = {"csf": 1.654, "bone": 0.01, "white_matter": "tensor", "7": 0.0123456}
    result = whole_result(provenance=fake_provenance() | {"conductivity": sigma})
    words = "csf 1.654, bone 0.01, white matter tensor, 7 0.0123456"
    assert words in methods_text(result) and words in dict(provenance_rows(result))["conductivity, S/m"]
    assert f"it was {result.objective.value:#.4g} V/m" in methods_text(result)


def test_a_comparison_beside_brings_its_warnings_words_and_methods(tmp_path):
    whole_result().save(tmp_path)
    fake_comparison().save(tmp_path)
    page = Page(write_report(tmp_path, tmp_path / "report.html"))
    assert "template one template head" in page.words
    assert (
        "Electric fields were computed" in page.words and "Targeting methods (5cm, optimised)" in page.words
    )
    assert "P(optimum better): that the optimised placement, as it lands" in page.words
    assert "is of another" not in page.words


def test_a_comparison_of_something_else_is_said(tmp_path):
    whole_result().save(tmp_path)
    other = fake_provenance() | {"coil_sha256": "ab" * 32}
    fake_comparison(provenance=other, didt=2e6).save(tmp_path)
    page = Page(write_report(tmp_path, tmp_path / "report.html"))
    assert "the comparison in this folder is of another coil and dI/dt" in page.words


def test_the_tensor_image_is_in_the_provenance(tmp_path):
    result = whole_result()
    page = Page(write_report(result, tmp_path / "report.html"))
    assert "tensor image" not in page.words
    tensors = {"tissues": ["white_matter"], "image": "DTI.nii.gz", "mapping": "vn", "image_sha256": "ab" * 32}
    object.__setattr__(result, "provenance", result.provenance | {"anisotropy": tensors})
    page = Page(write_report(result, tmp_path / "report.html"))
    assert "tensor image, SHA-256 " + "ab" * 32 in page.words


def test_a_discretization_error_is_shown(tmp_path):
    result = whole_result()
    found = {"estimated_error": -0.01, "corrected_value": 1.25, "half_width": 0.01, "reason": None}
    object.__setattr__(result, "discretization", found)
    page = Page(write_report(result, tmp_path / "report.html"))
    assert "error -0.80%; corrected value 1.25 ± 0.01 V/m" in page.words
    object.__setattr__(result, "discretization", dict.fromkeys(found) | {"reason": "no derivative"})
    page = Page(write_report(result, tmp_path / "report.html"))
    assert "not known: no derivative" in page.words


CERTIFICATES = {
    "not asked for": (None, "certificate", "– not asked for (--certify)"),
    "holds": (
        {"epsilon": 0.0093, "wanted": 0.01, "holds": True},
        "certificate",
        "✓ no placement is better by more than 0.93 % (asked for: 1 %)",
    ),
    "does not hold": (
        {"epsilon": 0.021, "wanted": 0.01, "holds": False},
        "certificate",
        "! no placement is better by more than 2.1 % (asked for: 1 %)",
    ),
    "no bound": ({"epsilon": None, "wanted": 0.01, "holds": False}, "certificate", "! no bound was reached"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_certificate_is_among_the_checks(tmp_path, name):
    found, what, words = CERTIFICATES[name]
    page = Page(write_report(whole_result(certificate=found), tmp_path / "report.html"))
    checks = page.words.split("Checks")[1].split("Text for a methods section")[0]
    assert re.search(rf"{what} a bound on every tangential placement.*? {re.escape(words)}", checks), checks


def test_hostile_subjects_and_coil_headers_stay_text(tmp_path):
    """From the folder of a subject and the header of a coil through a run of the program to the page."""
    mark = "<img src=x onerror=alert(1)><b>&lt;"
    mesh = random_layered_sphere([66.0, 85.0], [2, 5], 14.0, seed=2)
    folder = tmp_path / f"m2m_{mark}"
    folder.mkdir()
    arrays = (np.asarray(a) for a in (mesh.nodes_mm, mesh.tets, mesh.tags))
    write_msh(folder / f"{mark}.msh", MeshRecord(*arrays))
    coil = tmp_path / f"{mark}.ccd"
    save_coil(few_dipoles(), tmp_path / "few.ccd")
    lines = (tmp_path / "few.ccd").read_text().splitlines()
    header = f"# {mark};dIdtmax=100;brand={mark};coilname={mark};stimulator={mark}"
    coil.write_text("\n".join([header, *lines[1:]]) + "\n")
    head = HeadModel.from_mesh(mesh)
    over = Placement.on_scalp(head, [-30, 30, 70], yaw_deg=20, distance_mm=6.0)
    np.savetxt(tmp_path / f"{mark}.txt", over.matsimnibs)
    words = ("--coil", coil, "--placement", tmp_path / f"{mark}.txt", "--out", tmp_path / "result")
    done = run("simulate", folder, *words)
    assert done.exit_code == 0, done.output
    done = run("report", tmp_path / "result")
    assert done.exit_code == 0, done.output
    page = Page(tmp_path / "result" / "report.html")
    assert page.open == []
    assert [attrs["id"] for tag, attrs in page.elements if tag == "img"] == ["head-print"]
    assert not any(tag == "b" for tag, _ in page.elements)
    assert page.words.count(mark) >= 4, (
        "the head, the coil, the text for a methods section, the placement's file"
    )


def test_the_report_of_the_built_in_head_is_small(tmp_path):
    """At most 15 MB: its surfaces are thinned, whatever the mesh."""
    head = load_head("mni152")
    e_field = np.random.default_rng(0).normal(size=(len(head.tets), 3))
    result = whole_result(field=StoredField(head, e_field, None, 1e6, "coil"))
    path = write_report(result, tmp_path / "report.html")
    assert 1.5e6 < path.stat().st_size < 5e6
    cortex, scalp = Page(path).figure("head")["data"][:2]
    for trace, most in ((cortex, CORTEX_TRIANGLES), (scalp, SCALP_TRIANGLES)):
        packed = trace["i"]
        size = np.dtype(packed["dtype"]).itemsize
        assert 0.5 * most < len(base64.b64decode(packed["bdata"])) // size <= most


def test_a_cohort_has_no_report(tmp_path):
    fake_cohort().save(tmp_path)
    with pytest.raises(FormatError, match="no report"):
        write_report(tmp_path, tmp_path / "report.html")


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_without_the_extra(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"efield\[report\]"):
        write_report(whole_result(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_view_puts_cortex_scalp_and_handle_into_the_scene():
    pyvista = pytest.importorskip("pyvista", reason="pyvista is not installed (efield[view])")
    field = dataclasses.replace(fake_field(), placement=whole_result().placement)
    plotter = view(field, plotter=pyvista.Plotter(off_screen=True))
    cortex, scalp, handle = plotter.meshes
    np.testing.assert_allclose(np.ptp(cortex.points, axis=0), np.ptp(field.head.nodes_mm, axis=0))
    shell = surfaces.cortex(field.head, np.asarray(field.magnitude))
    np.testing.assert_allclose(cortex[SCALARS], shell.values)
    assert scalp.n_cells == len(field.head.scalp.triangles)
    ends = handle.points @ field.placement.ydir
    assert ends.max() - ends.min() == pytest.approx(80.0, rel=1e-3)
    assert ends.min() == pytest.approx(field.placement.center_mm @ field.placement.ydir, abs=0.1)
    plotter.close()


def test_view_needs_a_field():
    pytest.importorskip("pyvista", reason="pyvista is not installed (efield[view])")
    with pytest.raises(FormatError, match="needs a field"):
        view(fake_optimize_result())


def test_view_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(MissingExtraError, match=r"efield\[view\]"):
        view(fake_field())


# --- surfaces


def sphere(n=60):
    """Points of a sphere of 80 mm and their triangles, with the height as value."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    points = 80 * np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    index = np.arange(n * 2 * n).reshape(n, 2 * n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    flat = points.reshape(-1, 3)
    return surfaces.Shell(flat, triangles, flat[:, 2].copy())


def test_coarser_surfaces_keep_shape_and_values():
    shell = sphere()
    small = surfaces.coarser(shell, 1500)
    assert 800 < len(small.triangles) <= 1500
    assert small.triangles.max() == len(small.vertices_mm) - 1
    radius = np.linalg.norm(small.vertices_mm, axis=1)
    assert radius.min() > 74 and radius.max() < 80.1
    np.testing.assert_allclose(small.values, small.vertices_mm[:, 2], atol=1e-9)
    assert surfaces.coarser(small, 1500) is small


def test_a_focus_stays_finer():
    shell = sphere()
    focus = np.array([0.0, 80.0, 0.0])
    small = surfaces.coarser(shell, 1500, focus_mm=focus)
    assert len(small.triangles) <= 1500
    assert small.triangles.max() == len(small.vertices_mm) - 1
    corners = small.vertices_mm[small.triangles]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean(axis=1)
    apart = np.linalg.norm(corners.mean(axis=1) - focus, axis=1)
    near, far = edges[apart < 40].mean(), edges[apart > 80].mean()
    assert 1.5 < far / near < 2.5


def test_the_bundle_is_the_published_one():
    """Its digest is the one that its README states."""
    folder = Path(surfaces.__file__).with_name("vendor")
    digest = hashlib.sha256((folder / "plotly-gl3d.min.js").read_bytes()).hexdigest()
    assert f"sha256 {digest}" in (folder / "README.md").read_text(encoding="utf-8")


def test_cortex_takes_the_values_of_the_elements_at_its_surface():
    head = block_head(n=3)
    shell = surfaces.cortex(head, np.full(len(head.tets), 2.5))
    np.testing.assert_allclose(shell.values, 2.5)
    grey = head.nodes_mm[np.unique(head.tets[head.tags == 2])]
    np.testing.assert_allclose(shell.vertices_mm.min(axis=0), grey.min(axis=0))


def test_the_current_is_drawn_along_the_coils_own():
    """`efield coil info`: positive didt runs along -y under the centre of the built-in figure-8."""
    result = whole_result(scene=Scene.of(load_coil("figure8-70mm"), [0, 1, 2]))
    figure, layers = head_figure(result)
    traces = {name: [figure.data[k] for k in indices] for name, indices, _ in layers}
    arrows = traces["coil"][-1]
    assert "current" in arrows.hovertemplate
    points = np.stack([arrows.x, arrows.y, arrows.z], axis=1).reshape(-1, 5, 8, 3).astype(float)
    pose = np.asarray(result.placement.matsimnibs)
    ways = (points[:, -1].mean(axis=1) - points[:, 0].mean(axis=1)) @ pose[:3, :3]
    starts = (points[:, 0].mean(axis=1) - pose[:3, 3]) @ pose[:3, :3]
    centre = np.abs(starts[:, :2]).max(axis=1) < 1
    assert centre.any()
    np.testing.assert_allclose(ways[centre] / 12.0, [[0, -1, 0]] * centre.sum(), atol=1e-2)
    handle = traces["coil"][0]
    ends = np.stack([handle.x, handle.y, handle.z], axis=1).reshape(5, 8, 3).mean(axis=1)
    np.testing.assert_allclose((ends[-1] - ends[0]) / 105, result.placement.ydir, atol=1e-5)


# --- figures


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_figures_of_every_kind(tmp_path, form):
    kinds = {
        "optimize": (whole_result(), ["scalp", "slices", "yaw", "distance", "tolerance"]),
        "simulate": (fake_simulate_result(field=fake_field()), ["slices"]),
        "compare": (fake_comparison(), ["comparison"]),
        "cohort": (fake_cohort(), ["cohort"]),
    }
    for kind, (result, names) in kinds.items():
        result.save(tmp_path / kind)
        paths = save_figures(tmp_path / kind, tmp_path / kind / "figures", format=form)
        assert [path.name for path in paths] == [f"{name}.{form}" for name in names]
        start = {"pdf": b"%PDF", "svg": b"<?xml"}[form]
        assert all(path.read_bytes().startswith(start) for path in paths)


def test_names_are_no_formulas(tmp_path):
    """matplotlib sets what stands between dollar signs as mathematics, and fails on a command it lacks."""
    name = r"$\nosuch{$ $x$"
    source = fake_provenance() | {"head": name, "coil": name}
    target = whole_result().target | {"name": name}
    rows = tuple(row | {"method": f"{k}{name}"} for k, row in enumerate(fake_comparison().rows))
    whole_result(provenance=source, target=target).save(tmp_path / "optimize")
    fake_comparison(rows=rows, target=target, provenance=source).save(tmp_path / "compare")
    subjects = [
        one | {"rows": [row | {"method": f"{row['method']}{name}"} for row in one["rows"]]}
        for one in fake_cohort().subjects
    ]
    fake_cohort(subjects=tuple(subjects)).save(tmp_path / "cohort")
    for kind in ("optimize", "compare", "cohort"):
        assert save_figures(tmp_path / kind, tmp_path / kind / "figures", format="svg")


def test_slices_show_the_field_of_the_tetrahedra_they_cut(tmp_path):
    field = fake_field()
    centre = [5.1, 4.9, 5.3]
    target = fake_optimize_result().target | {"center_mm": centre}
    figure = slices_figure(whole_result(field=field, target=target))
    image = figure.axes[2].images[0]  # axial
    left, right, low, _ = image.get_extent()
    shown = np.ma.filled(image.get_array().astype(float), np.nan)
    step = (right - left) / (shown.shape[1] - 1)
    rows, columns = np.nonzero(np.isfinite(shown))
    assert len(rows) > 50
    corners = field.head.nodes_mm[field.head.tets]
    for k in range(0, len(rows), len(rows) // 20):
        point = np.array([left + columns[k] * step, low + rows[k] * step, centre[2]])
        shares = np.linalg.solve(
            np.moveaxis(corners[:, 1:] - corners[:, :1], 1, 2), (point - corners[:, 0])[:, :, None]
        )[:, :, 0]
        holds = (shares > -1e-9).all(axis=1) & (shares.sum(axis=1) < 1 + 1e-9)
        assert shown[rows[k], columns[k]] in field.magnitude[holds]


def test_slices_have_the_outlines_of_the_tissues():
    """A block of two tissues that meet at about x = 4 mm: outlines that run inside it run there."""
    head = block_head(n=4)
    tags = np.where(head.mesh.barycentres_mm[:, 0] < 4.0, 1, 2)
    head = HeadModel.from_mesh(TetMesh(head.nodes_mm, head.tets, tags))
    field = StoredField(head, np.ones((len(tags), 3)), None, 1e6, "coil")
    target = fake_optimize_result().target | {"center_mm": [4.3, 4.2, 4.1]}
    axial = slices_figure(whole_result(field=field, target=target)).axes[2]
    outlines = [path for drawn in axial.collections for path in drawn.get_paths() if len(path.vertices)]
    assert len(outlines) == 2
    for path in outlines:
        x, y = path.vertices.T
        inside = (x > 1) & (x < 7) & (y > 1) & (y < 7)
        assert inside.any()
        np.testing.assert_allclose(x[inside], 4.0, atol=0.8)


def test_the_distance_figure_is_of_the_coils_distance(tmp_path):
    """The fake falls by 0.1 % of its value per square millimetre."""
    from efield.report.figures import _distance_figure

    plot = _distance_figure(whole_result()).axes[0]
    curve, star = plot.lines
    distance, percent = curve.get_data()
    np.testing.assert_allclose(percent, 100 - 0.1 * (distance - 4.0) ** 2, atol=1e-9)
    assert distance.min() >= 0 and distance.max() > 6
    assert star.get_data() == ([4.0], [100.0])
    assert plot.texts[0].get_text() == "-0.1 % for 1 mm more"


def test_comparison_and_cohort_come_back_as_they_were(tmp_path):
    for name, result in (("a", fake_comparison()), ("b", fake_cohort())):
        result.save(tmp_path / name)
        assert open_result(tmp_path / name).to_json() == result.to_json()


# --- the commands


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="efield")


def test_figures_of_a_folder_with_a_comparison_beside(tmp_path):
    whole_result().save(tmp_path)
    fake_comparison().save(tmp_path)
    names = [path.stem for path in save_figures(tmp_path, tmp_path / "figures", format="svg")]
    assert names == ["scalp", "slices", "yaw", "distance", "tolerance", "comparison"]


@pytest.mark.parametrize(
    "value, n, text",
    [(0.03430, 3, "0.0343"), (1084.2, 3, "1,084"), (298.0, 3, "298"), (503.9, 2, "504"), (99.7, 2, "100")],
)
def test_numbers_have_no_powers_of_ten(value, n, text):
    assert digits(value, n) == text


def test_places_that_coincide_share_a_label():
    places = np.array([[0.0, 0.0], [20.0, 0.0], [0.4, 0.3], [20.0, 5.0]])
    assert _together(places) == [[0, 2], [1], [3]]


def test_commands(tmp_path):
    whole_result().save(tmp_path / "r")
    done = run("report", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r" / "report.html").stat().st_size < 15e6
    done = run("figures", tmp_path / "r", "--out", tmp_path / "f", "--format", "svg", "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert {p.name for p in (tmp_path / "f").iterdir()} == {
        f"{name}.svg" for name in ("scalp", "slices", "yaw", "distance", "tolerance")
    }


@pytest.mark.parametrize("command", ["report", "figures"])
def test_commands_refuse_what_is_no_result(tmp_path, command):
    done = run(command, tmp_path)
    assert done.exit_code == 2 and "holds none of result.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["report", "figures"])
def test_commands_say_what_to_give_instead(tmp_path, command):
    mesh = tmp_path / "head.msh"
    mesh.write_bytes(b"$MeshFormat\xc2\n")
    for wrong, words in ((mesh, "is no result"), (tmp_path / "gone" / "result.json", "does not exist")):
        done = run(command, wrong)
        assert done.exit_code == 2 and words in done.stderr and "`--out` named" in done.stderr
    assert list(tmp_path.iterdir()) == [mesh]


def test_importing_the_report_needs_no_extra():
    code = "import sys, efield.report; print(sorted({'plotly', 'jinja2', 'pyvista'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
