"""Comparing targeting methods: the numbers against their definitions, failures, files, command line."""

import csv
import json
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from results_fake import fake_comparison
from small_heads import QUICK, TARGET_MM, few_dipoles, sphere
from test_scalp import round_head

import efield
from efield.cli import main
from efield.cli.shares import compare_shares
from efield.errors import EfieldError, FormatError, OutputError, PlacementError
from efield.frames import pose_from_yaw
from efield.model.placement import Placement
from efield.model.target import Target
from efield.results import json_schema
from efield.results.comparison import COLUMNS
from efield.results.parts import ResultWarning
from efield.targeting import METHODS, compare
from efield.targeting.case import PeakMap
from efield.targeting.noise import NAVIGATED, Landing, PlacementNoise

TARGET = Target.sphere(TARGET_MM, 8.0)
METHODS_USED = ["beam-f3", "closest-scalp", "optimised-yaw", "optimised"]


@pytest.fixture(scope="module")
def compared():
    """Four methods on a sphere, which has no landmarks; stages have shares of the time."""
    stages = []
    found = efield.compare_targeting(
        *(sphere(), few_dipoles(), TARGET, METHODS_USED),
        search=QUICK,
        didt=2e6,
        progress=lambda stage, fraction: stages.append(stage),
    )
    assert {"targeting", "setup", "modes", "fields"} <= set(stages) <= compare_shares(None).keys()
    return found


def placed(row):
    return Placement(np.array(row["placement"]["matsimnibs"]))


def test_rows_come_in_the_order_asked_for(compared):
    assert [row["method"] for row in compared.rows] == METHODS_USED
    assert compared["optimised"] is compared.rows[3]


def test_a_method_that_fails_says_why_and_the_others_run(compared):
    row = compared["beam-f3"]
    assert "'sphere' brings no landmarks" in row["error"]
    assert all(row[key] is None for key, _, _ in COLUMNS)
    assert row["placement"] is None
    assert all(compared[name]["error"] is None for name in METHODS_USED[1:])


@pytest.mark.parametrize("name", METHODS_USED[1:])
def test_numbers_of_a_method_by_their_definitions(compared, name):
    row, head = compared[name], sphere().head
    field = efield.simulate(sphere(), few_dipoles(), placed(row), didt=2e6)
    region = TARGET.resolve(head)
    grey = np.flatnonzero(head.tags == 2)
    outside = np.setdiff1d(grey, region.elements)
    order = np.argsort(field.magnitude[outside])
    share = np.cumsum(head.mesh.volumes_mm3[outside][order])
    expected = {
        "mean": np.average(field.magnitude[region.elements], weights=region.volumes_mm3),
        "p99": field.metrics(region)["p99"],
        "half_value_volume_mm3": field.metrics(region)["half_value_volume_mm3"],
        "off_target": field.magnitude[outside][order][np.searchsorted(share, 0.999 * share[-1])],
        "coil_cortex_mm": np.linalg.norm(
            head.nodes_mm[np.unique(head.tets[grey])] - row["placement"]["center_mm"], axis=1
        ).min(),
    }
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-6), key
    assert row["percent_of_optimum"] == pytest.approx(100 * row["mean"] / compared["optimised"]["mean"])
    assert row["placement"]["distance_mm"] == pytest.approx(4.0, abs=0.1)


def test_distances_to_the_optimum(compared):
    assert compared["optimised"]["to_optimum_mm"] == 0
    best = np.array(compared["optimised"]["placement"]["scalp_mm"])
    for name in ("closest-scalp", "optimised-yaw"):
        chord = np.linalg.norm(np.array(compared[name]["placement"]["scalp_mm"]) - best)
        assert chord - 0.01 <= compared[name]["to_optimum_mm"] <= 1.1 * chord + 0.01


def test_no_number_is_borrowed(compared):
    """The search of 8 mm does not cover the noise of navigation; Beam F3 has none of its own."""
    assert all(row["expected_loss_percent"] is None for row in compared.rows)
    assert compared["closest-scalp"]["noise"]["position_mm"] == 5.5
    assert METHODS["beam-f3"].noise is None
    assert METHODS["eeg-f3"].noise is None


# --- noise: a plane grid on which the value falls with the square of the distance

PEAK, FALL = 2.0, 1e-3


def landing(radius_mm=30.0):
    axis = np.arange(-radius_mm, radius_mm + 0.5)
    x, y = (a.ravel() for a in np.meshgrid(axis, axis))
    keep = np.hypot(x, y) <= radius_mm
    points = np.stack([x, y, np.full_like(x, 90.0)], axis=1)[keep]
    away2 = np.sum(points[:, :2] ** 2, axis=1)
    yaw = np.array([-90.0, 0.0, 90.0, 180.0])
    values = PEAK * (1 - FALL * away2)[:, None] * np.array([0.5, 1.0, 0.5, 1.0])
    optimum = SimpleNamespace(
        candidates=SimpleNamespace(scalp_mm=points, yaw_deg=yaw, values=values),
        search={"center_mm": [0.0, 0, 90], "radius_mm": radius_mm, "spacing_mm": 1.0},
        placement=Placement(pose_from_yaw(np.array([0.0, 0, 94]), np.array([0.0, 0, -1]), 0.0)),
    )
    return Landing(optimum, SimpleNamespace(model=SimpleNamespace(scalp=round_head())))


def at(x, yaw=0.0):
    return {"scalp_mm": [x, 0.0, 90.0], "yaw_to_midline_deg": yaw}


NARROW = PlacementNoise(5.0, "made up")


def truncated():
    """Second moment of a coordinate, of a Gaussian cut off at three standard deviations."""
    cut = np.exp(-4.5)
    return NARROW.sd_mm**2 * (1 - 4.5 * cut / (1 - cut))


def test_expected_value_of_a_noisy_place():
    assert NARROW.sd_mm == pytest.approx(5 * np.sqrt(2 / np.pi))
    for x in (0.0, 8.0):
        lost = FALL * (x**2 + 2 * truncated())
        got = 1 - landing().of(at(x), NARROW).mean / PEAK
        assert got == pytest.approx(lost, rel=0.01)  # the cut at three deviations, on a grid of 1 mm
    assert landing().of(at(0.0, yaw=88.0), NARROW).mean == pytest.approx(
        0.5 * landing().of(at(0.0), NARROW).mean
    )
    assert landing().of(at(0.0, yaw=-178.0), NARROW).mean == pytest.approx(landing().of(at(0.0), NARROW).mean)


def test_no_expectation_beyond_the_grid():
    assert landing().of(at(0.0), None) is None
    assert landing().of(at(30 - NARROW.reach_mm + 0.1), NARROW) is None
    assert landing().of(at(30 - NARROW.reach_mm - 0.1), NARROW) is not None
    assert landing(radius_mm=10.0).optimum_beats(None, 1.0) is None


def test_no_expectation_where_the_coil_cannot_be_placed():
    """The grid leaves such places out: none within reach, or the nearest beyond two of its steps."""
    for hole in (20.0, 2.1):
        gap = landing()
        left = np.linalg.norm(gap._candidates.scalp_mm - [5.0, 0, 90], axis=1) > hole
        gap._candidates.scalp_mm = gap._candidates.scalp_mm[left]
        gap._candidates.values = gap._candidates.values[left]
        assert gap.of(at(5.0), NARROW) is None
        assert gap.of(at(5.0), PlacementNoise(0.5, "made up")) is None


def test_probability_that_the_optimum_is_better():
    """Against an exact place at distance r: the share of a truncated Rayleigh distribution within r."""
    for r in (4.0, 7.0):
        inside = 1 - np.exp(-0.5 * (r / NAVIGATED.sd_mm) ** 2)
        expected = inside / (1 - np.exp(-4.5))
        assert landing().optimum_beats(None, PEAK * (1 - FALL * r**2)) == pytest.approx(expected, abs=0.03)
    same = landing().of(at(0.0), NAVIGATED)
    assert landing().optimum_beats(same, 0.0) == pytest.approx(0.5, abs=0.03)
    assert landing().optimum_beats(landing().of(at(0.0, 90.0), NAVIGATED), 0.0) == pytest.approx(1.0)


# --- what is refused


def test_unusable_calls(tmp_path):
    with pytest.raises(PlacementError, match=r"unknown targeting methods: f3; valid: .*eeg-f3"):
        efield.compare_targeting(sphere(), few_dipoles(), TARGET, ["f3", "optimised"])
    with pytest.raises(PlacementError, match="none given"):
        efield.compare_targeting(sphere(), few_dipoles(), TARGET, [])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        efield.compare_targeting(sphere(), few_dipoles(), TARGET, out_dir=tmp_path / "file")
    with pytest.raises(EfieldError, match="unknown target"):
        efield.compare_targeting(sphere(), few_dipoles(), "nowhere")


# --- files


def test_files_of_a_comparison(tmp_path):
    made = fake_comparison()
    folder = made.save(tmp_path / "out")
    assert sorted(p.name for p in folder.iterdir()) == [
        f"comparison.{s}" for s in ("csv", "json", "md", "png")
    ]
    body = json.loads((folder / "comparison.json").read_text())
    jsonschema.validate(body, json_schema("efield.compare/1"))
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert [r["method"] for r in rows] == ["5cm", "optimised", "map-peak"]
    assert float(rows[0]["percent_of_optimum"]) == 52
    assert rows[0]["expected_loss_percent"] == ""
    assert rows[2]["error"] == "needs a map"
    lines = (folder / "comparison.md").read_text().splitlines()
    assert {line.count("|") for line in lines[:4]} == {len(COLUMNS) + 2}
    assert lines[-1] == "- map-peak: needs a map"
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FormatError, match="known: json, csv, md, png"):
        made.export(tmp_path / "table.xlsx")


def test_json_of_a_real_comparison(compared):
    jsonschema.validate(json.loads(compared.to_json()), json_schema("efield.compare/1"))
    assert "timings_s" not in compared.to_dict(volatile=False)


def test_a_picture_of_failures_only(tmp_path):
    made = fake_comparison(rows=fake_comparison().rows[2:])
    made.export(tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


# --- command line


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="efield")


@pytest.fixture
def called(monkeypatch):
    seen = SimpleNamespace()

    def replaced(head, coil, target, methods, **options):
        seen.head, seen.coil, seen.target, seen.methods, seen.options = head, coil, target, methods, options
        return fake_comparison()

    monkeypatch.setattr(compare, "compare_targeting", replaced)
    return seen


def test_the_command_passes_its_options(called, tmp_path):
    (tmp_path / "marks.csv").write_text(
        "Fiducial,0,83,-43,Nz\nFiducial,0,-116,-30,Iz\nFiducial,-80,-20,-48,LPA\nFiducial,80,-20,-48,RPA\n"
    )
    result = run(
        *("compare", "mni152-small", "--methods", "5cm, optimised", "--hotspot", "-40,-10,90"),
        *(
            "--landmarks",
            tmp_path / "marks.csv",
            "--map",
            "mni:map.nii",
            "--map-mask",
            "mask.nii",
            "--lowest",
        ),
        *("--didt", "5e6", "--distance", 6, "--out", tmp_path / "out", "--json", tmp_path / "c.json"),
    )
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert called.head.name == "mni152-small"
    assert called.target.name == "dlpfc-left"
    assert called.methods == ["5cm", "optimised"]
    assert called.options["hotspot_mm"] == (-40, -10, 90)
    assert called.options["peak_map"] == PeakMap("map.nii", "mask.nii", "mni", True)
    assert called.options["fiducials"].nasion[1] == 83
    assert (called.options["didt"], called.options["distance_mm"]) == (5e6, 6)
    assert (tmp_path / "out/comparison.csv").exists()
    assert json.loads((tmp_path / "c.json").read_text())["schema"] == "efield.compare/1"
    assert "5cm" in [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert "template: one template head" in result.stdout


def test_json_alone_on_stdout(called):
    result = run("compare", "mni152-small", "--json", "-")
    assert json.loads(result.stdout)["methods"][0]["method"] == "5cm"
    assert called.methods is None
    assert called.options["fiducials"] is None


def test_the_command_lists_and_refuses(tmp_path):
    listed = run("compare", "--methods", "list").stdout
    assert all(name in listed for name in METHODS)
    refused = run("compare", "--lowest")
    assert refused.exit_code == 2
    assert "need --map" in refused.stderr
    refused = run("compare", "mni152-small", "--methods", "f3")
    assert refused.exit_code == 2
    assert "unknown targeting methods: f3" in refused.stderr
    (tmp_path / "marks.csv").write_text("Fiducial,0,83,-43,Nz\n")
    refused = run("compare", "mni152-small", "--landmarks", tmp_path / "marks.csv")
    assert refused.exit_code == 2
    assert "lacks inion, left, right" in refused.stderr


def test_what_holds_for_every_placement_is_warned_of():
    """A coil's field that does not cover the head is as short in a comparison as in its optimum."""
    case = SimpleNamespace(model=SimpleNamespace(space="subject"))
    found = [ResultWarning(code, "") for code in ("exact_path", "target_moved", "coil_coverage")]
    kept = compare._warnings(case, SimpleNamespace(warnings=found))
    assert [w.code for w in kept] == ["target_moved", "coil_coverage"]
