"""``efield coil``: list, info, fit, convert."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from small_heads import write_wire_loop

from efield.cli import main
from efield.io.ccd import CcdRecord, write_ccd
from efield.io.stimulator import Stimulator
from efield.io.tcd import DIPOLES, LINES, Deformation, DeformRange, Element, TcdRecord, read_tcd, write_tcd
from efield.model import coil_fit, coil_folders, coils
from efield.model.coil_folders import COIL_PATH
from efield.model.coils import load_coil


def run(*arguments):
    return CliRunner().invoke(main, ["coil", *map(str, arguments)])


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert all(word in result.output for word in words), result.output
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    path = tmp_path_factory.mktemp("coils") / "loop.tcd"
    write_wire_loop(path)
    return path


@pytest.fixture
def quick_fits(monkeypatch):
    """Few dipoles, without a word on how well they do."""
    monkeypatch.setattr(coil_fit, "FEWEST", 50)
    monkeypatch.setattr(coil_fit, "MOST", 150)
    monkeypatch.setattr(coils, "POOR_FIT", 1.0)


@pytest.fixture
def movable(tmp_path):
    """Two dipoles that can be tilted."""
    points = np.array([[-20.0, 0, -8], [20, 0, -8]])
    element = Element(DIPOLES, 0, points, np.array([[0, 0, 1e-3], [0, 0, -1e-3]]), deformations=(0,))
    path = tmp_path / "movable.tcd"
    deformation = Deformation("rot2p", 0, np.zeros(3), np.array([0.0, 1, 0]))
    record = TcdRecord(
        (element,),
        (Stimulator("Pulse X", "Maker", 1.2e8),),
        deformations=(deformation,),
        ranges=(DeformRange(0.0, -10.0, 20.0),),
    )
    write_tcd(path, record)
    return path


def test_list_shows_builtin_coils_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(coil_folders, "_roots", lambda: [])
    monkeypatch.setattr(coil_folders, "_site_of_simnibs", lambda: None)
    monkeypatch.delenv(COIL_PATH, raising=False)
    text = run("list").output
    assert "figure8-70mm" in text and "round-90mm" in text and "not verified" in text
    assert "name folders in EFIELD_COIL_PATH" in text
    one = np.array([[0.0, 0, -0.01]])
    write_ccd(tmp_path / "mine.ccd", CcdRecord(one, one))
    monkeypatch.setenv(COIL_PATH, os.fspath(tmp_path))
    facts = json.loads(run("list", "--json", "-").stdout)
    assert facts["files"] == [str(tmp_path / "mine.ccd")] and facts["folders"] == [str(tmp_path)]
    assert "coil           mine" in run("info", "mine").output


def test_info_of_a_movable_coil(movable):
    text = run("info", movable).output
    assert "; 2 dipoles lie outside it or within 1 mm of it and are kept off the scalp, too" in text
    assert "stimulator     Maker Pulse X, largest dI/dt 120 A/µs" in text
    assert "movable        deform0: -10 to 20 deg, 0 at first; moves element 0" in text


def test_fit_prints_the_error_and_writes(wire, tmp_path):
    result = run("fit", wire, tmp_path / "dipoles.ccd")
    assert result.exit_code == 0 and "left out of the fit" in result.output
    back = load_coil(tmp_path / "dipoles.ccd")
    assert back.max_didt == 1.2e8 and len(back.moments) > 100
    refused(run("fit", tmp_path / "dipoles.ccd"), "made of dipoles already")
    refused(run("fit", wire, "--spacing", "-1"), "spacing_mm must be a positive number")


def test_convert_at_settings_and_weights(movable, tmp_path):
    assert run("convert", movable, tmp_path / "a.tcd").exit_code == 0
    assert run("convert", movable, tmp_path / "b.tcd", "--deform", "10", "--didt", "2").exit_code == 0
    a, b = load_coil(tmp_path / "a.tcd"), load_coil(tmp_path / "b.tcd")
    turn = np.radians(10)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    np.testing.assert_allclose(b.positions_mm, a.positions_mm @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(b.moments, 2 * a.moments @ rotation.T, atol=1e-15)


def test_convert_keeps_what_the_format_holds_and_says_what_it_does_not(wire, movable, tmp_path, quick_fits):
    assert "not written" not in run("convert", movable, tmp_path / "a.tcd", "--deform", "10").output
    assert "deform0: -10 to 20 deg, 10 at first" in run("info", tmp_path / "a.tcd").output
    fixed = run("convert", movable, tmp_path / "a.ccd", "--deform", "10").output
    assert "not written: the movable parts: they stay as they are set, deform0 = 10 deg" in fixed
    assert "not written: the casing" in run("convert", "figure8-70mm", tmp_path / "f.tcd").output
    run("convert", wire, tmp_path / "wire.tcd")
    assert read_tcd(tmp_path / "wire.tcd").elements[0].kind == LINES
    assert "not written: the wires of 'element 0'" in run("fit", wire, tmp_path / "dipoles.tcd").output
    assert read_tcd(tmp_path / "dipoles.tcd").elements[0].kind == DIPOLES


def test_quiet_and_verbose(wire, movable, tmp_path, quick_fits):
    out = tmp_path / "out.ccd"
    for command in (("info", movable), ("fit", wire, out), ("convert", movable, out)):
        result = run(*command, "--quiet")
        assert (result.exit_code, result.output) == (0, "")
    assert json.loads(run("info", movable, "-q", "--json", "-").stdout)["name"] == "movable"
    result = run("fit", wire, "-v")
    assert "loop.tcd, element 0: " in result.stderr and "dipoles fitted in" in result.stderr
    assert "dipoles fitted in" not in result.stdout


def test_loading_tells_how_far_it_is(tmp_path, quick_fits):
    write_wire_loop(tmp_path / "two.tcd", copies=2)
    told = []
    load_coil(tmp_path / "two.tcd", progress=lambda *step: told.append(step))
    assert told[0] == ("read", 1.0)
    stages, fractions = zip(*told[1:], strict=True)
    assert set(stages) == {"fit"} and list(fractions) == sorted(fractions)
    assert 0 < fractions[0] < 0.5 and 0.5 in fractions and fractions[-1] == 1.0


def test_what_convert_refuses(movable, tmp_path):
    out = tmp_path / "out.ccd"
    refused(run("convert", movable, out, "--deform", "30"), "deform0=30 deg lies outside")
    refused(run("convert", movable, out, "--deform", "a,b"), "not numbers separated by commas")
    refused(run("convert", movable, tmp_path / "out.stl"), "written as .ccd or .tcd")
    refused(run("convert", "figure8-70mm", out, "--deform", "1"), "no movable parts")
    refused(run("convert", tmp_path / "none.tcd", out), "none.tcd does not exist")
    assert not out.exists()


@pytest.mark.parametrize("command", ["", "list", "info", "fit", "convert"])
def test_help_teaches(command):
    text = run(*command.split(), "--help").output
    assert "efield coil" in text or "EFIELD_COIL_PATH" in text
