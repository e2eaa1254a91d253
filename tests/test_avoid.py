"""Limits and weights on off-target fields, and the trade-off with the target's."""

import numpy as np
import pytest
from small_heads import QUICK, TARGET_DIRECTION, TARGET_MM, few_dipoles, sphere

from efield.errors import SearchError, TargetError
from efield.forward import simulate
from efield.frames import pose_from_yaw
from efield.metrics import weighted_percentile
from efield.model.target import Target
from efield.search.avoid import Avoid
from efield.search.optimize import optimize_coil
from efield.search.pareto import pareto_front

TARGET = Target.sphere(TARGET_MM, 8.0)
ASIDE = np.cross(TARGET_DIRECTION, [0, 0, 1.0]) / np.linalg.norm(np.cross(TARGET_DIRECTION, [0, 0, 1.0]))
BESIDE_MM = tuple(60.0 * (0.9 * TARGET_DIRECTION + 0.45 * ASIDE))
BESIDE = Target.sphere(BESIDE_MM, 8.0)


def searched(**options):
    return optimize_coil(sphere(), few_dipoles(), TARGET, **{"search": QUICK, **options})


def mean_magnitude(e_field, target):
    region = target.resolve(sphere().head)
    return region.volumes_mm3 @ np.linalg.norm(e_field[region.elements], axis=1) / region.volumes_mm3.sum()


def poses_of(result):
    table = result.candidates
    for point, normal in zip(table.scalp_mm, table.normals, strict=True):
        for yaw in table.yaw_deg[::4]:
            yield pose_from_yaw(point + 4.0 * normal, -normal, yaw)


@pytest.fixture(scope="module")
def free():
    return searched()


@pytest.fixture(scope="module")
def forward(free):
    """Target and off-target mean |E| of every fourth grid placement, solved forward."""
    fields = simulate(sphere(), few_dipoles(), list(poses_of(free)))
    return np.array([[mean_magnitude(f.E, TARGET), mean_magnitude(f.E, BESIDE)] for f in fields])


def test_a_limit_holds_by_the_forward_solution_and_costs_little_more_than_it_must(free, forward):
    limit = 0.93 * mean_magnitude(free.field.E, BESIDE)
    result = searched(avoid=Avoid(BESIDE, limit=limit))
    (fact,) = result.search["avoid"]
    assert fact["value"] == pytest.approx(mean_magnitude(result.field.E, BESIDE), rel=1e-9)
    assert fact["value"] <= limit
    assert fact["limit"] == limit and fact["objective"] == "mean_magnitude"
    assert result.objective.value == pytest.approx(mean_magnitude(result.field.E, TARGET), rel=1e-9)
    assert result.objective.value < free.objective.value
    assert result.objective.value >= forward[forward[:, 1] <= limit, 0].max() * (1 - 1e-3)
    for best in result.best:
        assert best.info["off_target"][0] <= limit
    assert not result.candidates.feasible.all()
    assert "avoid_limit" not in [w.code for w in result.warnings]


def test_a_weight_is_taken_off(free, forward):
    result = searched(avoid=[Avoid(BESIDE, weight=0.5)])
    own, off = mean_magnitude(result.field.E, TARGET), mean_magnitude(result.field.E, BESIDE)
    assert result.objective.value == pytest.approx(own - 0.5 * off, rel=1e-9)
    assert result.objective.name == f"mean_magnitude - 0.5 x mean_magnitude in {BESIDE.name}"
    assert result.objective.value >= (forward[:, 0] - 0.5 * forward[:, 1]).max() * (1 - 1e-9)
    assert off < mean_magnitude(free.field.E, BESIDE)


@pytest.mark.parametrize("objective", ["magnitude_of_mean", "percentile:90"])
def test_any_objective_takes_a_limit_on_any_measure(objective):
    region = BESIDE.resolve(sphere().head)

    def off_target(result):
        size = np.linalg.norm(result.field.E[region.elements], axis=1)
        return weighted_percentile(size, region.volumes_mm3, 80.0)

    without = searched(objective=objective)
    limit = 0.95 * off_target(without)
    result = searched(objective=objective, avoid=Avoid(BESIDE, limit=limit, objective="percentile:80"))
    assert off_target(result) <= limit
    assert 0.8 * without.objective.value < result.objective.value < without.objective.value


def test_a_limit_that_does_not_bind_changes_nothing(free):
    result = searched(avoid=Avoid(BESIDE, limit=100.0))
    assert result.objective.value == pytest.approx(free.objective.value, rel=1e-4)


def test_a_limit_that_nothing_keeps_says_what_could_be():
    with pytest.raises(
        SearchError, match=r"mean_magnitude in .* at most 1e-06 V/m \(the lowest alone is 0\."
    ):
        searched(avoid=Avoid(BESIDE, limit=1e-6))


def test_overlap_with_the_target_is_refused():
    with pytest.raises(TargetError, match=r"shares \d+ tetrahedra .* with the target"):
        searched(avoid=Avoid(Target.sphere(TARGET_MM, 12.0), limit=1.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs a limit"),
        ({"limit": 0}, "limit of Avoid must be positive"),
        ({"limit": np.nan}, "limit of Avoid must be positive"),
        ({"weight": -1.0}, "weight of Avoid must be positive"),
        ({"weight": 1.0, "objective": "magnitude_of_mean"}, "Avoid measures mean_magnitude"),
        ({"weight": 1.0, "objective": "mean"}, "unknown objective 'mean'"),
    ],
)
def test_unusable_regions_to_avoid(options, words):
    with pytest.raises(SearchError, match=words):
        Avoid(BESIDE, **options)


# --- fronts


def test_front_against_a_region(free, forward):
    front = pareto_front(sphere(), few_dipoles(), TARGET, BESIDE, search=QUICK, n_points=6)
    assert 3 <= len(front) <= 6 and front.unit == "V/m"
    assert np.all(np.diff(front.target_values) < 0) and np.all(np.diff(front.off_values) < 0)
    assert front.target_values[0] == pytest.approx(free.objective.value, rel=1e-4)
    fields = simulate(sphere(), few_dipoles(), front.placements)
    values = np.array([[mean_magnitude(f.E, TARGET), mean_magnitude(f.E, BESIDE)] for f in fields])
    np.testing.assert_allclose(values, np.stack([front.target_values, front.off_values], axis=1), rtol=1e-6)
    for target, off in values:  # no placement of the grid has more in the target and less beside it
        assert not np.any((forward[:, 0] > target * (1 + 2e-3)) & (forward[:, 1] < off * (1 - 2e-3)))
    assert front.to_dict()["placements"][0]["target_value"] == front.target_values[0]


def test_front_against_the_half_value_volume(free):
    front = pareto_front(sphere(), few_dipoles(), TARGET, "half_value_volume", search=QUICK)
    assert front.unit == "mm3" and len(front) >= 1
    assert np.all(np.diff(front.target_values) < 0) and np.all(np.diff(front.off_values) < 0)
    field = simulate(sphere(), few_dipoles(), front.placements[-1])
    assert front.off_values[-1] == pytest.approx(field.metrics(TARGET)["half_value_volume_mm3"], rel=1e-6)
    assert front.off_values[-1] <= free.metrics["half_value_volume_mm3"]


@pytest.mark.parametrize(
    ("against", "options", "error", "words"),
    [
        (TARGET, {}, TargetError, "shares .* with the target"),
        (BESIDE, {"n_points": 1}, SearchError, "n_points must be"),
        (BESIDE, {"off_objective": "directional"}, SearchError, "needs direction"),
        (BESIDE, {"off_objective": "normal"}, SearchError, "off_objective is mean_magnitude"),
        (BESIDE, {"didt": 0}, SearchError, "didt must not be 0"),
    ],
)
def test_unusable_fronts(against, options, error, words):
    with pytest.raises(error, match=words):
        pareto_front(sphere(), few_dipoles(), TARGET, against, search=QUICK, **options)
