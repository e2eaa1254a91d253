"""The built-in figure-8s of wire paths against the line integral along their published centrelines, and
closed forms."""

import numpy as np
import oracles
import pytest

from efield.errors import CoilError
from efield.model.coil_magventure import magventure_d_b80
from efield.model.coils import load_coil

FLAT = ("figure8-c-b60", "figure8-mri-b91", "figure8-cool-b35")
BEND = np.radians(30)


@pytest.fixture(scope="module", params=("bent-d-b80", *FLAT))
def coil(request):
    return load_coil(request.param)


@pytest.fixture(scope="module", params=FLAT)
def flat(request):
    return load_coil(request.param)


@pytest.fixture(scope="module")
def bent():
    return load_coil("bent-d-b80")


# The wires at one ampere: middles and vectors of their elements, mm, built as the source's scripts do, z away
# from the head and zero at the windings' face; then x, y, z becomes x, -y, -z. Straight leads close them.


def spiral(a, b, theta, dr):
    return np.stack(
        [(a + b * theta + dr) * np.cos(theta), (a + b * theta + dr) * np.sin(theta), 0 * theta], 1
    )


def offsets(width, height, n_width, n_height):
    """Shifts over a wire's cross-section by the midpoint rule."""
    dr = width * ((np.arange(n_width) + 0.5) / n_width - 0.5)
    dz = height * ((np.arange(n_height) + 0.5) / n_height - 0.5)
    return [(r, z) for r in dr for z in dz]


def bent_d_b80():
    pieces = []
    shifts = offsets(2.0, 6.0, 2, 6)
    for layer, (a, last) in enumerate(((24.0, 12 * np.pi), (27.0, 10 * np.pi))):
        theta, end = np.linspace(4 * np.pi, last, 1441), a + 0.61 * last
        for dr, dz in shifts:
            wing = spiral(a, 0.61, theta, dr) - [end, 0, 0]
            path = np.vstack([wing, -wing[::-1]])
            path[:, 2] = 3 + 6 * layer + dz
            if layer == 1:
                path = (path * [1, -1, 1])[::-1]
            # The lead from the last end to the first crosses the fold: two straight halves, one in each wing.
            path = np.vstack([path, [0, path[-1, 1], path[0, 2]], path[:1]])
            path[:, 2] -= np.sin(BEND) * np.abs(path[:, 0])
            path[:, 0] *= np.cos(BEND)
            pieces.append(elements(path, 1 / len(shifts)))
    return pieces, 5.0


def figure8_c_b60(closed=True):
    theta, end = np.linspace(1.5 * np.pi, 12 * np.pi, 1891), [17 + 0.6 * 12 * np.pi, 0, 0]
    turn = np.array([[np.cos(0.04), np.sin(0.04), 0], [-np.sin(0.04), np.cos(0.04), 0], [0, 0, 1]])
    pieces, shifts = [], offsets(2.61, 3.6, 2, 4)
    for dr, dz in shifts:
        wing = spiral(17.0, 0.6, theta, dr)
        # The lead from the last end to the first crosses the fold, by symmetry.
        path = np.vstack([wing, 2 * np.array(end) - wing[::-1], wing[: int(closed)]]) - end
        for middle in (1.8, 11.0):
            # Round the wing at x < 0 anticlockwise about the script's z: along +y at the fold.
            pieces.append(elements(path @ turn + [0, 0, middle + dz], 1 / len(shifts)))
    return pieces, 4.0


def figure8_mri_b91():
    pieces, shifts = [], offsets(2.2, 3.5, 2, 4)
    phi = np.linspace(0, 2 * np.pi, 721)
    for a, b in ((20.25, 28.75), (25.75, 34.25), (31.25, 39.75), (36.75, 45.25)):
        normal = np.stack([np.cos(phi) / a, np.sin(phi) / b, 0 * phi], 1)
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        for dr, dz in shifts:
            turn = np.stack([a * np.cos(phi), b * np.sin(phi), 0 * phi], 1) + dr * normal
            for middle in (1.75, 10.95):
                for x, sign in ((39.5, -1), (-39.5, 1)):
                    pieces.append(elements(turn + [x, 0, middle + dz], sign / len(shifts)))
    return pieces, 5.0


def figure8_cool_b35(closed=True):
    last = 63.5 * np.pi
    theta = np.linspace(0, last, 6351)
    pieces, shifts = [], offsets(0.2, 15.0, 1, 10)
    for dr, dz in shifts:
        wing = spiral(11.5, 11.5 / last, theta, dr)
        path = np.vstack([wing, wing[: int(closed)]]) + [23, 0, 7.5 + dz]
        for image in ([1, 1, 1], [-1, 1, 1]):
            pieces.append(elements(path * image, -1 / len(shifts)))
    return pieces, 5.0


def elements(path, current):
    """(middles, vectors times current) of a path's pieces, long ones cut in fifty."""
    middles, steps = (path[1:] + path[:-1]) / 2, current * np.diff(path, axis=0)
    long = np.linalg.norm(np.diff(path, axis=0), axis=1) > 2
    parts = (np.arange(50) + 0.5) / 50 - 0.5
    fine = middles[long][:, None] + parts[:, None] * steps[long][:, None] / current
    return (
        np.vstack([middles[~long], fine.reshape(-1, 3)]),
        np.vstack([steps[~long], np.repeat(steps[long] / 50, 50, axis=0)]),
    )


def line_integral(name, points_mm):
    """(n, 3) A of the wires, T m per A."""
    pieces, depth = globals()[name.replace("-", "_")]()
    a = np.zeros((len(points_mm), 3))
    for middles, steps in pieces:
        here = middles * [1, -1, -1] - [0, 0, depth]
        distance = np.linalg.norm(points_mm[:, None] - here, axis=2)
        a += 1e-7 * np.einsum("pe,ec->pc", 1 / distance, steps * [1, -1, -1])
    return a


def test_field_is_the_line_integral_along_the_wires(coil):
    x, y = np.meshgrid(np.linspace(-60, 60, 9), np.linspace(-50, 50, 7))
    surface = np.tan(BEND) * np.abs(x) if coil.name == "bent-d-b80" else 0 * x
    depths = (10, 20, 40)
    points = [np.stack([x, y, surface + depth], axis=-1).reshape(-1, 3) for depth in depths]
    expected = np.split(line_integral(coil.name, np.vstack(points)), len(depths))
    for here, wires in zip(points, expected, strict=True):
        got = oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, here / 1e3)
        share = 0.005 if coil.name == "bent-d-b80" else 0.002
        assert np.abs(got - wires).max() < share * np.abs(wires).max()


@pytest.mark.parametrize(("wires", "share"), [("figure8_c_b60", 0.15), ("figure8_cool_b35", 0.03)])
def test_what_the_leads_are_worth(wires, share):
    """As the coils' notes say: B of the leads alone, relative to that of the open wires."""
    x, y = np.meshgrid(np.linspace(-60, 60, 7), np.linspace(-60, 60, 7))
    for depth in (10, 20, 30):
        points = np.stack([x, y, 0 * x + depth], axis=-1).reshape(-1, 3)
        closed, opened = (b_field(*globals()[wires](closed), points) for closed in (True, False))
        worth = np.linalg.norm(closed - opened, axis=1).max() / np.linalg.norm(opened, axis=1).max()
        assert share / 3 < worth < share * 1.05


def b_field(pieces, depth, points_mm):
    """(n, 3) B of wires, T per A, in the script's axes turned to ours."""
    middles, steps = (np.vstack(p) * [1, -1, -1] for p in zip(*pieces, strict=True))
    return oracles.biot_savart((middles - [0, 0, depth]) / 1e3, steps / 1e3, points_mm / 1e3)


def swept(a, b, theta, width):
    """Area, m^2, that the radius of r = a + b theta sweeps, and w^2 / 12 a turn over a wire of width w."""
    first, last = theta
    return (((a + b * last) ** 3 - (a + b * first) ** 3) / (6 * b) + (last - first) / 2 * width**2 / 12) / 1e6


def quarter_lead(outer, inner, width):
    """Area, m^2, between a straight lead from `outer` to `inner`, a right angle apart, and the centre."""
    return (outer * inner / 2 + np.pi / 4 * width**2 / 12) / 1e6


AREAS = {
    "bent-d-b80": swept(24, 0.61, np.pi * np.array([4, 12]), 2)
    + swept(27, 0.61, np.pi * np.array([4, 10]), 2),
    "figure8-c-b60": 2 * swept(17, 0.6, np.pi * np.array([1.5, 12]), 2.61)
    - 2 * quarter_lead(17 + 7.2 * np.pi, 17 + 0.9 * np.pi, 2.61),
    # An ellipse whose wire reaches w / 2 to both sides of the centreline: pi a b up to pi w^2 / 12.
    "figure8-mri-b91": 2 * np.pi * (20.25 * 28.75 + 25.75 * 34.25 + 31.25 * 39.75 + 36.75 * 45.25) / 1e6
    + 8 * np.pi * 2.2**2 / 12 / 1e6,
    "figure8-cool-b35": swept(11.5, 11.5 / (63.5 * np.pi), np.pi * np.array([0, 63.5]), 0.2)
    + quarter_lead(23.0, 11.5, 0.2),
}


def test_moment_is_the_area_of_the_turns(coil):
    """Rays meet a lead askew, at a few angles; they meet the wire of an ellipse a little askew, too."""
    tilt = BEND if coil.name == "bent-d-b80" else 0.0
    close = {"bent-d-b80": 1e-5, "figure8-mri-b91": 1e-4}.get(coil.name, 1e-3)
    right, left = np.split(coil.moments, 2)
    for wing, sign in ((right, 1), (left, -1)):
        expected = sign * AREAS[coil.name] * np.array([-sign * np.sin(tilt), 0, np.cos(tilt)])
        np.testing.assert_allclose(wing.sum(axis=0), expected, rtol=close, atol=1e-12)


def test_wings_bend_towards_the_head_by_30_degrees(bent):
    x, _, z = bent.positions_mm.T
    front = z - np.tan(BEND) * x * np.repeat([1, -1], len(x) // 2)
    assert x[: len(x) // 2].mean() == pytest.approx(np.cos(BEND) * 47, abs=1)
    np.testing.assert_allclose(np.unique(np.round(front, 9)), [-14, -8])
    casing = bent.casing_mm[:, 2] - np.tan(BEND) * np.abs(bent.casing_mm[:, 0])
    assert casing.max() == pytest.approx(0, abs=1e-9) and casing.min() < -14


def test_casing_covers_the_windings(coil):
    assert (coil.casing_mm == 0).all(axis=1).any()
    assert not coil.bare.any()
    assert (np.abs(coil.positions_mm).max(axis=0) < np.abs(coil.casing_mm).max(axis=0)).all()


def test_flat_wings_lie_behind_the_face(flat):
    assert flat.casing_mm[:, 2].max() == 0
    assert flat.positions_mm[:, 2].max() < -5


def test_positive_didt_drives_the_current_along_minus_y(coil):
    a = oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, np.array([[0, 0, 0.02], [0, 0, 0.05]]))
    assert (a[:, 1] < 0).all()  # so E = -dA/dt is along +y
    np.testing.assert_allclose(a[:, 2], 0, atol=1e-9 * abs(a[0, 1]))
    # Spirals are not mirror images of themselves; the C-B60 is turned by 0.04 rad, and its leads run across.
    share = 0.1 if coil.name == "figure8-c-b60" else 0.03
    assert (np.abs(a[:, 0]) < share * np.abs(a[:, 1])).all()


@pytest.mark.parametrize(
    ("name", "image", "sign"),
    [
        ("bent-d-b80", [-1, -1, 1], -1),
        ("figure8-c-b60", [-1, -1, 1], -1),
        ("figure8-mri-b91", [-1, -1, 1], -1),
        ("figure8-mri-b91", [-1, 1, 1], 1),
        ("figure8-cool-b35", [-1, 1, 1], 1),
    ],
)
def test_symmetry_of_the_wings(name, image, sign):
    """A half turn reverses the current; the mirror image in x is the coil itself."""
    coil = load_coil(name)
    points = np.random.default_rng(1).uniform([-60, -60, 45], [60, 60, 80], size=(20, 3)) / 1e3
    here, there = (
        oracles.dipole_a(coil.positions_mm / 1e3, coil.moments, p) for p in (points, points * image)
    )
    np.testing.assert_allclose(there * image, sign * here, atol=1e-9 * np.abs(here).max())


def test_largest_didt_only_where_it_was_measured(bent):
    assert bent.max_didt is None and all(s.displayed_max_didt is None for s in bent.stimulators)
    measured = {
        "figure8-c-b60": (155.4, 161),
        "figure8-mri-b91": (194.3, 203),
        "figure8-cool-b35": (141.3, 145),
    }
    for name, (real, displayed) in measured.items():
        coil = load_coil(name)
        assert coil.max_didt == coil.stimulators[0].max_didt == pytest.approx(real * 1e6)
        assert coil.stimulators[0].displayed_max_didt == pytest.approx(displayed * 1e6)
        assert any("Drakaki" in note for note in coil.notes)


def test_spacing_must_be_positive():
    with pytest.raises(CoilError, match="spacing_mm must be a positive number, not 0"):
        magventure_d_b80(0)
