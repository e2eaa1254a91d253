"""Coils of several parts: deformations, stimulators, overlap; and coils written to files."""

import json
import pickle
from dataclasses import replace

import numpy as np
import oracles
import pytest

from efield.errors import CoilError
from efield.io.stimulator import Stimulator
from efield.io.tcd import Deformation, DeformRange, Element, Surface, TcdRecord, write_tcd
from efield.model.coil import Coil
from efield.model.coil_files import save_coil
from efield.model.coil_info import describe_coil
from efield.model.coils import load_coil

CUBE = np.array([[x, y, z] for x in (0.0, 20) for y in (0.0, 20) for z in (-20.0, 0)])
FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip
CENTRE = np.array([10.0, 10, -10])


def two_cubes(apart=((1, 2),), initial=0.0):
    """A cube that turns about an edge and is then shifted, and one that stays, 30 mm along x."""
    elements = (
        Element(1, 0, CENTRE[None], np.array([[0, 0, 1e-3]]), name="moves", casing=0, deformations=(0, 1)),
        Element(1, 1, CENTRE[None] + [30, 0, 0], np.array([[0, 0, -2e-3]]), name="stays", casing=1),
    )
    return TcdRecord(
        elements,
        (Stimulator("A", None, 1e8), Stimulator("B", None, 1.5e8)),
        deformations=(
            Deformation("rot2p", 0, np.array([0.0, 0, 0]), np.array([0.0, 2, 0])),
            Deformation("x", 1),
        ),
        ranges=(DeformRange(0.0, -90.0, 90.0), DeformRange(initial, -10.0, 25.0)),
        surfaces=(Surface(CUBE, FACES), Surface(CUBE + [30, 0, 0], FACES)),
        self_intersection=apart,
    )


@pytest.fixture
def load(tmp_path):
    def load(record):
        write_tcd(tmp_path / "cubes.tcd", record)
        return load_coil(tmp_path / "cubes.tcd")

    return load


def test_parameters_of_a_movable_coil(load):
    coil = load(two_cubes())
    turn, shift = coil.deformations
    assert (turn.name, turn.unit, turn.initial, turn.low, turn.high) == ("deform0", "deg", 0, -90, 90)
    assert (shift.name, shift.unit, shift.high, shift.moves) == ("deform1", "mm", 25, ("moves",))
    assert coil.casing_mm.min(axis=0).tolist() == [0, 0, -20] and coil.casing_mm.max() == pytest.approx(50)


def test_deformations_apply_in_order_to_dipoles_and_casing(load):
    coil = load(two_cubes()).deformed([90, 5])
    # A right-handed turn by 90 degrees about +y takes z to x and x to -z; then 5 mm along x.
    np.testing.assert_allclose(coil.positions_mm, [[-10 + 5, 10, -10], [40, 10, -10]], atol=1e-12)
    np.testing.assert_allclose(coil.moments, [[1e-3, 0, 0], [0, 0, -2e-3]], atol=1e-15)
    np.testing.assert_allclose(coil.casing_mm.min(axis=0), [-15, 0, -20], atol=1e-12)
    same = coil.deformed({"deform1": 5.0, "deform0": 90})
    np.testing.assert_array_equal(same.positions_mm, coil.positions_mm)
    np.testing.assert_array_equal(coil.deformed({}).positions_mm, [[10, 10, -10], [40, 10, -10]])


def test_dipoles_are_covered_by_the_casing_that_moves_with_them(load):
    """One in the gap between the cubes is inside their common hull, but in neither."""
    record = two_cubes()
    moves = Element(
        **{
            **vars(record.elements[0]),
            "points_mm": np.array([CENTRE, [25, 10, -10], [19.5, 10, -10]]),
            "values": np.tile([[0, 0, 1e-3]], (3, 1)),
        }
    )
    coil = load(TcdRecord(**{**vars(record), "elements": (moves, record.elements[1])}))
    for placed in (coil, coil.deformed([90, 5])):
        assert placed.bare.tolist() == [False, True, True, False]
        assert (placed.extent_mm[-2:] == placed.positions_mm[1:3]).all()
    assert describe_coil(coil)["bare_dipoles"] == 2


def test_an_open_casing_covers_nothing(load):
    record = two_cubes()
    surfaces = (Surface(CUBE, FACES[:-1]), record.surfaces[1])
    assert load(TcdRecord(**{**vars(record), "surfaces": surfaces})).bare.tolist() == [True, False]


def test_a_file_opens_at_its_initial_values(load):
    np.testing.assert_allclose(load(two_cubes(initial=4.0)).positions_mm[0], CENTRE + [4, 0, 0])


def test_a_turn_about_an_axis_off_the_origin(load):
    record = two_cubes()
    axis = Deformation("rot2p", 0, CENTRE + [0, 0, 5], CENTRE + [0, 0, 9])
    record = TcdRecord(**{**vars(record), "deformations": (axis, record.deformations[1])})
    coil = load(record).deformed([37, 0])
    np.testing.assert_allclose(coil.positions_mm[0], CENTRE, atol=1e-12)  # it lies on the axis
    np.testing.assert_allclose(np.linalg.norm(coil.casing_mm - CENTRE, axis=1).min(), 10, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0], "1 settings given, but the coil has 2"),
        ({"bend": 1}, "no setting is named 'bend'; the coil has .*deform0"),
        ([0, 26], r"deform1=26 mm lies outside its range \[-10, 25\]"),
        ([float("nan"), 0], "deform0=nan deg lies outside"),
    ],
)
def test_settings_that_are_refused(load, values, message):
    with pytest.raises(CoilError, match=message):
        load(two_cubes()).deformed(values)


def test_parts_that_would_meet_are_refused(load):
    coil = load(two_cubes())
    coil.deformed([0, 10])  # they touch
    with pytest.raises(CoilError, match=r"part 'moves' and part 'stays' would overlap by 5\.0 mm"):
        coil.deformed([0, 15])
    load(two_cubes(apart=())).deformed([0, 15])
    # What overlaps in its designer's pose may go on doing so, but no deeper.
    designed = load(two_cubes(initial=15.0))
    designed.deformed([0, 15.5])
    with pytest.raises(CoilError, match="would overlap"):
        designed.deformed([0, 20])


@pytest.mark.parametrize("closed", [True, False])
def test_a_part_may_not_move_into_the_casing_of_the_whole_coil(load, closed):
    """Group 0 is `coilCasing`, which stays; an open one has no inside, but its points may enter the part."""
    record = replace(two_cubes(apart=((0, 1),)), casing=2)
    block = Surface(CUBE + [25, 0, 0], FACES if closed else FACES[:-1])
    record = replace(record, surfaces=(*record.surfaces, block))
    coil = load(record)
    coil.deformed([0, 5])  # they touch
    with pytest.raises(CoilError, match=r"the coil's casing and part 'moves' would overlap by 7\.0 mm"):
        coil.deformed([0, 12])
    # The other part overlaps the casing in every pose, but is in no group.
    assert np.ptp(coil.deformed([0, 4]).casing_mm[:, 0]) == pytest.approx(46)


def test_rigid_coils_have_nothing_to_set():
    coil = load_coil("figure8-70mm")
    assert coil.deformations == ()
    with pytest.raises(CoilError, match="has no movable parts"):
        coil.deformed([1])


def test_weights_scale_the_stimulators(load):
    coil = load(two_cubes())
    assert (coil.n_stimulators, coil.max_didt) == (2, 1e8)
    half = coil.weighted([1, -0.5])
    np.testing.assert_allclose(half.moments[:, 2], [1e-3, 1e-3])
    assert half.didt_weights == (1.0, -0.5)
    assert coil.weighted([0.1, 1]).max_didt == 1.5e8 and coil.weighted([1, 0]).max_didt == 1e8
    points = np.array([[5.0, 20, 30], [-20, 3, 40]])
    expected = oracles.dipole_a(coil.positions_mm / 1e3, coil.moments * [[1], [-0.5]], points / 1e3)
    np.testing.assert_allclose(half.a_field(points), expected, rtol=1e-12)
    # Weights multiply, and survive a deformation.
    assert half.weighted([2, 2]).didt_weights == (2.0, -1.0)
    np.testing.assert_allclose(half.deformed([0, 5]).moments[:, 2], [1e-3, 1e-3])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, float("inf")], [[1, 2]], [0, 0]])
def test_weights_that_are_refused(load, weights):
    with pytest.raises(CoilError):
        load(two_cubes()).weighted(weights)


def test_stimulator_indices_are_checked():
    one = np.zeros((1, 3)), np.ones((1, 3))
    for bad in ([0, 1], [-1]):
        with pytest.raises(CoilError, match="stimulator must be 1 indices"):
            Coil(*one, stimulator=np.array(bad))


def test_description_and_pickle(load):
    coil = load(two_cubes())
    facts = describe_coil(coil)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert [s["max_didt"] for s in facts["stimulators"]] == [1e8, 1.5e8]
    assert facts["deformations"][0]["moves"] == ["moves"] and facts["fit_error"] is None
    twin = pickle.loads(pickle.dumps(coil)).deformed([30, 0])
    np.testing.assert_array_equal(twin.positions_mm, coil.deformed([30, 0]).positions_mm)


def test_casing_not_in_millimetres(load):
    record = two_cubes()
    small = tuple(Surface(s.points_mm / 1e3, s.faces) for s in record.surfaces)
    with pytest.raises(CoilError, match=r"coilModels\[0\] is 0.02 mm wide"):
        load(TcdRecord(**{**vars(record), "surfaces": small}))


# --- written to files


def test_dipoles_written_and_read_back(load, tmp_path):
    coil = load(two_cubes()).deformed([30, 3]).weighted([1, -2])
    save_coil(coil, tmp_path / "out.tcd")
    back = load_coil(tmp_path / "out.tcd")
    np.testing.assert_array_equal(back.positions_mm, coil.positions_mm)
    np.testing.assert_array_equal(back.moments, coil.moments)
    assert [s.max_didt for s in back.stimulators] == [1e8, 0.75e8] and back.n_stimulators == 2


def test_ccd_written_and_read_back(tmp_path):
    coil = load_coil("figure8-70mm")
    save_coil(coil, tmp_path / "out.ccd")
    back = load_coil(tmp_path / "out.ccd")
    np.testing.assert_allclose(back.positions_mm, coil.positions_mm, rtol=1e-15, atol=1e-14)
    np.testing.assert_array_equal(back.moments, coil.moments)
    assert back.max_didt == coil.max_didt


def test_what_a_format_cannot_hold(load, tmp_path):
    with pytest.raises(CoilError, match=r"one stimulator, coil 'cubes' has 2; write a \.tcd"):
        save_coil(load(two_cubes()), tmp_path / "out.ccd")
    for name in ("out.nii.gz", "out"):
        with pytest.raises(CoilError, match=r"written as \.ccd or \.tcd"):
            save_coil(load_coil("figure8-70mm"), tmp_path / name)


def test_real_movable_coil(shared):
    coil = load_coil(shared("data/coils/MagVenture_MST-Twin.tcd"))
    assert len(coil.moments) == 4072 and len(coil.deformations) == 6 and coil.max_didt == 200.08e6
    assert {p.moves for p in coil.deformations} == {("Coil_1",), ("Coil_2",)}
    opened = coil.deformed([13, 0, 0, 0, 0, 0])
    moved = np.linalg.norm(opened.positions_mm - coil.positions_mm, axis=1)
    assert moved[:2036].min() > 1 and not moved[2036:].any()
    with pytest.raises(CoilError, match="'Coil_1' and part 'Coil_2' would overlap"):
        coil.deformed([13, 13, 0, 13, 13, 0])
