"""Recorded sessions in numbers, the export command, the BIDS derivative, SimNIBS as a solver."""

import csv
import dataclasses
import json
import re
import sys
import types
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from results_fake import fake_optimize_result
from small_heads import RADIUS_MM, few_dipoles, sphere
from test_metrics import block_head

import efield
from efield import forward
from efield.cli import main
from efield.errors import ConvergenceError, EfieldError, FormatError, MissingExtraError, PlacementError
from efield.frames import pose_from_yaw
from efield.io.bids import COLUMNS as BIDS_COLUMNS
from efield.io.bids import write_bids
from efield.io.ccd import read_ccd
from efield.io.gmsh import read_msh, write_msh
from efield.metrics import weighted_percentile
from efield.model.head import HeadModel
from efield.model.session import NamedPlacement, Session
from efield.model.target import Target
from efield.results import json_schema
from efield.results.session import COLUMNS, SessionResult, simulate_session


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="efield")


def over_sphere(direction, distance_mm=6.0, yaw_deg=30.0, **said):
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    return NamedPlacement(pose_from_yaw((RADIUS_MM + distance_mm) * direction, -direction, yaw_deg), **said)


@pytest.fixture(scope="module")
def session():
    placements = (
        over_sphere([0, 0, 1], name="vertex", kind="sample", time_s=1.25, didt=62e6, intensity_percent=45.0),
        over_sphere([0, 0, 1], distance_mm=-12.0, name="inside"),
        over_sphere([-1, 1, 1], name="left", yaw_deg=-60.0),
    )
    return Session(placements, source="recording.xml", format="localite")


@pytest.fixture(scope="module")
def result(session):
    head = sphere()
    region = Target.sphere([0, 0, 60], 8).resolve(head.head)
    calls = []
    made = simulate_session(
        head, few_dipoles(), session, region, didt=2e6, progress=lambda *stage: calls.append(stage)
    )
    assert calls == [("setup", 0.0), ("forward", 0.0), ("forward", 1.0)]
    return made


def test_rows_agree_with_single_simulations(result, session):
    head = sphere().head
    region = Target.sphere([0, 0, 60], 8).resolve(head).elements
    grey = np.flatnonzero(head.tags == 2)
    volumes = head.mesh.volumes_mm3
    assert [row["name"] for row in result.rows] == ["vertex", "inside", "left"]
    for i in (0, 2):
        row, field = result.rows[i], forward.simulate(sphere(), few_dipoles(), session[i], didt=2e6)
        magnitude = np.linalg.norm(field.E, axis=1)
        mean = np.average(magnitude[region], weights=volumes[region])
        assert row["target_mean"] == pytest.approx(mean, rel=1e-4)
        assert row["grey_mean"] == pytest.approx(np.average(magnitude[grey], weights=volumes[grey]), rel=1e-4)
        peak = weighted_percentile(magnitude[grey], volumes[grey], 99.9)
        assert row["grey_peak"] == pytest.approx(peak, rel=1e-3)
        assert row["status"] == "simulated"
        assert row["distance_mm"] == pytest.approx(6.0, abs=1.5)  # the sphere is a polyhedron
    first = result.rows[0]
    assert first["target_mean_at_recorded_didt"] == pytest.approx(31 * first["target_mean"])
    assert (first["time_s"], first["intensity_percent"]) == (1.25, 45.0)
    assert result.rows[2]["target_mean_at_recorded_didt"] is None


def test_a_coil_inside_the_head_keeps_its_row(result):
    row = result.rows[1]
    assert "lie inside head 'sphere'" in row["status"]
    assert row["target_mean"] is None and row["grey_peak"] is None and row["z_mm"] == pytest.approx(73.0)
    assert (result.session["n_placements"], result.session["n_simulated"]) == (3, 2)


def test_session_result_is_saved_and_read(result, tmp_path):
    result.save(tmp_path / "study")
    assert sorted(p.name for p in (tmp_path / "study").iterdir()) == ["result.json", "session.csv"]
    body = json.loads((tmp_path / "study" / "result.json").read_text())
    jsonschema.validate(body, json_schema("efield.session/1"))
    with open(tmp_path / "study" / "session.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert float(rows[0]["target_mean"]) == result.rows[0]["target_mean"]
    assert rows[1]["target_mean"] == ""
    assert SessionResult.load(tmp_path / "study").to_json() == result.to_json()
    result.export(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "study" / "session.csv").read_bytes()
    with pytest.raises(FormatError, match="known: csv, json"):
        result.export(tmp_path / "a.png")


def test_an_empty_session_says_why():
    one = types.SimpleNamespace(name="s", where="line 1", reason="not tracked")
    with pytest.raises(PlacementError, match=r"a\.xml: nothing to simulate: 0 placements, 1 skipped"):
        simulate_session(None, few_dipoles(), Session((), skipped=(one,), source="a.xml"), None)


def test_simulate_takes_a_session(session):
    fields = forward.simulate(sphere(), few_dipoles(), session[::2])
    assert [field.placement.name for field in fields] == ["vertex", "left"]


@pytest.fixture
def seen(monkeypatch):
    """Names of the placements that the command line simulates, on a block and without a solver."""
    head, names = block_head(n=11, edge_mm=4.0), []

    def simulate(head, coil, poses, *, didt):
        names.extend(pose.name for pose in poses)
        ones = np.ones((len(head.head.tets), 3))
        return [forward.StoredField(head.head, k * ones, p, didt, coil.name) for k, p in enumerate(poses, 1)]

    monkeypatch.setattr("efield.model.heads.load_head", lambda *args, **options: head)
    monkeypatch.setattr(forward, "simulate", simulate)
    return names


def test_command_line_simulates_a_session(seen, tmp_path):
    poses = [
        NamedPlacement(pose_from_yaw([22, 22, 60 + k], [0, 0, -1.0], 0), name=f"t {k}") for k in range(2)
    ]
    efield.save_placements(poses, tmp_path / "s.xml", format="localite-trigger")
    arguments = ("simulate", "head.msh", "--placement", tmp_path / "s.xml", "--target", "22,22,22")
    text = run(*arguments, "--out", tmp_path / "out")
    assert text.exit_code == 0, text.output + repr(text.exception)
    assert "2 of 2 simulated" in text.stdout
    assert "1.732 to 3.464 V/m at 1 A/µs, sphere (22.0, 22.0, 22.0)" in text.stdout
    assert seen == ["t 0", "t 1"]
    body = json.loads(run(*arguments, "--json", "-").stdout)
    jsonschema.validate(body, json_schema("efield.session/1"))
    assert body["placements"][1]["grey_mean"] == pytest.approx(2 * np.sqrt(3))


@pytest.mark.filterwarnings("default:.* placements, 2 skipped")
def test_untracked_samples_are_counted_in_the_result_and_the_table(seen, tmp_path):
    """Two of five triggers are as Localite writes them while the coil is out of the camera's sight."""
    poses = [NamedPlacement(pose_from_yaw([22, 22, 60], [0, 0, -1.0], 0), name=f"t {k}") for k in range(5)]
    path = tmp_path / "s.xml"
    efield.save_placements(poses, path, format="localite-trigger")
    lost = "".join(f'data{i}{j}="{float(i == j)}" ' for i in range(4) for j in range(4))
    parts = re.split(r"(<Matrix4D .*/>)", path.read_text())
    parts[3] = parts[7] = f"<Matrix4D {lost}/>"
    path.write_text("".join(parts))
    arguments = ("simulate", "head.msh", "--placement", path, "--target", "22,22,22")
    text = run(*arguments, "--out", tmp_path / "out")
    assert text.exit_code == 0, text.output + repr(text.exception)
    assert "3 placements, 2 skipped (2 not tracked" in text.stderr
    assert seen == ["t 0", "t 2", "t 4"]
    assert "3 of 3 simulated" in text.stdout
    assert re.search(r"skipped +2: not tracked", text.stdout)
    kept = SessionResult.load(tmp_path / "out").session
    assert (kept["n_placements"], kept["n_simulated"]) == (3, 3)
    assert [(one["name"], one["reason"].split(" (")[0]) for one in kept["skipped"]] == [
        ("t 1", "not tracked"),
        ("t 3", "not tracked"),
    ]


# --- efield export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A result folder with its field, without pictures."""
    head = block_head(n=3)
    e_field = np.random.default_rng(0).normal(size=(len(head.tets), 3))
    made = fake_optimize_result(field=types.SimpleNamespace(head=head, E=e_field))
    return made.save(tmp_path_factory.mktemp("result"))


@pytest.mark.parametrize("name", ["result", "result/result.json"])
def test_export_of_a_result(folder, tmp_path, name):
    source = folder if name == "result" else folder / "result.json"
    made = run("export", source, "--format", "brainsight", tmp_path / "a.txt")
    assert made.exit_code == 0, made.output + repr(made.exception)
    assert made.stdout == f"Written to {tmp_path / 'a.txt'}\n"
    session = efield.load_placements(tmp_path / "a.txt")
    assert [p.name for p in session] == ["best 1", "best 2"]
    run("export", source, tmp_path / "b.csv")
    assert len(efield.load_placements(tmp_path / "b.csv")) == 2
    made = run("export", source, "--format", "field-csv", tmp_path / "e.csv")
    assert made.exit_code == 0, made.output + repr(made.exception)
    assert (tmp_path / "e.csv").read_text().count("\n") == 163


def test_export_of_a_field_and_of_placements(folder, tmp_path):
    assert run("export", folder / "field.msh", tmp_path / "a.vtu").exit_code == 0
    assert (tmp_path / "a.vtu").stat().st_size > 1000
    run("export", folder / "best.csv", tmp_path / "a.mrk")
    assert run("export", tmp_path / "a.mrk", "--format", "localite-lps", tmp_path / "a.xml").exit_code == 0
    assert 'coordinateSpace="LPS"' in (tmp_path / "a.xml").read_text()


def test_export_refuses(folder, tmp_path):
    for arguments, words in (
        ((folder, "--format", "docx", tmp_path / "a"), "unknown export format 'docx'"),
        ((folder, tmp_path / "a.nii.gz"), "needs a reference image"),
        ((folder, "--format", "bids", tmp_path / "b"), "needs --subject"),
        ((tmp_path / "none", tmp_path / "a.csv"), "none"),
        ((tmp_path, tmp_path / "a.csv"), "result.json"),
    ):
        made = run("export", *arguments)
        assert made.exit_code == 2, made.output + repr(made.exception)
        assert words in made.stderr


# --- BIDS


def test_bids_derivative(folder, tmp_path):
    made = run("export", folder / "best.csv", "--format", "bids", "--subject", "01", tmp_path / "bids")
    assert made.exit_code == 0, made.output + repr(made.exception)
    place = tmp_path / "bids" / "sub-01" / "nibs"
    stem = "sub-01_task-tms_stimsys-tms"
    assert sorted(p.name for p in place.iterdir()) == [
        f"{stem}_coordsystem.json",
        f"{stem}_markers.json",
        f"{stem}_markers.tsv",
    ]
    with open(place / f"{stem}_markers.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pose = fake_optimize_result().placement.matsimnibs
    assert tuple(rows[0]) == tuple(BIDS_COLUMNS)
    np.testing.assert_allclose(json.loads(rows[0]["coil_transform"]), pose, atol=1e-14)
    direction = [float(rows[0][f"direction_{axis}"]) for axis in "xyz"]
    outward = [float(rows[0][f"normal_{axis}"]) for axis in "xyz"]
    np.testing.assert_allclose([direction, outward], [pose[:3, 1], -pose[:3, 2]])
    assert "-y, the handle" in rows[0]["target_description"]
    assert json.loads((place / f"{stem}_markers.json").read_text())["Draft"].startswith("NIBS-BIDS v6.2")
    description = json.loads((tmp_path / "bids" / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"


def test_bids_refuses_labels_and_nothing(tmp_path):
    with pytest.raises(FormatError, match="letters and digits"):
        write_bids(tmp_path, [over_sphere([0, 0, 1])], subject="../01")
    with pytest.raises(FormatError, match="no placements"):
        write_bids(tmp_path, [], subject="01")
    with pytest.raises(FormatError, match="letters and digits"):
        write_bids(tmp_path, [over_sphere([0, 0, 1])], subject="01", session="a b")


# --- SimNIBS as a solver


def test_simnibs_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "simnibs", None)
    with pytest.raises(MissingExtraError, match=r"needs SimNIBS 4 .* not on PyPI"):
        forward.simulate(block_head(n=2), few_dipoles(), over_sphere([0, 0, 1]), solver="simnibs")
    with pytest.raises(EfieldError, match="unknown solver 'simnib'"):
        forward.simulate(block_head(n=2), few_dipoles(), over_sphere([0, 0, 1]), solver="simnib")


class FakeSimNIBS(types.ModuleType):
    """What efield calls of SimNIBS: a session with a list of positions; run writes one mesh a position."""

    def __init__(self, results=None):
        super().__init__("simnibs")
        self.sim_struct = types.SimpleNamespace(SESSION=lambda: types.SimpleNamespace(add_tmslist=self._add))
        self.results, self.seen = results, None

    def _add(self):
        positions = []

        def add_position():
            positions.append(types.SimpleNamespace())
            return positions[-1]

        conductivity = [types.SimpleNamespace(value=None) for _ in range(50)]
        self.seen = types.SimpleNamespace(pos=positions, cond=conductivity, add_position=add_position)
        return self.seen

    def run_simnibs(self, session):
        self.session, self.mesh = session, read_msh(session.fnamehead)
        self.coil = read_ccd(self.seen.fnamecoil)
        Path(session.pathfem).mkdir()
        for i in range(len(self.seen.pos) if self.results is None else self.results):
            e_field = np.full((len(self.mesh.tets), 3), i + 1.0)
            path = Path(session.pathfem, f"head_TMS_1-{i + 1:04d}_coil_scalar.msh")
            write_msh(path, self.mesh, element_data={"E": e_field, "magnE": e_field[:, 0]})


def test_simnibs_gets_head_coil_and_poses(monkeypatch):
    fake = FakeSimNIBS()
    monkeypatch.setitem(sys.modules, "simnibs", fake)
    head, coil = block_head(n=2), few_dipoles()
    placements = [over_sphere([0, 0, 1], name="a"), over_sphere([0, 1, 1], name="b")]
    fields = forward.simulate(head, coil, placements, didt=3e6, solver="simnibs")
    assert [field.placement.name for field in fields] == ["a", "b"]
    np.testing.assert_array_equal([field.E[0, 0] for field in fields], [1.0, 2.0])
    assert fields[0].residual is None and fields[0].didt == 3e6
    for sent, placement in zip(fake.seen.pos, placements, strict=True):
        np.testing.assert_array_equal(sent.matsimnibs, placement.matsimnibs)
        assert sent.didt == 3e6
    np.testing.assert_array_equal(fake.mesh.nodes, head.nodes_mm)
    np.testing.assert_array_equal(fake.mesh.tets, head.tets)
    assert set(fake.mesh.tri_tags) == {1005}
    np.testing.assert_allclose(fake.coil.positions_m, coil.positions_mm / 1000)
    np.testing.assert_array_equal(fake.coil.moments, coil.moments)
    assert fake.seen.cond[1].value == head.conductivity[0]
    assert fake.session.open_in_gmsh is False
    single = forward.simulate(head, coil, placements[0], solver="simnibs")
    assert single.E.shape == (len(head.tets), 3)


def test_simnibs_results_that_do_not_fit(monkeypatch):
    head, one = block_head(n=2), over_sphere([0, 0, 1])
    monkeypatch.setitem(sys.modules, "simnibs", FakeSimNIBS(results=0))
    with pytest.raises(ConvergenceError, match="left 0 results for 1"):
        forward.simulate(head, few_dipoles(), one, solver="simnibs")
    tensors = dataclasses.replace(head, conductivity=np.tile(0.3 * np.eye(3), (len(head.tets), 1, 1)))
    assert isinstance(tensors, HeadModel)
    with pytest.raises(EfieldError, match="one scalar conductivity a tissue"):
        forward.simulate(tensors, few_dipoles(), one, solver="simnibs")
