"""Coils: parametric geometry against current loops, loading by name and file, description."""

import importlib.util
import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad_vec

from efield.analytic.loop import loop_vector_potential
from efield.errors import CoilError, EfieldError, FormatError
from efield.io.ccd import CcdRecord, write_ccd
from efield.kernels import dipole
from efield.model.coil_geometry import (
    MAGSTIM_70MM,
    MAGSTIM_70MM_WING_SPACING_MM,
    Casing,
    Winding,
    circular,
    figure8,
    magstim_figure8_70mm,
)
from efield.model.coil_info import describe_coil
from efield.model.coil_library import ROUND_90MM, UNVERIFIED
from efield.model.coils import BUILTIN_COILS, load_coil

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "coil_discretization.py"
CASING = Casing(thickness_mm=16, margin_mm=5)
ROUND = Winding(20.0, 60.0, 5, 2.0, 5.0, 4.0)
ONE_TURN = Winding(60.0, 62.0, 1, 1.0, 1.0, 5.0)


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("coil_discretization", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def field(coil, points_mm):
    return oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, np.asarray(points_mm) / 1e3)


# The closed form of a loop


@settings(max_examples=30)
@given(
    radius=st.floats(0.01, 0.1),
    height=st.floats(-0.05, 0.05),
    point=st.tuples(*3 * [st.floats(-0.1, 0.1)]),
)
def test_loop_is_its_line_integral(radius, height, point):
    point = np.array([*point[:2], point[2] + 0.16])  # above every loop
    a = loop_vector_potential(radius, height, point[None])[0]

    def element(angle):
        where = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        return radius * np.array([-np.sin(angle), np.cos(angle), 0]) / np.linalg.norm(point - where)

    direct = 1e-7 * quad_vec(element, 0, 2 * np.pi, epsrel=1e-12)[0]
    scale = 1e-7 * radius**2 * np.pi / 0.05**2
    np.testing.assert_allclose(a, direct, atol=2e-8 * scale)


def test_loop_vanishes_on_its_axis():
    a = loop_vector_potential(0.03, 0.0, np.array([[0, 0, 0.01], [0, 0, -1.0]]))
    np.testing.assert_array_equal(a, 0)


# The kernel that sums dipoles


@pytest.mark.parametrize("kernel", [dipole.vector_potential, dipole.vector_potential.py_func])
def test_kernel_is_the_plain_sum(kernel):
    rng = np.random.default_rng(5)
    positions, moments = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    points = rng.normal(loc=(0, 0, 8), size=(300, 3))
    out = np.full((300, 3, 1), np.nan)
    kernel(20, 290, np.ascontiguousarray(points.T), positions[None], moments[None], out)
    np.testing.assert_allclose(
        out[20:290, :, 0], oracles.dipole_a(positions, moments, points[20:290]), rtol=1e-11, atol=1e-20
    )
    assert np.isnan(np.delete(out, np.s_[20:290], axis=0)).all()


# Parametric coils


def test_discretization_is_within_one_percent(benchmark):
    (contact, five, ten) = benchmark.discretization(finer=4)
    assert five["depth_mm"] == 5
    for reference in ("finer", "wires"):
        assert contact[reference] < 0.01
        assert five[reference] < 5e-4
        assert ten[reference] < 1e-4


def test_error_falls_with_the_spacing(benchmark):
    rows = benchmark.convergence(spacings_mm=(16.0, 8.0, 4.0), depths_mm=(0.0,))
    errors = [row["wires"][0.0] for row in rows]
    assert errors[0] > 8 * errors[1] > 64 * errors[2]


def test_one_millimetre_is_worth_what_the_notes_say(benchmark):
    one_cm, three_cm = benchmark.sensitivity(depths_mm=(10.0, 30.0))
    assert -0.045 < one_cm["winding_depth"] < -0.035
    assert -0.012 < one_cm["wing_spacing"] < -0.008
    assert -0.003 < three_cm["wing_spacing"] < -0.001


def test_assumed_depth_lies_between_published_models(benchmark, shared):
    legacy, measured = benchmark.fits(shared("data/coils/Magstim_70mm_Fig8.ccd").parent)
    middle = MAGSTIM_70MM.depth_mm + MAGSTIM_70MM.wire_height_mm / 2
    assert legacy["residual"] < 0.02 and measured["residual"] < 0.08
    assert legacy["middle_depth_mm"] == pytest.approx(6.4, abs=0.1)
    assert measured["middle_depth_mm"] == pytest.approx(9.4, abs=0.1)
    assert abs(middle - (legacy["middle_depth_mm"] + measured["middle_depth_mm"]) / 2) < 0.2
    assert legacy["wing_spacing_mm"] == pytest.approx(90.3, abs=0.1)
    assert measured["wing_spacing_mm"] == pytest.approx(92.1, abs=0.1)


def test_positive_didt_drives_the_current_along_minus_y():
    coil = magstim_figure8_70mm()
    a = field(coil, [[0, 0, 10], [0, 0, 40]])
    assert (a[:, 1] < 0).all()  # so E = -dA/dt is along +y
    np.testing.assert_allclose(a[:, [0, 2]], 0, atol=1e-12 * abs(a[0, 1]))


def test_a_half_turn_reverses_the_field_of_a_figure8():
    points = np.random.default_rng(1).uniform([-90, -60, 3], [90, 60, 60], size=(40, 3))
    coil = magstim_figure8_70mm()
    turn = np.array([-1, -1, 1])
    here, turned = field(coil, points), turn * field(coil, turn * points)
    np.testing.assert_allclose(turned, -here, atol=1e-12 * abs(here).max())


@pytest.mark.parametrize("winding", [MAGSTIM_70MM, ROUND, ONE_TURN])
def test_moment_is_that_of_the_turns(winding):
    """The moment of a loop is its area; over the wire's width, the mean of the square of the radius."""
    coil = circular(winding, CASING, spacing_mm=5)
    variance = winding.wire_width_mm**2 / 12
    area = np.pi * (winding.turn_radii_mm**2 + variance).sum() / 1e6
    np.testing.assert_allclose(coil.moments.sum(axis=0), [0, 0, area], rtol=1e-12)
    low, high = coil.positions_mm[:, 2].min(), coil.positions_mm[:, 2].max()
    assert -winding.depth_mm - winding.wire_height_mm < low < high < -winding.depth_mm
    assert np.linalg.norm(coil.positions_mm[:, :2], axis=1).max() < winding.outer_diameter_mm / 2


@pytest.mark.parametrize("winding", [ROUND, ONE_TURN])
def test_circular_coil_is_its_wires(winding, benchmark):
    points = np.array([[0.0, 30, 5], [45, 0, 5], [10, -20, 30], [0, 0, 8]])
    coil = circular(winding, CASING, spacing_mm=4)
    # The benchmark's wires are a figure-8; far apart, its right wing stands alone.
    wires = benchmark.wire_a(winding, 2e9, points / 1e3 + [1e6, 0, 0], 6, 6)
    a = field(coil, points)
    np.testing.assert_allclose(a, wires, atol=2e-3 * np.abs(a).max())
    assert a[1, 1] > 0 > a[0, 0]  # anticlockwise about +z


def test_far_away_a_circular_coil_is_one_dipole():
    coil = circular(ROUND, CASING)
    points = np.array([[3000.0, 2000, 1000], [-1000, 3000, 2500]])
    centre = np.average(coil.positions_mm, axis=0, weights=coil.moments[:, 2])
    one = oracles.dipole_a(centre[None] / 1e3, coil.moments.sum(axis=0)[None], points / 1e3)
    np.testing.assert_allclose(field(coil, points), one, atol=2e-4 * np.abs(one).max())


def test_figure8_is_two_opposed_circular_coils():
    points = np.random.default_rng(2).uniform([-80, -60, 4], [80, 60, 40], size=(20, 3))
    both = field(figure8(ROUND, 66, CASING), points)
    right, left = (field(circular(ROUND, CASING), points - [33 * s, 0, 0]) for s in (1, -1))
    np.testing.assert_allclose(both, right - left, atol=1e-12 * np.abs(both).max())


def test_casing_lies_between_face_and_back_and_holds_the_dipoles():
    coil = magstim_figure8_70mm()
    casing = coil.casing_mm
    assert casing[:, 2].max() == 0 and casing[:, 2].min() == -16
    assert (casing == 0).all(axis=1).any()  # the origin: the distance under the centre is exact
    np.testing.assert_allclose(np.abs(casing[:, :2]).max(axis=0), [45 + 49.5, 49.5], rtol=1e-6)
    assert (np.abs(coil.positions_mm).max(axis=0) < np.abs(casing).max(axis=0)).all()
    face = casing[casing[:, 2] == 0][:, :2]
    probes = np.random.default_rng(4).uniform([0, -49], [94, 49], size=(400, 2))
    probes = probes[np.linalg.norm(probes - [45, 0], axis=1) < 49]
    gaps = np.linalg.norm(probes[:, None] - face[None], axis=2).min(axis=1)
    assert gaps.max() < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner_diameter_mm": 0.0}, "inner_diameter_mm must be a positive number, not 0"),
        ({"turns": 2.5}, "turns must be a whole number, not 2.5"),
        ({"turns": -1}, "turns must be a positive number"),
        ({"turns": 12}, "12 turns of 1.75 mm wire do not fit between diameters 56.0 and 87.0"),
        ({"outer_diameter_mm": 50.0}, "do not fit"),
        ({"depth_mm": float("nan")}, "depth_mm must be a positive number, not nan"),
    ],
)
def test_impossible_windings(change, message):
    with pytest.raises(CoilError, match=message):
        replace(MAGSTIM_70MM, **change)


def test_impossible_coils():
    with pytest.raises(CoilError, match=r"wing_spacing_mm=80 is less than .* 87\.0"):
        figure8(MAGSTIM_70MM, 80, CASING)
    with pytest.raises(CoilError, match=r"reaches 11 mm behind .* only 10 mm thick"):
        circular(MAGSTIM_70MM, Casing(10, 5))
    with pytest.raises(CoilError, match="spacing_mm must be a positive number, not -1"):
        circular(MAGSTIM_70MM, CASING, spacing_mm=-1)
    with pytest.raises(CoilError, match="margin_mm"):
        Casing(10, 0)


# Loading


def test_builtin_coils_say_what_is_assumed():
    coil = load_coil("figure8-70mm")
    assert (coil.name, coil.max_didt) == ("figure8-70mm", 114.7e6)
    assert len(coil.moments) <= 2000
    notes = " ".join(coil.notes)
    assert "56 mm" in notes and "4 %" in notes and "Not modelled" in notes
    assert sum(note.startswith("ASSUMED") for note in coil.notes) == 3
    assert f"{MAGSTIM_70MM_WING_SPACING_MM:g} mm apart" in notes
    assert load_coil("Figure8-70MM").sha256 == coil.sha256
    assert load_coil(coil) is coil
    copy = pickle.loads(pickle.dumps(coil))
    np.testing.assert_array_equal(copy.positions, coil.positions)


RECORD = CcdRecord(
    np.array([[-0.02, 0, -0.01], [0.02, 0, -0.01]]),
    np.array([[0, 0, -1e-3], [0, 0, 1e-3]]),
    "demo",
    {"dIdtmax": "150.5", "brand": "Demo", "stimulator": "None"},
)
TETRAHEDRON = np.array([[0.0, 0, 0], [30, 0, 0], [0, 30, 0], [0, 0, -30]])
FACES = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]


def binary_stl(points=TETRAHEDRON, header=b"solid made by some exporters, though binary"):
    rows = (struct.pack("<12fH", 0, 0, 1, *points[list(face)].ravel(), 0) for face in FACES)
    return header.ljust(80) + struct.pack("<I", len(FACES)) + b"".join(rows)


def ascii_stl(points=TETRAHEDRON):
    lines = ["solid casing"]
    for face in FACES:
        lines += ["facet normal 0 0 1", "outer loop"]
        lines += ["vertex {} {} {}".format(*points[i]) for i in face]
        lines += ["endloop", "endfacet"]
    return "\n".join([*lines, "endsolid casing\n"]).encode()


def test_ccd_by_path_whatever_the_suffix(tmp_path):
    for name in ("demo.ccd", "Demo.CCD", "demo.txt"):
        write_ccd(tmp_path / name, RECORD)
        coil = load_coil(str(tmp_path / name))
        np.testing.assert_allclose(coil.positions_mm, [[-20, 0, -10], [20, 0, -10]], rtol=1e-14)
        np.testing.assert_array_equal(coil.moments, RECORD.moments)
        assert (coil.name, coil.max_didt, coil.casing_mm) == (name[:-4], 150.5e6, None)
        assert coil.notes[0] == f"Read from {name} (brand=Demo)."
    assert load_coil(tmp_path / "demo.ccd").sha256 == coil.sha256


@pytest.mark.parametrize("content", [binary_stl(), binary_stl(header=b"x"), ascii_stl()])
def test_casing_beside_the_coil(tmp_path, content):
    write_ccd(tmp_path / "My_Coil.ccd", RECORD)
    (tmp_path / "my_coil.STL").write_bytes(content)
    (tmp_path / "other.stl").write_bytes(b"not read")
    casing = load_coil(tmp_path / "My_Coil.ccd").casing_mm
    for corner in TETRAHEDRON:
        assert (np.abs(casing - corner) < 1e-5).all(axis=1).any()
    # Points between the corners, at most 5 mm apart, all on the surface.
    x, y, z = casing.T
    assert np.min([np.abs(x), np.abs(y), np.abs(z), np.abs(x + y - z - 30)], axis=0).max() < 1e-4
    inner = np.linalg.norm(casing[:, None] - casing[None], axis=2) + 1e9 * np.eye(len(casing))
    assert inner.min(axis=1).max() <= 5


def test_casing_of_exactly_the_coils_name_comes_first(tmp_path):
    write_ccd(tmp_path / "b.ccd", RECORD)
    (tmp_path / "B.stl").write_bytes(binary_stl(TETRAHEDRON * 2))
    (tmp_path / "b.stl").write_bytes(binary_stl())
    assert load_coil(tmp_path / "b.ccd").casing_mm.max() == 30


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FormatError, "truncated or not STL"),
        (binary_stl(header=b"x")[:-30], FormatError, "of 4 triangles it should have 284"),
        (ascii_stl()[:-40], FormatError, "does not end with 'endsolid'"),
        (b"solid a\nvertex a b c\nendsolid a\n", FormatError, "line 2: 'vertex a b c' is no vertex"),
        (b"solid a\nvertex 1 2\nendsolid a\n", FormatError, "line 2: a vertex has 3 coordinates, not 2"),
        (b"solid a\nendsolid a\n", FormatError, "0 vertices"),
        (ascii_stl().replace(b"30.0 0.0 0.0", b"inf 0 0", 1), FormatError, "triangle 0 is not finite"),
        (binary_stl(TETRAHEDRON * np.nan), FormatError, "not finite"),
        (binary_stl(TETRAHEDRON / 1000), CoilError, "0.03 mm wide; .* millimetres"),
    ],
)
def test_bad_casings(tmp_path, content, error, message):
    write_ccd(tmp_path / "b.ccd", RECORD)
    (tmp_path / "b.stl").write_bytes(content)
    with pytest.raises(error, match=message):
        load_coil(tmp_path / "b.ccd")


def test_unusable_sources(tmp_path):
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    for name in ("a.tcd", "a.nii.gz", "A.NII", "a.nii"):
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(FormatError, match=name):
            load_coil(tmp_path / name)
    with pytest.raises(CoilError, match="spacing_mm must be a positive number, not 0"):
        load_coil("figure8-70mm", spacing_mm=0)
    with pytest.raises(
        CoilError,
        match=r"'figure8-70'.*built-in coils: figure8-70mm, round-90mm, bent-d-b80, figure8-c-b60, "
        r"figure8-mri-b91, figure8-cool-b35\. Did you mean",
    ):
        load_coil("figure8-70")
    with pytest.raises(CoilError, match=r"missing\.ccd does not exist; .*figure8-70mm"):
        load_coil("missing.ccd")
    with pytest.raises(CoilError, match="is a folder"):
        load_coil(tmp_path)
    with pytest.raises(CoilError, match="not int: 3"):
        load_coil(3)
    with pytest.raises(FormatError, match="binary data"):
        load_coil(tmp_path / "noise.bin")


def test_every_builtin_coil_says_where_it_comes_from():
    for name, build in BUILTIN_COILS.items():
        coil = build()
        assert coil.name == name and len(coil.moments) <= 1000 and coil.casing_mm is not None
        text = "\n".join(coil.notes)
        assert "Not modelled" in text and "max_didt" in text
        assert text.startswith(("Source: ", UNVERIFIED))


def test_round_coil_is_its_turns():
    """Against current loops in closed form, one for each turn."""
    points = np.random.default_rng(2).uniform([-80, -80, 10], [80, 80, 100], (200, 3))
    loops = [loop_vector_potential(r / 1e3, -0.008, points / 1e3) for r in ROUND_90MM.turn_radii_mm]
    a = load_coil("round-90mm").a_field(points)
    assert np.linalg.norm(a - sum(loops)) < 3e-3 * np.linalg.norm(a)  # the wires are 6 mm high


def test_sidecars_and_displayed_didt(tmp_path):
    record = replace(RECORD, header={"dIdtmax": "150.5", "dIdtstim": "158", "stimulator": "Pulse X"})
    write_ccd(tmp_path / "My_Coil.ccd", record)
    (tmp_path / "my_coil.TSV").write_text("# Time\tX\tX_fit\tY\n0\t0\t0\t0\n1e-5\t1\t0.9\t0.5\n")
    (stimulator,) = load_coil(tmp_path / "My_Coil.ccd").stimulators
    assert (stimulator.name, stimulator.max_didt, stimulator.displayed_max_didt) == (
        "Pulse X",
        150.5e6,
        158e6,
    )
    assert [(w.name, w.duration) for w in stimulator.waveforms] == [("X", 1e-5), ("Y", 1e-5)]
    assert stimulator.waveforms[0].fit.tolist() == [0, 0.9] and stimulator.waveforms[1].fit is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the tab-separated names"),
        ("0\t1\n", "line 1: expected"),
        ("# Time\tX\n0\t0\n", "1 samples"),
        ("# Time\tX\n0\t0\n1e-5\n", "line 3: 1 columns, but line 1 names 2"),
        ("# Time\tX\n0\t0\n1e-5\tfast\n", "line 3: .* not 2 finite numbers"),
        ("# Time\tX\n0\t0\n1e-5\tnan\n", "line 3"),
        ("# Time\tX\n\n0\t0\n0\t1\n", "line 4: time 0 is not after"),
        ("# Time\tX\n0\t0\n50\t1\n", "lasts 50 s"),
    ],
)
def test_bad_waveforms(tmp_path, text, message):
    write_ccd(tmp_path / "b.ccd", RECORD)
    (tmp_path / "b.tsv").write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        load_coil(tmp_path / "b.ccd")
    assert "b.tsv" in str(caught.value)


def test_real_waveform(shared):
    (stimulator,) = load_coil(shared("data/coils/MagVenture_MCF-B65.ccd")).stimulators
    assert (stimulator.max_didt, stimulator.displayed_max_didt) == (147.86e6, 151e6)
    (waveform,) = stimulator.waveforms
    assert waveform.name == "MagPro_X100" and waveform.duration == pytest.approx(520e-6)
    assert np.abs(waveform.fit).max() == pytest.approx(1, abs=0.05)


# Description


def test_description_of_the_builtin_coil():
    facts = describe_coil(load_coil("figure8-70mm"))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["current"] == (
        "positive didt: induced E under the centre along +y; coil current under the centre along -y"
    )
    assert facts["half_turn"]["effect"] == "reverses"
    assert facts["half_turn"]["deviation"] < 1e-12
    assert facts["z_range_mm"][1] < -5
    assert facts["sum_moments"] == pytest.approx(0.0734, rel=1e-3)


def test_description_reads_the_current_off_the_field():
    coil = load_coil("figure8-70mm")
    assert "E under the centre along -y;" in describe_coil(replace(coil, moments=-coil.moments))["current"]
    c, s = np.cos(0.1), np.sin(0.1)
    turned = replace(coil, positions_mm=coil.positions_mm @ [[c, s, 0], [-s, c, 0], [0, 0, 1]])
    assert "along +y (6 deg off)" in describe_coil(turned)["current"]
    c = s = np.sqrt(0.5)
    turned = replace(coil, positions_mm=coil.positions_mm @ [[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert "E under the centre along (0.71, 0.71, 0.00)" in describe_coil(turned)["current"]


def test_description_of_a_circular_coil():
    facts = describe_coil(circular(MAGSTIM_70MM, CASING))
    assert "below 1 % of its largest value" in facts["current"]
    assert "net dipole moment along +z" in facts["current"]
    assert facts["half_turn"]["effect"] == "keeps"


@pytest.mark.parametrize(
    ("name", "direction", "effect", "deviation"),
    [
        ("MagStim_D70", "+y", "changes", (0.05, 0.1)),
        ("MagVenture_MCF-B65", "-y (1 deg off)", "changes", (0.1, 0.2)),
        ("Magstim_70mm_Fig8", "+y", "reverses", (1e-7, 1e-5)),
    ],
)
def test_description_of_real_coils(shared, name, direction, effect, deviation):
    facts = describe_coil(load_coil(shared(f"data/coils/{name}.ccd")))
    assert f"induced E under the centre along {direction};" in facts["current"]
    assert facts["half_turn"]["effect"] == effect
    assert deviation[0] < facts["half_turn"]["deviation"] < deviation[1]


# --- units


DIPOLES = np.array([[0.01, 0, -0.01], [-0.01, 0, -0.01]]), np.array([[0, 0, 1e-5], [0, 0, -1e-5]])


def tcd(points_mm, values, kind=1, didt=1e8):
    element = {"type": kind, "stimulator": 0, "points": points_mm.tolist(), "values": values.tolist()}
    return json.dumps({"coilElementList": [element], "stimulatorList": [{"maxdIdt": didt}]})


def ccd(moments, header=""):
    rows = np.hstack([DIPOLES[0], moments])
    return f"# coil;{header}\n2\n# \n" + "\n".join(" ".join(map(repr, row)) for row in rows.tolist())


SQUARE = np.array([[20.0, 20, -5], [-20, 20, -5], [-20, -20, -5], [20, -20, -5]])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.ccd", ccd(DIPOLES[1], "dIdtmax=100e6"), r"dIdtmax=1e\+08 lies outside .* A/us"),
        ("a.ccd", ccd(DIPOLES[1], "dIdtstim=0.0001"), "dIdtstim=0.0001 lies outside .* A/us"),
        ("a.ccd", ccd(DIPOLES[1] * 1e9), "moments add up to 2e\\+04 m"),
        ("a.tcd", tcd(DIPOLES[0] * 1e3, DIPOLES[1], didt=100.0), "maxdIdt: is 100, outside .* A/s"),
        ("a.tcd", tcd(DIPOLES[0] * 1e3, DIPOLES[1] * 1e9), "moments add up to 2e\\+04 m"),
        ("a.tcd", tcd(DIPOLES[0], DIPOLES[1]), "span 0.02 mm; points of a .tcd are millimetres"),
        (
            "a.tcd",
            tcd(SQUARE / 1e3, (np.roll(SQUARE, -1, axis=0) - SQUARE) / 1e3, kind=2),
            "span 0.04 mm; points of a .tcd are millimetres",
        ),
    ],
)
def test_coil_files_in_another_unit_are_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(EfieldError, match=rf"{name}.*{words}"):
        load_coil(tmp_path / name)
