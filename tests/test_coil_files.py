"""Coils written to files keep what the format can hold, and say what it cannot."""

from dataclasses import replace

import numpy as np
import pytest
from test_coil_assembly import CENTRE, CUBE, FACES, two_cubes

from efield.errors import CoilError, FormatError
from efield.io.stimulator import Stimulator, Waveform, read_waveforms, write_waveforms
from efield.io.stl import read_stl, write_stl
from efield.io.tcd import LINES, Element, TcdRecord, read_tcd, write_tcd
from efield.model import coil_fit
from efield.model.coil_files import save_coil
from efield.model.coils import load_coil

TIME = np.linspace(0, 3e-4, 20)
PULSE = Waveform("biphasic", TIME, np.cos(2e4 * TIME), np.cos(2e4 * TIME) + 0.01)


@pytest.fixture(autouse=True)
def few_dipoles(monkeypatch):
    """Quick fits: what is written is tested, not how well it was fitted."""
    monkeypatch.setattr(coil_fit, "FEWEST", 50)
    monkeypatch.setattr(coil_fit, "MOST", 150)


def write(path, record):
    write_tcd(path, record)
    return load_coil(path)


def ring():
    """A square of wire as line elements: middles and steps."""
    corners = np.array([[25.0, 25, -6], [-25, 25, -6], [-25, -25, -6], [25, -25, -6]])
    ends = np.roll(corners, -1, axis=0)
    return Element(LINES, 0, (corners + ends) / 2, ends - corners, name="square", casing=0)


def volume(surface):
    """Of a closed surface, mm^3, by its triangles."""
    a, b, c = np.moveaxis(surface.vertices_mm[surface.triangles], 1, 0)
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def test_a_movable_coil_stays_movable_in_a_tcd(tmp_path):
    record = replace(two_cubes(), brand="Maker", limits_mm=np.array([[-9.0, 9]] * 3))
    coil = write(tmp_path / "in.tcd", record).deformed([30, 3])
    assert save_coil(coil, tmp_path / "out.tcd") == ()
    back, wanted = load_coil(tmp_path / "out.tcd"), ["deform0", "deform1"]
    assert [p.name for p in back.deformations] == wanted and back.name == "out"
    assert [p.initial for p in back.deformations] == [30, 3]
    for values in ([], [-20, 3]):
        one, two = coil.deformed(values or [30, 3]), back.deformed(values)
        np.testing.assert_array_equal(two.positions_mm, one.positions_mm)
        np.testing.assert_array_equal(two.casing_mm, one.casing_mm)
        np.testing.assert_array_equal(two.bare, one.bare)
    with pytest.raises(CoilError, match="'moves' and part 'stays' would overlap"):
        back.deformed([0, 15])
    written = read_tcd(tmp_path / "out.tcd")
    assert written.brand == "Maker" and written.limits_mm.tolist() == [[-9, 9]] * 3


@pytest.mark.filterwarnings("ignore:.* equivalent dipoles reproduce its field")
def test_wires_and_their_casing_stay_what_they_are(tmp_path):
    record = replace(two_cubes(), elements=(ring(), two_cubes().elements[1]), self_intersection=((0, 1, 2),))
    record = replace(record, casing=1, stimulators=(Stimulator("A", None, 1e8, (PULSE,)), Stimulator("B")))
    coil = write(tmp_path / "in.tcd", record)
    assert save_coil(coil, tmp_path / "out.tcd") == ()
    written = read_tcd(tmp_path / "out.tcd")
    assert [e.kind for e in written.elements] == [LINES, 1] and written.casing == 1
    assert written.self_intersection == ((0, 1, 2),)
    np.testing.assert_array_equal(written.elements[0].values, ring().values)
    np.testing.assert_array_equal(written.stimulators[0].waveforms[0].fit, PULSE.fit)
    assert load_coil(tmp_path / "out.tcd").sha256 == coil.sha256


@pytest.mark.filterwarnings("ignore:.* equivalent dipoles reproduce its field")
def test_wires_are_written_as_dipoles_where_asked_or_where_they_are_weighted(tmp_path):
    coil = write(tmp_path / "in.tcd", replace(two_cubes(), elements=(ring(),), self_intersection=()))
    for one, wires in ((coil, False), (coil.weighted([2, 1]), True)):
        left_out = save_coil(one, tmp_path / "out.tcd", wires=wires)
        assert any("wires of 'square'" in words for words in left_out)
        back = load_coil(tmp_path / "out.tcd")
        assert back.fit_error is None and len(back.moments) == len(coil.moments)
        np.testing.assert_array_equal(back.moments, one.moments)
        np.testing.assert_array_equal(back.casing_mm, coil.casing_mm)


def test_a_weighted_coil_keeps_the_dadt_its_stimulators_reach(tmp_path):
    """The file's ampere is the run's: what a stimulator reaches is that much less of it."""
    coil = write(tmp_path / "in.tcd", two_cubes()).weighted([1, -2])
    save_coil(coil, tmp_path / "out.tcd")
    back = load_coil(tmp_path / "out.tcd")
    assert coil.max_didt == 0.75e8 and back.max_didt == coil.max_didt
    np.testing.assert_array_equal(back.moments, coil.moments)


def test_what_is_switched_off_is_left_out_with_its_groups(tmp_path):
    coil = write(tmp_path / "in.tcd", two_cubes(apart=((1, 2), (0, 1)))).weighted([0, 1])
    left_out = save_coil(coil, tmp_path / "out.tcd")
    assert any("'moves'" in words and "switched off" in words for words in left_out)
    written = read_tcd(tmp_path / "out.tcd")
    assert [e.name for e in written.elements] == ["stays"] and written.self_intersection == ()
    assert [s.name for s in written.stimulators] == ["B"]
    assert load_coil(tmp_path / "out.tcd").max_didt == 1.5e8


def test_from_ccd_with_a_casing_and_a_pulse_to_tcd_and_back(tmp_path):
    dipoles = tmp_path / "fig8.ccd"
    save_coil(load_coil("figure8-70mm"), dipoles)
    casing = (CUBE[FACES] - CENTRE) * [9.0, 5, 2]
    write_stl(tmp_path / "fig8.stl", casing)
    write_waveforms(tmp_path / "fig8.tsv", (PULSE,))
    first = load_coil(dipoles)
    assert save_coil(first, tmp_path / "one.tcd") == ()
    second = load_coil(tmp_path / "one.tcd")
    assert save_coil(second, tmp_path / "two.ccd") == ()
    third = load_coil(tmp_path / "two.ccd")
    for back in (second, third):
        np.testing.assert_allclose(back.positions_mm, first.positions_mm, atol=1e-12)
        np.testing.assert_array_equal(back.moments, first.moments)
        np.testing.assert_array_equal(back.casing_mm, first.casing_mm)
        np.testing.assert_array_equal(back.bare, first.bare)
        np.testing.assert_array_equal(back.stimulators[0].waveforms[0].fit, PULSE.fit)


def test_a_ccd_holds_a_movable_coil_as_it_is_set(tmp_path):
    """Both casings in its `.stl`, each where it then is."""
    record = two_cubes()
    record = replace(
        record, elements=(record.elements[0], replace(record.elements[1], stimulator=0)),
        stimulators=record.stimulators[:1],
    )  # fmt: skip
    coil = write(tmp_path / "in.tcd", record).deformed([90, 5])
    left_out = save_coil(coil, tmp_path / "out.ccd")
    assert any("deform0 = 90 deg, deform1 = 5 mm" in words for words in left_out)
    back = load_coil(tmp_path / "out.ccd")
    np.testing.assert_allclose(back.positions_mm, coil.positions_mm, atol=1e-12)
    assert volume(back.casing) == pytest.approx(2 * 20.0**3, rel=1e-6)
    np.testing.assert_allclose(back.casing_mm.min(axis=0), coil.casing_mm.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(back.casing_mm.max(axis=0), coil.casing_mm.max(axis=0), atol=1e-5)


def test_what_a_file_has_no_place_for_is_said(tmp_path):
    one = replace(load_coil("figure8-70mm"), stimulators=(Stimulator("S", displayed_max_didt=1.6e8),))
    assert [w.split(":")[0] for w in save_coil(one, tmp_path / "out.tcd")] == [
        "the casing",
        "the largest dI/dt that the device displays",
    ]
    assert [w.split(":")[0] for w in save_coil(one, tmp_path / "out.ccd")] == ["the casing"]
    assert load_coil(tmp_path / "out.ccd").stimulators[0].displayed_max_didt == 1.6e8
    late = Waveform("late", TIME + 1e-5, PULSE.signal)
    two = replace(one, stimulators=(Stimulator("S", waveforms=(PULSE, late)),))
    assert any("pulse 'late'" in words for words in save_coil(two, tmp_path / "out.ccd"))
    assert [w.name for w in load_coil(tmp_path / "out.ccd").stimulators[0].waveforms] == ["biphasic"]


def test_stl_and_waveforms_read_back_as_written(tmp_path):
    corners = CUBE[FACES] * 1.25
    write_stl(tmp_path / "cube.stl", corners)
    np.testing.assert_array_equal(read_stl(tmp_path / "cube.stl"), corners)
    write_waveforms(tmp_path / "pulse.tsv", (PULSE,))
    (back,) = read_waveforms(tmp_path / "pulse.tsv")
    for name in ("time", "signal", "fit"):
        np.testing.assert_array_equal(getattr(back, name), getattr(PULSE, name))
    assert back.name == "biphasic"
    with pytest.raises(FormatError, match="name"):
        write_waveforms(tmp_path / "pulse.tsv", (replace(PULSE, name="a\tb"),))


def test_a_record_is_not_changed_by_saving(tmp_path):
    coil = write(tmp_path / "in.tcd", two_cubes())
    save_coil(coil.deformed([30, 3]), tmp_path / "out.tcd")
    assert [p.initial for p in coil.deformations] == [0, 0]
    assert isinstance(coil.assembly.record, TcdRecord)
