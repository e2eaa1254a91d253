"""Results: strict JSON by schema, storage whole or not at all, export, the picture."""

import csv
import json
import os
import shutil
from types import SimpleNamespace

import jsonschema
import meshio
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from results_fake import (
    SCALP,
    fake_candidates,
    fake_cohort,
    fake_comparison,
    fake_metrics,
    fake_optimize_result,
    fake_placement,
    fake_provenance,
    fake_scene,
    fake_session_result,
    fake_simulate_result,
)
from test_metrics import block_head

from efield.errors import FormatError, OutputError
from efield.frames import direction_words
from efield.model.coil import Coil
from efield.results import (
    Candidates,
    ObjectiveValue,
    OptimizeResult,
    SimulateResult,
    check_output,
    check_output_file,
    json_schema,
    provenance,
)
from efield.results import store as store_module
from efield.results.picture import picture_axes, scalp_figure
from efield.results.plain import dumps, plain
from efield.results.schema import KINDS
from efield.results.words import objective_words

RESULTS = {
    "efield.optimize/1": fake_optimize_result,
    "efield.simulate/1": fake_simulate_result,
    "efield.session/1": fake_session_result,
    "efield.compare/1": fake_comparison,
    "efield.cohort/1": fake_cohort,
}


def fake_field(seed=0):
    head = block_head(n=3)
    e_field = np.random.default_rng(seed).normal(size=(len(head.tets), 3))
    return SimpleNamespace(head=head, E=e_field)


def strict(text):
    """Parse JSON, refusing NaN and Infinity."""

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read_table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def files(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved optimization, without its field."""
    return fake_optimize_result().save(tmp_path_factory.mktemp("result"))


@pytest.fixture
def no_picture(monkeypatch):
    """For tests of storage: drawing is slow and not their subject."""
    monkeypatch.setattr("efield.results.picture.save_scalp_picture", lambda result, path: path.touch())


# --- JSON and schemas


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_a_schema(kind):
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))
    assert json_schema(kind)["properties"]["schema"]["const"] == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("volatile", [True, False])
def test_json_follows_its_schema(kind, volatile):
    body = strict(RESULTS[kind]().to_json(volatile))
    jsonschema.validate(body, json_schema(kind))
    assert body["schema"] == kind
    assert body["frame"] == {"space": "mni", "axes": "RAS", "length": "mm"}
    assert body["units"]["fields"] == "V/m at didt"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("placement", "matsimnibs"), [[1, 0, 0]] * 4),
        (("placement", "yaw_to_midline_deg"), -180.0),
        (("objective", "value"), None),
        (("check",), {"forward_value": 1.0}),
        (("target", "n_elements"), 0),
        (("warnings",), ["edge_of_search"]),
        (("metrics", "mean"), None),
    ],
)
def test_schema_refuses_what_is_wrong(path, value):
    body = fake_optimize_result().to_dict()
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, json_schema("efield.optimize/1"))


def test_promised_keys_are_there():
    body = fake_optimize_result().to_dict()
    promised = {
        "placement": "matsimnibs center_mm scalp_mm ydir yaw_to_midline_deg distance_mm",
        "objective": "name value unit",
        "target": "n_elements volume_mm3 center_mm moved_mm space",
        "check": "forward_value relative_difference warn_above",
        "search": "n_positions n_yaw n_placements grid_best refined_gain",
        "provenance": "efield head_sha256 coil_sha256 conductivity element_order dadt_rule",
    }
    for key, names in promised.items():
        assert set(names.split()) <= set(body[key])
    assert {"schema", "didt", "metrics", "timings_s", "warnings"} <= set(body)
    assert body["warnings"][0]["code"] == "edge_of_search"


def test_check_is_null_without_verification():
    body = strict(fake_optimize_result(check=None).to_json())
    assert body["check"] is None
    jsonschema.validate(body, json_schema("efield.optimize/1"))


@pytest.mark.parametrize("kind", KINDS)
def test_without_volatile_runs_are_byte_equal(kind):
    later = fake_provenance() | {"run": {"finished_utc": "2031-07-07T07:07:07+00:00"}}
    one = RESULTS[kind]()
    two = RESULTS[kind](timings={"load": 9.0, "total": 9.5}, provenance=later)
    assert one.to_json(volatile=False) == two.to_json(volatile=False)
    assert one.to_json() != two.to_json()
    assert "timings_s" not in one.to_dict(volatile=False)
    assert one.to_dict()["timings_s"]["load"] > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, np.float32("nan"), np.array([1.0, -np.inf])])
def test_numbers_that_are_not_finite_are_refused(bad):
    metrics = fake_metrics() | {"mean": bad}
    with pytest.raises(OutputError, match=r"metrics\.mean"):
        fake_optimize_result(metrics=metrics).to_dict()


def test_plain_and_dumps():
    value = {1: np.float32(0.5), "b": (np.int64(2), None, True), "c": np.eye(2), "s": 'a "quoted" µ'}
    assert plain(value) == {"1": 0.5, "b": [2, None, True], "c": [[1, 0], [0, 1]], "s": 'a "quoted" µ'}
    assert strict(dumps(value)) == plain(value)
    with pytest.raises(OutputError, match=r"result\.x is a set"):
        plain({"x": {1}})


# --- candidates


def test_candidates_mark_what_is_not_feasible():
    candidates = fake_candidates()
    best = candidates.best_over_yaw()
    assert np.isnan(best[:5]).all()
    assert np.isfinite(best[5:]).all()
    assert np.array_equal(np.isnan(candidates.values), ~candidates.feasible)
    with pytest.raises(ValueError, match="read-only"):
        candidates.values[0, 0] = 1.0


def test_candidates_refuse_a_missing_value():
    with pytest.raises(OutputError, match="position 0, yaw 20"):
        Candidates(np.zeros((1, 3)), np.ones((1, 3)), np.array([10.0, 20.0]), [[1.0, np.nan]])
    with pytest.raises(OutputError, match="shapes"):
        Candidates(np.zeros((2, 3)), np.ones((2, 3)), np.array([10.0]), [[1.0]])


# --- folders


def test_optimize_result_round_trip(no_picture, tmp_path):
    result = fake_optimize_result()
    assert result.save(tmp_path / "out") == tmp_path / "out"
    again = OptimizeResult.load(tmp_path / "out")
    assert again.to_json() == result.to_json()
    assert again.field is None
    for name in ("scalp_mm", "normals", "yaw_deg", "values", "feasible"):
        np.testing.assert_array_equal(getattr(again.candidates, name), getattr(result.candidates, name))
    np.testing.assert_allclose(again.placement.matsimnibs, result.placement.matsimnibs, atol=1e-14)
    assert again.best[1].info["scalp_mm"] is None
    for name, value in vars(result.scene).items():
        np.testing.assert_array_equal(getattr(again.scene, name), value)


def test_simulate_result_round_trip(tmp_path):
    result = fake_simulate_result(field=fake_field(), scene=fake_scene())
    result.save(tmp_path)
    assert files(tmp_path) == sorted([*store_module.FIELD_FILES, "scene.npz", "result.json"])
    assert SimulateResult.load(tmp_path).to_json() == result.to_json()


def test_files_of_an_optimization(tmp_path):
    result = fake_optimize_result(field=fake_field())
    result.save(tmp_path)
    assert files(tmp_path) == sorted(store_module.FILES)
    body = strict((tmp_path / "result.json").read_text())
    jsonschema.validate(body, json_schema("efield.optimize/1"))
    best = read_table(tmp_path / "best.csv")
    assert [row["rank"] for row in best] == ["1", "2"]
    pose = [[float(best[0][f"m{i}{j}"]) for j in range(4)] for i in range(4)]
    np.testing.assert_array_equal(pose, result.placement.matsimnibs)
    assert best[1]["scalp_x_mm"] == ""
    table = read_table(tmp_path / "candidates.csv")
    assert len(table) == len(result.candidates.scalp_mm)
    assert table[0]["best_value_V_per_m"] == ""
    top = max(float(row["best_value_V_per_m"]) for row in table[5:])
    assert top == np.nanmax(result.candidates.values)
    assert (tmp_path / "scalp.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["field.vtu", "field.msh"])
def test_field_files_open_elsewhere(no_picture, tmp_path, name):
    field = fake_field()
    fake_optimize_result(field=field).save(tmp_path)
    mesh = meshio.read(tmp_path / name)
    np.testing.assert_allclose(mesh.points, field.head.nodes_mm)
    np.testing.assert_array_equal(mesh.cells_dict["tetra"], field.head.tets)
    e_field = mesh.cell_data_dict["E"]["tetra"]
    np.testing.assert_allclose(e_field, field.E, rtol=1e-6)
    norm = mesh.cell_data_dict["magnE"]["tetra"].ravel()
    np.testing.assert_allclose(norm, np.linalg.norm(field.E, axis=1), rtol=1e-6)
    tags = mesh.cell_data_dict["tag" if name == "field.vtu" else "gmsh:physical"]["tetra"]
    np.testing.assert_array_equal(tags, field.head.tags)


def test_vtk_opens_the_field(no_picture, tmp_path):
    xml = pytest.importorskip("vtkmodules.vtkIOXML", reason="VTK is not installed (efield[view])")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    field = fake_field()
    fake_optimize_result(field=field).save(tmp_path)
    reader = xml.vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(tmp_path / "field.vtu"))
    reader.Update()
    grid = reader.GetOutput()
    assert reader.GetErrorCode() == 0
    data = grid.GetCellData()
    arrays = {data.GetArrayName(k): vtk_to_numpy(data.GetArray(k)) for k in range(data.GetNumberOfArrays())}
    assert sorted(arrays) == ["E", "magnE", "tag"]
    np.testing.assert_allclose(arrays["E"], field.E, rtol=1e-6)
    np.testing.assert_allclose(arrays["magnE"], np.linalg.norm(field.E, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(arrays["tag"], field.head.tags)
    np.testing.assert_array_equal(vtk_to_numpy(grid.GetPoints().GetData()), field.head.nodes_mm)
    corners = vtk_to_numpy(grid.GetCells().GetConnectivityArray()).reshape(-1, 4)
    np.testing.assert_array_equal(corners, field.head.tets)
    assert {grid.GetCellType(k) for k in range(grid.GetNumberOfCells())} == {10}  # VTK_TETRA


def test_gmsh_opens_the_field_and_the_coil(no_picture, tmp_path):
    """Also what the options beside the mesh ask for; not in CI, Gmsh is not among the test dependencies."""
    gmsh = pytest.importorskip("gmsh", reason="Gmsh is not installed")
    field = fake_field()
    fake_optimize_result(field=field).save(tmp_path)
    gmsh.initialize(["", "-v", "0"], readConfigFiles=False, interruptible=False)
    try:
        gmsh.logger.start()
        gmsh.open(str(tmp_path / "field.msh"))  # and the options beside it, and with them the coil
        assert not [line for line in gmsh.logger.get() if line.startswith(("Error", "Warning"))]
        assert len(gmsh.model.mesh.getNodes()[0]) == len(field.head.nodes_mm)
        indices = [gmsh.view.getIndex(tag) for tag in gmsh.view.getTags()]
        names = [gmsh.option.getString(f"View[{k}].Name") for k in indices]
        shown = [gmsh.option.getNumber(f"View[{k}].Visible") for k in indices]
        assert names[:2] == ["E", "magnE"] and names[2].startswith("coil")
        assert shown == [0, 1, 1]
        for tag, expected in zip((1, 2), (field.E, np.linalg.norm(field.E, axis=1)), strict=True):
            values = gmsh.view.getHomogeneousModelData(tag, 0)[2]
            np.testing.assert_allclose(values, expected.ravel(), rtol=1e-6)
    finally:
        gmsh.finalize()


def test_saving_again_leaves_nothing_of_the_earlier_result(no_picture, tmp_path):
    fake_optimize_result(field=fake_field()).save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    fake_optimize_result().save(tmp_path)
    assert files(tmp_path) == sorted({*store_module.FILES, "notes.txt"} - set(store_module.FIELD_FILES))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_save_leaves_nothing_half_written(no_picture, tmp_path, monkeypatch, error):
    def interrupted(path, *args, **kwargs):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(store_module, "write_field", interrupted)
    expected = KeyboardInterrupt if error is KeyboardInterrupt else OutputError
    with pytest.raises(expected):
        fake_optimize_result(field=fake_field()).save(tmp_path / "new")
    assert files(tmp_path / "new") == []


def test_interrupted_save_keeps_the_earlier_result(no_picture, tmp_path, monkeypatch):
    first = fake_optimize_result()
    first.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "write_field", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fake_optimize_result(didt=2e6, field=fake_field()).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_interrupted_move_leaves_no_result_json(no_picture, tmp_path, monkeypatch):
    fake_optimize_result().save(tmp_path)
    moves = []

    def second_fails(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(store_module.os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        fake_optimize_result(didt=2e6).save(tmp_path)
    assert "result.json" not in files(tmp_path)
    assert not [name for name in files(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("check", [check_output, check_output_file])
def test_output_below_a_file_is_refused(tmp_path, check):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        check(tmp_path / "file" / "below")


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a folder"):
        check_output(tmp_path / "file")
    with pytest.raises(OutputError, match="is a folder"):
        check_output_file(tmp_path)
    with pytest.raises(OutputError, match="make it first"):
        check_output_file(tmp_path / "none" / "result.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        check_output(tmp_path / "new")


def test_folder_that_cannot_take_a_file_is_refused(tmp_path, monkeypatch):
    def no_file(**kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("efield.results.outputs.tempfile.TemporaryFile", no_file)
    with pytest.raises(OutputError, match="Read-only file system"):
        check_output(tmp_path / "a" / "b")


def test_checking_leaves_nothing_behind(tmp_path):
    check_output(tmp_path / "a" / "b")
    check_output_file(tmp_path / "result.json")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "result.json").unlink(), "cannot read"),
        (lambda d: (d / "result.json").write_text('{"schema": "efield.opt'), "cut short"),
        (lambda d: (d / "result.json").write_text("[]"), "not a result"),
        (lambda d: (d / "result.json").write_bytes(b"\xff\xfe\x00"), "not JSON"),
        (lambda d: (d / "result.json").write_text('{"schema": "efield.optimize/9"}'), "efield.optimize/9"),
        (lambda d: (d / "result.json").write_text('{"schema": "efield.optimize/1"}'), "lacks"),
        (lambda d: (d / "candidates.npz").unlink(), "missing"),
        (lambda d: (d / "candidates.npz").write_bytes(b"PK\x03\x04"), "cut short"),
        (lambda d: os.truncate(d / "candidates.npz", 3000), "cut short"),
        (lambda d: np.savez(d / "candidates.npz", scalp_mm=np.zeros((1, 3))), "candidates.npz"),
    ],
)
def test_damaged_folder_is_refused_by_name(saved, tmp_path, damage, words):
    folder = shutil.copytree(saved, tmp_path / "copy")
    damage(folder)
    with pytest.raises(FormatError, match=words):
        OptimizeResult.load(folder)


def test_result_of_another_kind_is_refused(tmp_path):
    fake_simulate_result().save(tmp_path)
    with pytest.raises(FormatError, match=r"efield\.simulate/1"):
        OptimizeResult.load(tmp_path)


# --- single files


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.txt", "a.npy", "a.png", "a.vtu", "a.msh"])
def test_export(tmp_path, name):
    result = fake_optimize_result(field=fake_field())
    assert result.export(tmp_path / name) == tmp_path / name
    assert files(tmp_path) == ([name, "a.npy.txt"] if name == "a.npy" else [name])
    assert (tmp_path / name).stat().st_size > 100


def test_exported_pose_reads_back(no_picture, tmp_path):
    from efield.io.pose import read_pose

    result = fake_optimize_result()
    result.save(tmp_path)
    for name in ("pose.txt", "pose.npy", "all.json"):
        result.export(tmp_path / name)
        np.testing.assert_array_equal(read_pose(tmp_path / name), result.placement.matsimnibs)
    np.testing.assert_array_equal(read_pose(tmp_path / "result.json"), result.placement.matsimnibs)


def test_export_says_what_it_cannot_do(tmp_path):
    with pytest.raises(FormatError, match="known: json, csv"):
        fake_optimize_result().export(tmp_path / "a.docx")
    with pytest.raises(FormatError, match="holds no field"):
        fake_optimize_result().export(tmp_path / "a.vtu")
    with pytest.raises(FormatError, match="only the result of an optimization"):
        fake_simulate_result().export(tmp_path / "a.png")
    with pytest.raises(OutputError):
        fake_optimize_result().export(tmp_path / "none" / "a.json")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 2 3", "shape"),
        ("a.txt", "1 0 0 x\n" * 4, "no 4 x 4 pose"),
        ("a.csv", "1,0,0,nan\n" * 4, "not finite"),
        ("a.json", "{}", "matsimnibs"),
        ("a.json", "[[1, 0], [0]]", "no 4 x 4 pose"),
        ("a.json", "{", "no 4 x 4 pose"),
        ("a.npy", "not numpy", "no 4 x 4 pose"),
        ("a.xml", "", "cannot tell"),
        ("missing/a.txt", None, "cannot read"),
    ],
)
def test_bad_pose_files(tmp_path, name, text, words):
    from efield.io.pose import read_pose

    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=words):
        read_pose(tmp_path / name)


# --- picture and words


def test_picture_shows_optimum_and_handle():
    result = fake_optimize_result()
    figure = scalp_figure(result)
    FigureCanvasAgg(figure).draw()  # the arrow's outline follows the final axes
    plot = figure.axes[0]
    assert "1.311 V/m at 1 A/µs" in plot.get_title()
    scalp = result.candidates.scalp_mm
    axes = picture_axes(result.candidates.normals[np.argmin(np.sum((scalp - SCALP) ** 2, axis=1))])
    (arrow,) = plot.patches
    path = arrow.get_path()
    outline = path.vertices[path.codes != path.CLOSEPOLY]
    tip = outline[np.argmax(np.linalg.norm(outline - outline[0], axis=1))]
    drawn = (tip - outline[0]) / np.linalg.norm(tip - outline[0])
    wanted = axes @ result.placement.ydir
    assert drawn @ wanted == pytest.approx(np.linalg.norm(wanted), abs=0.02)


def test_picture_axes_are_seen_from_outside():
    np.testing.assert_allclose(picture_axes([0, 0, 1]), [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    for normal in ([-0.6, 0.65, 0.5], [0, 0.99, 0.1], [1, 0.1, 0], [0, 1, 0], [0, -1, 0.1]):
        normal = np.array(normal) / np.linalg.norm(normal)
        right, up = picture_axes(normal)
        np.testing.assert_allclose(np.cross(right, up), normal, atol=1e-12)
        assert up[1] + up[2] > 0
    assert picture_axes([-1, 0, 0])[1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_picture_of_a_few_positions(tmp_path, n):
    line = SCALP + np.outer(np.arange(n), [0.0, 0.0, 1.0])
    candidates = Candidates(line, np.tile([-0.6, 0.6, 0.5], (n, 1)), np.array([0.0]), np.ones((n, 1)))
    fake_optimize_result(candidates=candidates).export(tmp_path / "a.png")


def test_picture_takes_any_name(tmp_path):
    target = fake_optimize_result().target | {"name": "a $\\bad{ <b>"}
    objective = ObjectiveValue("my $x^ objective", 1.0)
    fake_optimize_result(target=target, objective=objective).export(tmp_path / "a.png")


def test_words():
    assert direction_words([0, -1, 0.1]) == "posterior"
    assert direction_words([-0.5, 0.7, 0.4]) == "anterior, left and superior"
    assert direction_words([0.7, 0, -0.7]) == "right and inferior"
    assert objective_words("mean_magnitude") == "mean |E| in the target"
    assert objective_words("percentile:99") == "99th percentile of |E| in the target"
    assert objective_words("mine") == "mine"


# --- provenance


def test_provenance_names_inputs_by_hash():
    head = block_head(n=2)
    coil = Coil([[0, 0, -5.0]], [[0, 0, 1.0]], name="loop")
    one, two = (provenance(head, coil, search={"radius_mm": 25.0}) for _ in range(2))
    assert one["head_sha256"] == head.sha256
    assert one["coil_sha256"] == coil.sha256
    assert one["conductivity"] == {"grey_matter": 0.275}
    assert one["search"] == {"radius_mm": 25.0}
    assert one.pop("run")["packages"].keys() >= {"numpy", "numba"}
    two.pop("run")
    assert one == two
    body = fake_simulate_result(provenance=one | {"run": {}}).to_dict()
    jsonschema.validate(body, json_schema("efield.simulate/1"))
    assert fake_placement().matsimnibs.shape == (4, 4)
