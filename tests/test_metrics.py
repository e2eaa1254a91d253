"""Numbers that summarise |E|, against NumPy on repeated samples and against closed forms."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efield.errors import ConvergenceError, TargetError
from efield.metrics import (
    field_metrics,
    peak_metrics,
    region_metrics,
    scalp_cortex_distance_mm,
    weighted_mean,
    weighted_percentile,
)
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh

# The six tetrahedra of a cube around its diagonal 0-7, corners numbered x + 2 y + 4 z.
CUBE = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])


def block_head(n=6, edge_mm=2.0, tag=2):
    """A block of n^3 cubes, six equal tetrahedra each, one corner in the origin."""
    axis = np.arange(n + 1)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    nodes = edge_mm * np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    i, j, k = (a.ravel() for a in np.meshgrid(*[np.arange(n)] * 3, indexing="ij"))
    corner = np.stack(
        [(i + a) + (n + 1) * ((j + b) + (n + 1) * (k + c)) for c in (0, 1) for b in (0, 1) for a in (0, 1)],
        axis=1,
    )
    tets = corner[:, CUBE].reshape(-1, 4)
    tags = np.full(len(tets), tag)
    return HeadModel.from_mesh(TetMesh(nodes, tets, tags), name="block")


samples = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=30)


@given(samples, st.sampled_from([0.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9, 100.0]))
def test_percentile_equals_numpy_on_the_repeated_sample(sample, percent):
    values, weights = np.array(sample, dtype=float).T
    repeated = np.repeat(values, weights.astype(int))
    assert weighted_percentile(values, weights, percent) == np.percentile(
        repeated, percent, method="inverted_cdf"
    )


@given(samples)
def test_mean_equals_numpy_on_the_repeated_sample(sample):
    values, weights = np.array(sample, dtype=float).T
    assert weighted_mean(values, weights) == pytest.approx(
        np.repeat(values, weights.astype(int)).mean(), rel=1e-12
    )


@given(samples)
def test_splitting_elements_changes_nothing(sample):
    values, weights = np.array(sample, dtype=float).T
    whole = region_metrics(values, weights)
    halves = region_metrics(np.tile(values, 2), np.tile(weights / 2, 2))
    assert whole.pop("n_elements") * 2 == halves.pop("n_elements")
    assert halves == pytest.approx(whole, rel=1e-12)


def test_linear_field_on_a_block():
    head = block_head()
    magnitude = head.mesh.barycentres_mm[:, 2] / 12.0  # 0 at the bottom, 1 at the top
    metrics = field_metrics(head, magnitude, np.arange(len(head.tets)))
    assert metrics["volume_mm3"] == pytest.approx(12.0**3)
    assert metrics["mean"] == pytest.approx(0.5)
    # Six cubes high, barycentres at 1/4, 1/2, 3/4 of each: within one step of the exact value.
    for key, exact in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("peak", 0.999)):
        assert metrics[key] == pytest.approx(exact, abs=1 / 18)
    assert metrics["half_value_volume_mm3"] == pytest.approx(12.0**3 / 2, rel=0.12)
    assert metrics["peak_mm"][2] > 10.0
    assert metrics["target_peak_ratio"] == pytest.approx(metrics["mean"] / metrics["peak"])


def test_region_weights_by_volume():
    metrics = region_metrics(np.array([1.0, 4.0]), np.array([3.0, 1.0]))
    assert metrics["mean"] == pytest.approx(7 / 4)
    assert metrics["median"] == 1.0
    assert metrics["p99"] == 4.0


def test_peak_lies_in_one_of_two_hot_spots_not_between():
    rng = np.random.default_rng(1)
    places = np.vstack([rng.normal(-50, 1, (2000, 3)), rng.normal(50, 1, (2000, 3))])
    magnitude = np.exp(-np.minimum(np.sum((places - 50) ** 2, 1), np.sum((places + 50) ** 2, 1)))
    metrics = peak_metrics(magnitude, np.ones(4000), places)
    spot = np.array(metrics["peak_mm"])
    assert min(np.abs(spot - 50).max(), np.abs(spot + 50).max()) < 2.0


def test_half_value_volume_counts_what_reaches_half_the_peak():
    magnitude = np.r_[np.full(1000, 2.0), np.full(500, 1.0), np.full(700, 0.99)]
    metrics = peak_metrics(magnitude, np.full(2200, 0.5), np.zeros((2200, 3)))
    assert metrics["peak"] == 2.0
    assert metrics["half_value_volume_mm3"] == 750.0


def test_no_peak_below_a_thousand_elements():
    many, few = np.ones(1000), np.ones(999)
    assert peak_metrics(many, many, np.zeros((1000, 3)))["peak"] == 1.0
    assert peak_metrics(few, few, np.zeros((999, 3))) == {
        "peak": None,
        "peak_mm": None,
        "half_value_volume_mm3": None,
    }


def test_head_without_grey_matter_gives_null_not_nan():
    head = block_head(tag=3)
    metrics = field_metrics(head, np.ones(len(head.tets)), np.arange(5), scalp_mm=(0, 0, 20))
    for key in ("peak", "peak_mm", "half_value_volume_mm3", "target_peak_ratio", "scalp_cortex_mm"):
        assert metrics[key] is None
    json.dumps(metrics, allow_nan=False)


def test_zero_field_gives_no_ratio():
    head = block_head()
    metrics = field_metrics(head, np.zeros(len(head.tets)), np.arange(5))
    assert metrics["peak"] == 0.0
    assert metrics["target_peak_ratio"] is None


def test_scalp_cortex_distance():
    head = block_head()
    assert scalp_cortex_distance_mm(head, (6.0, 6.0, 25.0)) == pytest.approx(13.0)


def test_pose_numbers_are_passed_through():
    head = block_head()
    metrics = field_metrics(head, np.ones(len(head.tets)), np.arange(5), tilt_deg=3, clearance_mm=1.5)
    assert (metrics["tilt_deg"], metrics["clearance_mm"]) == (3.0, 1.5)


def test_field_that_is_not_finite_is_refused():
    head = block_head()
    magnitude = np.ones(len(head.tets))
    magnitude[17] = np.nan
    with pytest.raises(ConvergenceError, match="first is 17"):
        field_metrics(head, magnitude, np.arange(5))


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.array([], int), "no elements"),
        (np.array([0, 10**7]), "10000000"),
        (np.array([-1]), "-1"),
        (np.array([0.5]), "float"),
        (np.array([True]), "bool"),
    ],
)
def test_bad_region(region, words):
    head = block_head(n=2)
    with pytest.raises(TargetError, match=words):
        field_metrics(head, np.ones(len(head.tets)), region)
