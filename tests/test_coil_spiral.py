"""The bent built-in coil against the line integral along its published centreline, and closed forms."""

import numpy as np
import oracles
import pytest

from efield.errors import CoilError
from efield.model.coil_spiral import magventure_d_b80
from efield.model.coils import load_coil

START, GROWTH = np.array([24.0, 27.0]), 0.61  # mm, mm per radian, of the two layers
INNER, OUTER = np.array([4, 4]) * np.pi, np.array([12, 10]) * np.pi
BEND = np.radians(30)


@pytest.fixture(scope="module")
def coil():
    return load_coil("bent-d-b80")


def wires(heights=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5), widths=(-0.5, 0.5)):
    """Middles and vectors, mm, of both layers' elements at one ampere, the wire 6 mm high and 2 mm wide.

    Built as the source does, its z away from the head: the first layer's path runs from the inner end of
    the wing at x < 0 to the fold, then the same turned by 180 degrees; the second, on top, is its mirror
    image in y and runs backwards. Wings are bent by 30 degrees; then x, y, z becomes x, -y, -z.
    """
    pieces = []
    for layer, (a, first, last) in enumerate(zip(START, INNER, OUTER, strict=True)):
        theta = np.linspace(first, last, 1441)
        for dz in heights:
            for dr in widths:
                r = a + GROWTH * theta + dr
                end = a + GROWTH * last
                wing = np.stack([r * np.cos(theta) - end, r * np.sin(theta), 0 * theta], axis=1)
                path = np.vstack([wing, -wing[::-1]])
                path[:, 2] = 3 + 6 * layer + dz
                if layer == 1:
                    path = (path * [1, -1, 1])[::-1]
                path = np.vstack([path, path[:1]])  # the lead from the last end to the first
                share = 1 / (len(heights) * len(widths))
                bent = path.copy()
                bent[:, 0] = np.cos(BEND) * path[:, 0]
                bent[:, 2] = path[:, 2] - np.sin(BEND) * np.abs(path[:, 0])
                # The lead crosses the fold: two straight halves, one in each wing.
                fold = np.array([[0, bent[-1, 1], path[0, 2]]])
                bent = np.vstack([bent[:-1], fold, bent[-1:]])
                bent = bent * [1, -1, -1] - [0, 0, 5]
                pieces.append(_split((bent[1:] + bent[:-1]) / 2, np.diff(bent, axis=0), share))
    return tuple(np.vstack(p) for p in zip(*pieces, strict=True))


def _split(middles, steps, share):
    """Long elements in twenty pieces."""
    long = np.linalg.norm(steps, axis=1) > 2
    parts = (np.arange(20) + 0.5) / 20 - 0.5
    fine = (middles[long][:, None] + parts[:, None] * steps[long][:, None]).reshape(-1, 3)
    short = np.vstack([middles[~long], fine])
    return short, share * np.vstack([steps[~long], np.repeat(steps[long] / 20, 20, axis=0)])


def line_integral(points_mm):
    middles, steps = wires()
    distance = np.linalg.norm(points_mm[:, None] - middles, axis=2)
    return 1e-7 * (steps / distance[..., None]).sum(axis=1)


def test_field_is_the_line_integral_along_the_wires(coil):
    x, y = np.meshgrid(np.linspace(-60, 60, 9), np.linspace(-50, 50, 7))
    wing = np.tan(BEND) * np.abs(x)
    for depth in (10, 20, 40):
        points = np.stack([x, y, wing + depth], axis=-1).reshape(-1, 3)
        expected = line_integral(points)
        got = oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, points / 1e3)
        assert np.abs(got - expected).max() < 0.005 * np.abs(expected).max()


def test_moment_is_the_area_the_spirals_sweep(coil):
    """Half the integral of r^2 over the angle, and w^2 / 12 a turn over a wire of width w = 2 mm."""
    swept = ((START + GROWTH * OUTER) ** 3 - (START + GROWTH * INNER) ** 3) / (6 * GROWTH)
    area = (swept + (OUTER - INNER) / 2 * 2.0**2 / 12).sum() / 1e6
    right, left = np.split(coil.moments, 2)
    for wing, sign in ((right, 1), (left, -1)):
        expected = sign * area * np.array([-sign * np.sin(BEND), 0, np.cos(BEND)])
        np.testing.assert_allclose(wing.sum(axis=0), expected, rtol=1e-5, atol=1e-12)


def test_wings_bend_towards_the_head_by_30_degrees(coil):
    x, _, z = coil.positions_mm.T
    front = z - np.tan(BEND) * x * np.repeat([1, -1], len(x) // 2)
    assert x[: len(x) // 2].mean() == pytest.approx(np.cos(BEND) * 47, abs=1)
    np.testing.assert_allclose(np.unique(np.round(front, 9)), [-14, -8])
    casing = coil.casing_mm[:, 2] - np.tan(BEND) * np.abs(coil.casing_mm[:, 0])
    assert casing.max() == pytest.approx(0, abs=1e-9) and casing.min() < -14
    assert (coil.casing_mm == 0).all(axis=1).any()
    assert (np.abs(coil.positions_mm).max(axis=0) < np.abs(coil.casing_mm).max(axis=0)).all()


def test_positive_didt_drives_the_current_along_minus_y(coil):
    a = oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, np.array([[0, 0, 0.02], [0, 0, 0.05]]))
    assert (a[:, 1] < 0).all()  # so E = -dA/dt is along +y
    np.testing.assert_allclose(a[:, 2], 0, atol=1e-9 * abs(a[0, 1]))
    assert (np.abs(a[:, 0]) < 0.03 * np.abs(a[:, 1])).all()  # spirals are not mirror images of themselves


def test_a_half_turn_reverses_the_field(coil):
    points = np.random.default_rng(1).uniform([-60, -60, 45], [60, 60, 80], size=(20, 3)) / 1e3
    turn = np.array([-1, -1, 1])
    here, there = (
        oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, p) for p in (points, points * turn)
    )
    np.testing.assert_allclose(there * turn, -here, atol=1e-9 * np.abs(here).max())


def test_no_largest_didt_is_claimed(coil):
    assert coil.max_didt is None and all(s.displayed_max_didt is None for s in coil.stimulators)


def test_spacing_must_be_positive():
    with pytest.raises(CoilError, match="spacing_mm must be a positive number, not 0"):
        magventure_d_b80(0)
