"""Several coils at once, per-element dI/dt, and movable parts as parameters of the search."""

from dataclasses import replace

import numpy as np
import pytest
from small_heads import QUICK, TARGET_DIRECTION, TARGET_MM, few_dipoles, sphere

from efield.errors import CoilError, EfieldError, SearchError
from efield.forward import simulate
from efield.io.stimulator import Stimulator
from efield.io.tcd import Deformation, DeformRange, Element, TcdRecord, write_tcd
from efield.model.coil import Coil
from efield.model.coil_joined import join_coils
from efield.model.coils import load_coil
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.candidates import Search
from efield.search.coils import _Box, keep_apart, optimize_coils
from efield.search.optimize import optimize_coil

TARGET = Target.sphere(TARGET_MM, 8.0)
DIDT = (1e6, -4e5)
OFF_MM = 85.0 * np.array([-0.9, -0.3, 0.3]) / np.linalg.norm([-0.9, -0.3, 0.3])


def small_coil():
    """Half the size of the other, so that two fit beside each other."""
    coil = few_dipoles()
    return Coil(coil.positions_mm * [0.5, 0.5, 1.0], 0.5 * coil.moments, name="small")


def placements():
    head = sphere().head
    return [
        Placement.on_scalp(head, 85.0 * TARGET_DIRECTION, yaw_deg=20.0),
        Placement.on_scalp(head, OFF_MM, yaw_deg=-70.0, distance_mm=6.0),
    ]


def summed(coils, poses, rates):
    fields = [simulate(sphere(), c, p, didt=r).E for c, p, r in zip(coils, poses, rates, strict=True)]
    return sum(fields)


# --- joined coils


def test_a_joined_coil_has_the_sum_of_the_fields():
    coils, poses = [few_dipoles(), small_coil()], placements()
    joined = join_coils(coils, poses).weighted([1.0, DIDT[1] / DIDT[0]])
    field = simulate(sphere(), joined, poses[0], didt=DIDT[0])
    wanted = summed(coils, poses, DIDT)
    assert np.abs(field.E - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_a_joined_coil_moves_as_one_body():
    poses = placements()
    joined = join_coils([few_dipoles(), small_coil()], poses)
    turned = Placement.on_scalp(sphere().head, 85.0 * TARGET_DIRECTION, yaw_deg=50.0)
    move = turned.matsimnibs @ np.linalg.inv(poses[0].matsimnibs)
    field = simulate(sphere(), joined, turned)
    wanted = summed(
        [few_dipoles(), small_coil()], [turned, Placement(move @ poses[1].matsimnibs)], (1e6, 1e6)
    )
    assert np.abs(field.E - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_stimulators_and_weights_of_joined_coils():
    two = replace(
        few_dipoles(),
        stimulator=np.repeat([0, 1], 13),
        stimulators=(Stimulator("A", None, 1e8), Stimulator("B", None, 2e8)),
    ).weighted([1.0, -0.5])
    joined = join_coils([two, small_coil()], placements())
    assert joined.n_stimulators == 3
    assert joined.didt_weights == (1.0, -0.5, 1.0)
    assert joined.max_didt is None  # the second coil's is not known
    known = join_coils([two, replace(small_coil(), max_didt=3e7)], placements())
    assert known.max_didt == pytest.approx(3e7)
    assert known.weighted([1, 1, 0.1]).max_didt == pytest.approx(1e8)


@pytest.mark.parametrize("n", [0, 1])
def test_coils_without_a_placement_each(n):
    with pytest.raises(CoilError, match=rf"2 coil\(s\) and {n} placement"):
        join_coils([few_dipoles(), small_coil()], placements()[:n])


# --- dI/dt of every element in a search


def test_a_search_at_given_rates_of_each_element():
    wings = replace(few_dipoles(), stimulator=np.repeat([0, 1], 13))
    uneven = wings.weighted([1.0, -0.3])
    result = optimize_coil(sphere(), uneven, TARGET, search=QUICK, objective="magnitude_of_mean")
    parts = [Coil(wings.positions_mm[s], wings.moments[s]) for s in (slice(13), slice(13, 26))]
    e_field = summed(parts, [result.placement] * 2, (1e6, -0.3e6))
    region = TARGET.resolve(sphere().head)
    mean = region.volumes_mm3 @ e_field[region.elements] / region.volumes_mm3.sum()
    assert result.objective.value == pytest.approx(np.linalg.norm(mean), rel=1e-5)


# --- two coils with places of their own


SEARCHES = (
    replace(QUICK, spacing_mm=4.0),
    Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=10.0, center_mm=tuple(OFF_MM)),
)


@pytest.fixture(scope="module")
def pair():
    return optimize_coils(sphere(), [few_dipoles(), small_coil()], TARGET, searches=SEARCHES, didt=DIDT)


def mean_field(e_field):
    region = TARGET.resolve(sphere().head)
    return np.linalg.norm(region.volumes_mm3 @ e_field[region.elements] / region.volumes_mm3.sum())


def test_the_value_of_a_pair_is_that_of_the_summed_fields(pair):
    wanted = summed([few_dipoles(), small_coil()], pair.placements, DIDT)
    assert pair.objective.value == pytest.approx(mean_field(wanted), rel=1e-4)
    assert pair.search_value == pytest.approx(pair.objective.value, rel=2e-3)
    assert mean_field(pair.field.E) == pytest.approx(pair.objective.value, rel=1e-4)
    assert pair.objective.value > max(pair.alone)


def test_no_random_pair_is_better(pair):
    """By functionals of fields that were summed for each coil at placements of no grid."""
    rng = np.random.default_rng(5)
    values = []
    for _ in range(40):
        poses = []
        for centre in (85.0 * TARGET_DIRECTION, OFF_MM):
            point = centre + rng.uniform(-4, 4, 3)
            poses.append(Placement.on_scalp(sphere().head, point, yaw_deg=rng.uniform(-180, 180)))
        values.append(mean_field(summed([few_dipoles(), small_coil()], poses, DIDT)))
    assert max(values) <= pair.objective.value * (1 + 1e-4)


def test_a_pair_is_as_good_as_both_coils_can_be_together(pair):
    """Fields add up at best in one direction: the optima of the two alone bound their sum."""
    alone = [
        optimize_coil(
            sphere(), coil, TARGET, search=search, didt=rate, objective="magnitude_of_mean", verify=False
        ).objective.value
        for coil, search, rate in zip([few_dipoles(), small_coil()], SEARCHES, DIDT, strict=True)
    ]
    assert pair.objective.value <= sum(alone) * (1 + 1e-4)
    assert pair.objective.value >= 0.9 * sum(alone)  # yaw turns either field into the other's direction


def test_boxes_apart_against_points_of_them():
    rng = np.random.default_rng(2)
    boxes = [_Box(np.array([1.0, 2, 3]), np.array([40.0, 20, 8])), _Box(np.zeros(3), np.array([10.0, 30, 5]))]
    corners = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 3), axis=-1).reshape(-1, 3)
    poses = []
    for _ in range(2):
        turns = np.linalg.qr(rng.standard_normal((300, 3, 3)))[0]
        turns *= np.sign(np.linalg.det(turns))[:, None, None]
        matrices = np.tile(np.eye(4), (300, 1, 1))
        matrices[:, :3, :3], matrices[:, :3, 3] = turns, rng.uniform(-60, 60, (300, 3))
        poses.append(matrices)
    apart = keep_apart(boxes, *poses)
    assert 0.2 < apart.mean() < 0.9
    inside = np.zeros(300, bool)
    for k in range(300):  # points of the second box in the first: then they cannot be apart
        points = (boxes[1].centre + corners * boxes[1].half) @ poses[1][k, :3, :3].T + poses[1][k, :3, 3]
        local = (points - poses[0][k, :3, 3]) @ poses[0][k, :3, :3] - boxes[0].centre
        inside[k] = np.any(np.all(np.abs(local) <= boxes[0].half, axis=1))
    assert inside.any() and not np.any(apart & inside)


def test_two_coils_in_one_place():
    with pytest.raises(SearchError, match=r"overlap in all \d+ pairs .* centres farther apart"):
        optimize_coils(sphere(), [few_dipoles(), few_dipoles()], TARGET, searches=QUICK)


@pytest.mark.parametrize(
    ("coils", "options", "words"),
    [
        ([few_dipoles()], {}, "places two coils, not 1"),
        ([few_dipoles()] * 2, {"searches": (QUICK,)}, "one Search for each"),
    ],
)
def test_unusable_pairs(coils, options, words):
    with pytest.raises(SearchError, match=words):
        optimize_coils(sphere(), coils, TARGET, **options)


# --- movable parts


@pytest.fixture
def bending(tmp_path):
    """A figure-8 whose wings turn about its y axis; away from the head at first."""
    coil = few_dipoles()
    elements = tuple(
        Element(1, 0, coil.positions_mm[s], coil.moments[s], name=name, deformations=(k,))
        for k, (s, name) in enumerate([(slice(13), "right"), (slice(13, 26), "left")])
    )
    record = TcdRecord(
        elements,
        (Stimulator("A", None, 1e8),),
        deformations=(
            Deformation("rot2p", 0, np.array([0.0, 0, 0]), np.array([0.0, 1, 0])),
            Deformation("rot2p", 0, np.array([0.0, 0, 0]), np.array([0.0, -1, 0])),
        ),
        ranges=(DeformRange(10.0, -20.0, 20.0),),
    )
    write_tcd(tmp_path / "bending.tcd", record)
    return load_coil(tmp_path / "bending.tcd")


def test_the_best_setting_of_movable_parts(bending):
    options = {"search": QUICK, "objective": "magnitude_of_mean", "verify": False}
    result = optimize_coil(sphere(), bending, TARGET, deform=3, **options)
    (value,) = result.search["deformations"].values()
    assert result.to_dict()["search"]["deformations"] == {"deform0": value}
    at = [
        optimize_coil(sphere(), bending.deformed([x]), TARGET, **options).objective.value
        for x in (-20.0, -8.0, 0.0, 8.0, 20.0, value)
    ]
    assert result.objective.value == pytest.approx(at[-1], rel=1e-6)
    assert result.objective.value >= max(at) * (1 - 2e-3)
    still = optimize_coil(sphere(), bending, TARGET, **options)
    assert "deformations" not in still.search
    assert still.objective.value < result.objective.value


@pytest.mark.parametrize(
    ("deform", "words"), [(1, "at least 2 settings, not 1"), (201, "more than 200"), ("all", "not 'all'")]
)
def test_unusable_settings(bending, deform, words):
    with pytest.raises(SearchError, match=words):
        optimize_coil(sphere(), bending, TARGET, search=QUICK, deform=deform)


def test_a_coil_that_does_not_move():
    with pytest.raises(SearchError, match="has no movable parts"):
        optimize_coil(sphere(), few_dipoles(), TARGET, search=QUICK, deform=3)


@pytest.mark.parametrize(
    ("didt", "message"),
    [((0, 1e6), "coil without current"), ((1e6, 0), "coil without current"), ((1e6, np.nan), "finite number")]
    + [((1e6, 2e6, 3e6), "one for each"), ("fast", "finite number")],
)
def test_rates_that_no_two_coils_can_have(didt, message):
    with pytest.raises(EfieldError, match=message):
        optimize_coils(sphere(), [few_dipoles(), small_coil()], TARGET, searches=SEARCHES, didt=didt)
