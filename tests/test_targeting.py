"""Targeting methods: golden values, closed forms on a sphere, what they need, and what they refuse."""

import numpy as np
import pytest
from m2m_folders import axes, grid, write_volume
from small_heads import QUICK, TARGET_MM, few_dipoles, mni_small, sphere
from test_scalp import equator, round_head

import efield
from efield.errors import LandmarkError, PlacementError, TargetError
from efield.model.head import HeadModel
from efield.model.named_targets import NAMED_TARGETS
from efield.model.placement import Placement
from efield.model.target import Target
from efield.scalp.ten_ten import TenTen
from efield.targeting import METHODS, Aim, aim, targeting_method
from efield.targeting.beam_f3 import beam_f3_distances
from efield.targeting.case import PeakMap, TargetingCase
from efield.targeting.fixed_distance import forward_of

GEOMETRIC = [n for n in METHODS if n not in ("map-peak", "optimised", "optimised-yaw")]


@pytest.fixture(scope="module")
def case():
    return TargetingCase(mni_small(), "dlpfc-left", coil=few_dipoles())


@pytest.fixture(scope="module")
def right():
    return TargetingCase(mni_small(), "dlpfc-right", coil=few_dipoles())


# --- Beam F3


@pytest.mark.parametrize(
    ("tragus", "nasion", "round_", "x", "y"),
    [
        (36, 36, 56, 6.469, 9.500),
        (38, 36, 57, 6.563, 9.721),
        (34, 34, 54, 6.238, 8.973),
        (36, 38, 60, 6.955, 9.791),
        (40, 38, 60, 6.909, 10.249),
    ],
)
def test_golden_values_of_beam_f3(tragus, nasion, round_, x, y):
    assert beam_f3_distances(tragus, nasion, round_) == pytest.approx((x, y), abs=0.001)


def divided(tragus, nasion, round_):
    """The calculator's formula as it stands, dividing by what may vanish."""
    r1, r2 = 0.4 * nasion, 0.4 * tragus
    a = (r2 * np.sin(np.radians(324)) + r1 / 2) / r2
    b = r1 * np.sin(np.radians(298)) / (r1 * np.cos(np.radians(298)) - r2 / 2)
    x = (r1 - r2 * b) / (2 * (a - b))
    y = a * x - r1 / 2
    return round_ / 4 * (1 + np.arctan(y / x) / (np.pi / 2)), 0.91 * np.hypot(x, y)


def test_beam_f3_is_the_calculators_formula_and_smooth_where_that_divides_by_zero():
    for tragus in (32.0, 36.0, 41.0):
        for nasion in (32.0, 35.0, 41.0):
            assert beam_f3_distances(tragus, nasion, 57) == pytest.approx(
                divided(tragus, nasion, 57), rel=1e-10
            )
    singular = 18 / np.cos(np.radians(298))
    assert singular / 36 == pytest.approx(1.065, abs=5e-4)
    at = beam_f3_distances(36, singular, 57)
    for side in (-1e-4, 1e-4):
        assert at == pytest.approx(divided(36, singular + side, 57), abs=1e-4)
    assert at == pytest.approx(beam_f3_distances(36, np.nextafter(singular, 99), 57), rel=1e-12)


def test_measures_of_no_head():
    for wrong in ((360, 36, 56), (36, 0.36, 56), (36, 36, np.nan)):
        with pytest.raises(LandmarkError, match="is no head's: between"):
            beam_f3_distances(*wrong)


def test_beam_f3_on_a_sphere():
    """Landmarks on the equator: the measures are known, and so is the place of X and Y."""

    class Case:
        ten_ten, side = TenTen(round_head(), equator()), "left"

        def place(self, point):
            return point

        def at_mark(self, x, y):
            return TargetingCase.at_mark(self, x, y)

    half = 9 * np.pi
    x, y = beam_f3_distances(half, half, 18 * np.pi * np.cos(np.radians(18)))
    for name, further in (("beam-f3", 0.0), ("beam-f3-adjusted", 0.35)):
        found = METHODS[name].find(Case())
        azimuth, down = 10 * x / (90 * np.cos(np.radians(18))), 10 * (y + further) / 90
        place = 90 * np.array([-np.sin(azimuth) * np.sin(down), np.cos(azimuth) * np.sin(down), np.cos(down)])
        assert np.linalg.norm(found.placement - place) < 0.5
        assert "preauricular" in found.measured
        assert f"X {x:.2f}, Y {y + further:.2f} cm" in found.measured


def test_beam_f3_is_near_f3(case):
    """Two ways to one electrode: 3 mm apart on the large head."""
    beam, f3 = (case.scalp_under(aim(n, case).placement) for n in ("beam-f3", "eeg-f3"))
    assert np.linalg.norm(beam - f3) < 6


# --- fixed distances


@pytest.mark.parametrize("distance", [5.0, 5.5, 6.0])
def test_forward_on_a_sphere(distance):
    """The cut at x = -45 is a circle; the tape follows it."""
    system = TenTen(round_head(), equator())
    radius = np.sqrt(90**2 - 45**2)
    start = np.array([-45, 0, radius])
    angle = 10 * distance / radius
    expected = [-45, radius * np.sin(angle), radius * np.cos(angle)]
    assert np.linalg.norm(forward_of(system, start, distance, "left") - expected) < 0.3
    with pytest.raises(LandmarkError, match="beyond the ends of a curve"):
        forward_of(system, start, 20.0, "left")
    with pytest.raises(LandmarkError, match="does not meet the front of the left half"):
        forward_of(system, np.array([20.0, 0, 87]), distance, "left")


def test_fixed_distances_from_the_hotspot(case):
    hand = case.model.scalp.closest((-37, -21, 58))[0][0]
    points = [case.scalp_under(aim(n, case).placement) for n in ("5cm", "5.5cm", "6cm")]
    right_axis = case.ten_ten.axes[0]
    for point, away in zip(points, (50, 55, 60), strict=True):
        assert 0.9 * away < np.linalg.norm(point - hand) < away
        assert abs((point - hand) @ right_axis) < 1.5
    assert np.all(np.diff([p[1] for p in points]) > 2)
    assert "hand area of M1" in aim("5cm", case).measured
    shifted = TargetingCase(mni_small(), coil=few_dipoles(), hotspot_mm=hand + [0, 10, 0])
    moved = shifted.scalp_under(aim("5cm", shifted).placement)
    assert moved[1] > points[0][1] + 5
    assert "as given" in aim("5cm", shifted).measured
    lost = TargetingCase(mni_small(), coil=few_dipoles(), hotspot_mm=(-40, 0, 40))
    with pytest.raises(LandmarkError, match=r"motor hotspot .* mm from the scalp"):
        aim("5cm", lost)


def test_without_mni_the_hotspot_is_asked_for():
    bare = HeadModel.from_mesh(mni_small().head.mesh)
    with pytest.raises(
        LandmarkError, match=r"give the motor hotspot \(--hotspot, .*carries no MNI transform"
    ):
        aim("5cm", TargetingCase(bare, coil=few_dipoles(), target=(-42, 44, 30)))


# --- every geometric method


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_method_places_a_tangential_coil_over_the_left_frontal_scalp(name, case):
    found = aim(name, case)
    point = case.scalp_under(found.placement)
    away = case.model.scalp.closest(point)[1][0]
    assert away < 0.5
    assert found.placement.yaw_to_midline_deg == pytest.approx(45)
    assert point[0] < -20
    assert point[1] > 0
    assert found.measured
    assert METHODS[name].summary.endswith((".", "rule."))


def test_a_bent_coil_is_moved_back_along_its_axis_until_it_clears_the_scalp(case):
    bent = TargetingCase(mni_small(), coil="bent-d-b80")
    flat, found = aim("closest-scalp", case), aim("closest-scalp", bent)
    way = flat.placement.center_mm - found.placement.center_mm
    lift = np.linalg.norm(way)
    np.testing.assert_allclose(way, lift * found.placement.matsimnibs[:3, 2], atol=1e-9)
    assert found.measured == f"{flat.measured}; moved back by {lift:.1f} mm, where the coil clears the scalp"
    pose = found.placement.matsimnibs
    casing = bent.coil.casing_mm @ pose[:3, :3].T + pose[:3, 3]
    here, nearer = (
        mni_small().head.scalp.signed_distance(casing + shift * pose[:3, 2]).min() for shift in (0, 0.5)
    )
    assert nearer < -0.5 <= here
    np.testing.assert_allclose(bent.scalp_under(found.placement), case.scalp_under(flat.placement), atol=1e-6)


@pytest.mark.parametrize("name", [n for n in GEOMETRIC if "2022" not in n])
def test_methods_mirror_on_the_right(name, case, right):
    """The template is nearly symmetric, and so are the methods; the handle points to the other side."""
    left, other = aim(name, case).placement, aim(name, right).placement
    mirrored = case.scalp_under(left) * [-1, 1, 1]
    assert np.linalg.norm(right.scalp_under(other) - mirrored) < 12
    assert other.yaw_to_midline_deg == pytest.approx(-45)


def test_heuristics_by_their_factors(case, right):
    measures = case.ten_ten.measures
    mean = (measures.nasion_inion_cm + measures.tragus_tragus_cm) / 2
    for who, name, x, y in (
        (case, "anterior-2022", 0.1359, 0.3167),
        (case, "posterior-2022", 0.1847, 0.2480),
        (right, "anterior-2022", 0.1352, 0.2884),
        (right, "posterior-2022", 0.1968, 0.2316),
    ):
        words = aim(name, who).measured
        assert f"X {x * measures.circumference_cm:.2f} cm along" in words
        assert f"Y {y * mean:.2f} cm from" in words


def test_positions_of_the_system(case, right):
    for name, left, other in (("eeg-f3", "F3", "F4"), ("eeg-f5", "F5", "F6"), ("eeg-af3", "AF3", "AF4")):
        for who, position in ((case, left), (right, other)):
            point = who.scalp_under(aim(name, who).placement)
            np.testing.assert_allclose(point, who.ten_ten.positions[position], atol=1e-6)


def test_coordinates_are_projected_to_the_scalp(case):
    for name in ("fox2012", "mir-moghtadaei2015", "weigand2018", "ba46"):
        region = Target.named(f"{name}-left").resolve(case.model)
        nearest = case.model.scalp.closest(region.center_mm)[0][0]
        found = aim(f"mni-{name}", case)
        np.testing.assert_allclose(case.scalp_under(found.placement), nearest, atol=1e-6)
        assert ("moved" in found.measured) == (region.moved_mm > 0)
    given = TargetingCase(mni_small(), (-30, 40, 30), coil=few_dipoles())
    nearest = case.model.scalp.closest((-30, 40, 30))[0][0]
    found = given.scalp_under(aim("closest-scalp", given).placement)
    np.testing.assert_allclose(found, nearest, atol=1e-6)


# --- maps


@pytest.fixture
def volumes(tmp_path):
    """A map with a trough in the mask, a deeper one outside it, and a peak; and the mask."""
    shape, affine = (40, 40, 40), axes([-70.0, 10, 0], 2.0)
    places = grid(shape, affine)

    def bump(center):
        return np.exp(-np.sum((places - center) ** 2, axis=-1) / 50)

    data = -bump([-40, 44, 30]) - 2 * bump([-20, 60, 20]) + 0.5 * bump([-36, 30, 40])
    data[0, 0, 0] = np.nan
    mask = np.linalg.norm(places - [-40, 40, 34], axis=-1) < 14
    write_volume(tmp_path / "map.nii.gz", data.astype(np.float32), affine)
    write_volume(tmp_path / "mask.nii.gz", mask.astype(np.uint8), affine)
    return tmp_path


def test_peak_of_a_map_within_its_mask(volumes):
    head = mni_small()
    for mask, lowest, expected in (
        (volumes / "mask.nii.gz", True, (-40, 44, 30)),
        (None, True, (-20, 60, 20)),
        (volumes / "mask.nii.gz", False, (-36, 30, 40)),
    ):
        peak = PeakMap(volumes / "map.nii.gz", mask, lowest=lowest)
        case = TargetingCase(head, coil=few_dipoles(), peak_map=peak)
        found = aim("map-peak", case)
        nearest = case.model.scalp.closest(expected)[0][0]
        assert np.linalg.norm(case.scalp_under(found.placement) - nearest) < 2
        assert ("lowest" if lowest else "highest") in found.measured
    mni = PeakMap(volumes / "map.nii.gz", volumes / "mask.nii.gz", space="mni", lowest=True)
    same = aim("map-peak", TargetingCase(head, coil=few_dipoles(), peak_map=mni))
    assert "(-40.0, 44.0, 30.0) mm" in same.measured


def test_maps_that_give_no_peak(volumes, case):
    with pytest.raises(TargetError, match="needs a map: pass peak_map"):
        aim("map-peak", case)
    write_volume(volumes / "empty.nii", np.zeros((5, 5, 5), np.uint8), np.eye(4))
    peak = PeakMap(volumes / "map.nii.gz", volumes / "empty.nii")
    with pytest.raises(TargetError, match=r"no voxel of the map .*map\.nii\.gz lies in the mask"):
        aim("map-peak", TargetingCase(mni_small(), coil=few_dipoles(), peak_map=peak))
    write_volume(volumes / "far.nii", np.ones((3, 3, 3), np.float32), axes([0.0, 0, 300], 1.0))
    peak = PeakMap(volumes / "far.nii")
    with pytest.raises(TargetError, match=r"far\.nii at .* lies outside the head"):
        aim("map-peak", TargetingCase(mni_small(), coil=few_dipoles(), peak_map=peak))
    with pytest.raises(TargetError, match="unknown space 'MNI'"):
        PeakMap("map.nii", space="MNI")


# --- optimised


def test_optimised_placements_beat_the_projection():
    """On a sphere without landmarks: yaw at the same place, then place and yaw."""
    case = TargetingCase(sphere(), Target.sphere(TARGET_MM, 8.0), coil=few_dipoles(), search=QUICK)

    def value(placement):
        field = efield.simulate(sphere(), few_dipoles(), placement)
        weights = case.region.volumes_mm3
        return weights @ field.magnitude[case.region.elements] / weights.sum()

    found = {n: aim(n, case) for n in ("closest-scalp", "optimised-yaw", "optimised")}
    worth = {n: value(a.placement) for n, a in found.items()}
    places = {n: case.scalp_under(a.placement) for n, a in found.items()}
    assert worth["optimised"] >= worth["optimised-yaw"] >= worth["closest-scalp"]
    np.testing.assert_allclose(places["optimised-yaw"], places["closest-scalp"], atol=0.01)
    assert f"{worth['optimised']:.3g} V/m" in found["optimised"].measured
    with pytest.raises(LandmarkError, match="brings no landmarks"):
        aim("beam-f3", case)


# --- the register


@pytest.fixture
def register():
    """Registers a method for one test."""
    before = dict(METHODS)
    yield targeting_method
    METHODS.clear()
    METHODS.update(before)


def test_users_add_their_own(register, case):
    @register("above F3")
    def above(case):
        """Two centimetres above F3."""
        return Aim(case.place(case.ten_ten.positions["F3"] + [0, 0, 20]), "F3 + 2 cm")

    assert METHODS["above F3"].summary == "Two centimetres above F3."
    assert METHODS["above F3"].noise is None
    assert aim("above F3", case).measured == "F3 + 2 cm"
    assert list(METHODS)[-1] == "above F3"


def test_places_that_no_method_may_choose(register, case):
    @register("nose")
    def nose(case):
        return Aim(case.place((0.0, 110, -60)), "the tip of the nose")

    @register("balloon")
    def balloon(case):
        pose = np.array(case.place((0.0, 0, 100)).matsimnibs)
        pose[2, 3] += 80
        return Aim(Placement(pose), "high up")

    @register("away")
    def away(case):
        pose = np.eye(4)
        pose[:3, 3] = [0, 0, 130]
        return Aim(Placement(pose), "looking away")

    with pytest.raises(PlacementError, match="'nose' puts the coil on the face or the neck"):
        aim("nose", case)
    for name in ("balloon", "away"):
        with pytest.raises(PlacementError, match=f"'{name}' puts the coil in the air"):
            aim(name, case)
    with pytest.raises(PlacementError, match=r"unknown targeting method 'F3'; valid: .*eeg-f3"):
        aim("F3", case)


def test_every_method_names_its_source():
    for name, method in METHODS.items():
        text = method.find.__doc__
        assert len(text.strip().split("\n")) >= 3, name
        assert any(word in text for word in ("19", "20", "this library")), name
    assert {
        f"mni-{n.removesuffix('-left')}" for n, t in NAMED_TARGETS.items() if t.dlpfc and "-left" in n
    } - {"mni-dlpfc"} <= set(METHODS)


def test_methods_that_need_an_mni_map_say_so():
    bare = HeadModel.from_mesh(mni_small().head.mesh, name="bare")
    case = TargetingCase(bare, (-42, 44, 30), coil=few_dipoles())
    with pytest.raises(TargetError, match="'bare' carries no MNI transform"):
        aim("mni-fox2012", case)
