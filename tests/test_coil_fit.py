"""Equivalent dipoles of wires and of sampled fields."""

import nibabel
import numpy as np
import pytest
from scipy.spatial import cKDTree
from small_heads import QUICK, TARGET_MM, mni_small, sphere

from efield.analytic.loop import loop_vector_potential
from efield.errors import CoilError
from efield.forward import simulate
from efield.io.stimulator import Stimulator
from efield.io.tcd import GRID, LINES, Element, TcdRecord, write_tcd
from efield.model import coil_few, coil_fit
from efield.model.coil import Coil
from efield.model.coil_files import save_coil
from efield.model.coil_fit import fit_grid, fit_wires, wire_field
from efield.model.coil_wires import closed_wires
from efield.model.coils import load_coil
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.optimize import optimize_coil
from efield.tissues import TISSUE_TAGS

RADIUS_MM, HEIGHT_MM = 45.0, -5.0


def loop(segments=400, radius=RADIUS_MM):
    """Starts and ends of the segments of a circle about z, anticlockwise seen from the head."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    points = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), np.full(segments + 1, HEIGHT_MM)], axis=1
    )
    return points[:-1], points[1:]


def below_the_scalp(n=4000):
    """Points of the coil frame where the brain may be: 12 mm and more below a casing's face at z = 0."""
    rng = np.random.default_rng(3)
    return rng.uniform([-90, -90, 12], [90, 90, 120], (n, 3))


def relative(difference, reference):
    """Error as a whole, and the largest relative to the largest value."""
    largest = np.linalg.norm(difference, axis=1).max() / np.linalg.norm(reference, axis=1).max()
    return np.linalg.norm(difference) / np.linalg.norm(reference), largest


def assert_same_in_the_brain(coil, reference):
    """E of two coils in grey and white matter: to 1e-3 as a whole, and at most of the largest."""
    prepared = mni_small()
    placement = Placement.on_scalp(prepared.head, [-60, 50, 60], yaw_deg=45.0)
    found, expected = (simulate(prepared, one, placement).E for one in (coil, reference))
    for tissue in ("grey_matter", "white_matter"):
        there = prepared.head.tags == TISSUE_TAGS[tissue]
        whole, largest = relative((found - expected)[there], expected[there])
        assert whole < 1e-3 and largest < 1e-3, (tissue, whole, largest)


def write_lines(path, points, values):
    write_tcd(path, TcdRecord((Element(LINES, 0, points, values),), (Stimulator("S"),)))
    return path


def sampled(coil, low, high, step):
    """Affine and A of a coil on a grid."""
    sides = [np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return affine, coil.a_field(points.reshape(-1, 3)).reshape(points.shape)


def save_grid(path, affine, data):
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture(scope="module")
def wire_coil(tmp_path_factory):
    starts, ends = loop()
    path = tmp_path_factory.mktemp("wire") / "loop.tcd"
    return load_coil(write_lines(path, (starts + ends) / 2, ends - starts))


@pytest.fixture(scope="module")
def figure8_grid():
    """The built-in figure-8 on a grid that holds its windings, too; as lie the files of other programs."""
    return sampled(load_coil("figure8-70mm"), (-162, -122, -41), (162, 122, 139), 4.0)


@pytest.fixture(scope="module")
def grid_coil(tmp_path_factory, figure8_grid):
    return load_coil(save_grid(tmp_path_factory.mktemp("grid") / "fig8.nii.gz", *figure8_grid))


@pytest.fixture
def few_dipoles(monkeypatch):
    """Quick fits, where their error is not what is tested."""
    monkeypatch.setattr(coil_fit, "FEWEST", 50)
    monkeypatch.setattr(coil_fit, "MOST", 250)
    monkeypatch.setattr("efield.model.coils.POOR_FIT", 1.0)


# --- wires


def test_segments_make_the_field_of_a_loop():
    points = below_the_scalp(300)
    expected = loop_vector_potential(RADIUS_MM / 1e3, HEIGHT_MM / 1e3, points / 1e3)
    assert relative(wire_field(*loop(4000), points) - expected, expected)[0] < 1e-6


def test_wire_coil_has_the_closed_forms_field(wire_coil):
    points = below_the_scalp()
    expected = loop_vector_potential(RADIUS_MM / 1e3, HEIGHT_MM / 1e3, points / 1e3)
    whole, largest = relative(wire_coil.a_field(points) - expected, expected)
    assert whole < 1e-3 and largest < 1e-3
    assert wire_coil.fit_error < 1e-3
    assert len(wire_coil.moments) <= 700
    assert any("points left out of the fit" in note for note in wire_coil.notes)


def test_reported_error_is_the_error(wire_coil):
    rng = np.random.default_rng(8)
    points = rng.uniform([-100, -100, HEIGHT_MM + 12], [100, 100, HEIGHT_MM + 60], (4000, 3))
    expected = loop_vector_potential(RADIUS_MM / 1e3, HEIGHT_MM / 1e3, points / 1e3)
    whole, _ = relative(wire_coil.a_field(points) - expected, expected)
    assert wire_coil.fit_error / 5 < whole < 5 * wire_coil.fit_error


@pytest.mark.parametrize(("error", "warned"), [(0.9e-3, False), (1.1e-3, True)])
def test_loading_warns_of_a_fit_worse_than_a_thousandth(tmp_path, monkeypatch, error, warned):
    fit = coil_fit.Fit(np.zeros((1, 3)), np.eye(3)[:1], np.zeros((1, 3)), error, None)
    monkeypatch.setattr("efield.model.coils.fit_wires", lambda *args, **kwargs: fit)
    starts, ends = loop(40)
    write_lines(tmp_path / "loop.tcd", (starts + ends) / 2, ends - starts)
    if warned:
        with pytest.warns(UserWarning, match=r"loop\.tcd.* reproduce its field to 0\.11 % only"):
            load_coil(tmp_path / "loop.tcd")
    else:
        assert load_coil(tmp_path / "loop.tcd").fit_error == error


def test_points_are_middles_or_starts_as_the_wire_joins_up():
    starts, ends = loop(60)
    for points, reading in (((starts + ends) / 2, "middle"), (starts, "start")):
        a, b, leads, found = closed_wires(points, ends - starts)
        np.testing.assert_allclose(a, starts, atol=1e-12)
        np.testing.assert_allclose(b, ends, atol=1e-12)
        assert (found, leads) == (reading, 0.0)


def test_elements_of_length_zero_are_left_out_and_open_wires_closed():
    starts, ends = loop(60)
    points, values = np.vstack([starts[:45], [[0, 0, 0]]]), np.vstack([(ends - starts)[:45], [[0, 0, 0]]])
    a, b, leads, _ = closed_wires(points, values)
    assert len(a) == 46 and leads == pytest.approx(RADIUS_MM * np.sqrt(2))
    np.testing.assert_allclose([a[-1], b[-1]], [ends[44], starts[0]], atol=1e-12)
    np.testing.assert_allclose((b - a).sum(axis=0), 0, atol=1e-12)


def test_two_loops_one_after_the_other_are_two_wires():
    starts, ends = (np.vstack([a, a + [0, 0, -3]]) for a in loop(60))
    a, _, leads, _ = closed_wires((starts + ends) / 2, ends - starts)
    assert len(a) == 120 and leads == 0.0


def test_the_order_of_parts_of_one_wire_does_not_matter_to_its_field():
    """Two halves of a loop, each closed by a lead; the leads cancel."""
    starts, ends = loop(60)
    halves = [closed_wires(((starts + ends) / 2)[h], (ends - starts)[h]) for h in (slice(30), slice(30, 60))]
    points = below_the_scalp(50)
    total = sum(wire_field(a, b, points) for a, b, *_ in halves)
    np.testing.assert_allclose(total, wire_field(starts, ends, points), rtol=1e-9, atol=1e-20)


def test_a_current_that_is_not_closed_is_refused(tmp_path, few_dipoles):
    path = write_lines(
        tmp_path / "open.tcd", np.array([[0.0, 0, -5], [60, 0, -5]]), np.array([[50.0, 0, 0]] * 2)
    )
    with pytest.raises(CoilError, match=r"open\.tcd, element 0: .* not closed"):
        load_coil(path)


def test_real_wire_coil(shared):
    coil = load_coil(shared("data/coils/two_stimulator_example_coil.tcd"))
    assert coil.n_stimulators == 2 and coil.fit_error < 1e-3
    assert coil.max_didt == 102.45e6 and coil.didt_weights == ()
    assert {"Wires of Figure_of_8: points read as the middle of each line element."} <= set(coil.notes)
    # The second figure-8 is the first, turned by 90 degrees and 4 mm farther from the head.
    points = below_the_scalp(500)
    one, two = coil.weighted([1, 0]).a_field(points), coil.weighted([0, 1]).a_field(points)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    expected = coil.weighted([1, 0]).a_field((points + [0, 0, 4]) @ turn) @ turn.T
    assert relative(two - expected, one)[0] < 1e-3


def rings():
    """Two circles side by side, as closed polygons (n, 3)."""
    starts, _ = loop(48, 30.0)
    return [starts + [32, 0, 0], starts[::-1] - [32, 0, 0]]


def bent_spirals():
    """Wings of three turns that rise away from the head by 20 degrees, each closed by a lead."""
    t = np.linspace(0, 3, 121)
    x, y = 46 + (30 + 4 * t) * np.cos(2 * np.pi * t), (30 + 4 * t) * np.sin(2 * np.pi * t)
    wing = np.stack([x * np.cos(np.radians(20)), y, HEIGHT_MM - x * np.sin(np.radians(20))], axis=1)
    return [wing, (wing * [-1, 1, 1])[::-1]]


def sheet_dipoles(polygon, parts=6):
    """Dipoles on the triangles from a closed wire's middle to its segments: Ampere's sheet of the same A.

    Each triangle is cut into `parts` squared, with the rule of second degree on each.
    """
    middle, ends = polygon.mean(axis=0), np.roll(polygon, -1, axis=0)
    sides = np.stack([polygon - middle, ends - middle], axis=1)
    corners = [(i, j, 1) for i in range(parts) for j in range(parts - i)]
    corners += [(i + 1, j + 1, -1) for i in range(parts - 1) for j in range(parts - 1 - i)]
    inner = np.array([[1, 1], [4, 1], [1, 4]]) / 6
    shares = np.vstack([[i, j] + sign * inner for i, j, sign in corners]) / parts
    moments = np.cross(sides[:, 0], sides[:, 1]) / 2 * 1e-6 / len(shares)
    return (middle + shares @ sides).reshape(-1, 3), np.repeat(moments, len(shares), axis=0)


@pytest.mark.parametrize("wires", [rings, bent_spirals])
def test_wire_coil_and_its_fine_dipoles_give_the_same_field_in_the_brain(wires, tmp_path):
    polygons = wires()
    steps = [np.roll(p, -1, axis=0) - p for p in polygons]
    middles = np.vstack([p + s / 2 for p, s in zip(polygons, steps, strict=True)])
    lines = load_coil(write_lines(tmp_path / "lines.tcd", middles, np.vstack(steps)))
    fine = Coil(*(np.vstack(part) for part in zip(*map(sheet_dipoles, polygons), strict=True)))
    points = below_the_scalp(200)
    exact = wire_field(middles - np.vstack(steps) / 2, middles + np.vstack(steps) / 2, points)
    assert relative(fine.a_field(points) - exact, exact)[1] < 5e-5
    assert_same_in_the_brain(lines, fine)


# --- sampled fields


def test_grid_with_the_windings_in_it(grid_coil):
    points, exact = below_the_scalp(), load_coil("figure8-70mm")
    expected = exact.a_field(points)
    whole, largest = relative(grid_coil.a_field(points) - expected, expected)
    assert whole < 1e-3 and largest < 1e-3
    assert grid_coil.fit_error < 1e-3 and grid_coil.name == "fig8"
    assert grid_coil.extent_mm[:, 2].max() < 0  # nothing of the coil is put where the head may be


def test_the_reported_error_of_a_grid_is_that_near_the_bend_of_a_bent_coil():
    """At points of a brain in its fold, 12 mm from the nearest dipole: not a tenth, not ten times as much."""
    coil = load_coil("bent-d-b80")
    affine, data = sampled(coil, (-170, -120, -45), (170, 120, 138), 5.0)
    fit = fit_grid(affine, data.astype(np.float32))
    points = np.random.default_rng(3).uniform([-75, -75, 17], [75, 75, 92], (20000, 3))
    points = points[np.linalg.norm(points - [0, 0, 92.4], axis=1) < 75]
    away = cKDTree(coil.positions_mm).query(points)[0]
    assert 11.5 < away.min() < 14
    whole, _ = relative(
        Coil(fit.positions_mm, fit.moments).a_field(points) - coil.a_field(points), coil.a_field(points)
    )
    assert whole / 3 < fit.error < 10 * whole


def test_several_stimulators_in_one_grid(tmp_path, figure8_grid, few_dipoles):
    affine, data = figure8_grid
    path = save_grid(tmp_path / "two.nii.gz", affine, np.concatenate([data, -0.5 * data], axis=3))
    coil = load_coil(path)
    assert coil.n_stimulators == 2
    points = below_the_scalp(300)
    both, first = coil.a_field(points), coil.weighted([1, 0]).a_field(points)
    np.testing.assert_allclose(both, 0.5 * first, atol=1e-6 * np.abs(first).max())
    np.testing.assert_allclose(coil.weighted([1, 2]).a_field(points), 0, atol=1e-6 * np.abs(first).max())


def test_grid_element_of_a_tcd(tmp_path, figure8_grid, grid_coil, few_dipoles):
    affine, data = figure8_grid
    record = TcdRecord((Element(GRID, 0, data=data.astype(np.float32), affine=affine),), (Stimulator("S"),))
    write_tcd(tmp_path / "grid.tcd", record)
    coil = load_coil(tmp_path / "grid.tcd")
    points = below_the_scalp(300)
    assert relative(coil.a_field(points) - grid_coil.a_field(points), grid_coil.a_field(points))[0] < 5e-3
    assert len(coil.sampled_boxes) == 1


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [((3, 9, 9, 3), 1.0, "each side needs 4"), ((9, 9, 9, 3), 0.0, "zero everywhere")],
)
def test_grids_that_nothing_can_be_fitted_to(shape, value, message):
    with pytest.raises(CoilError, match=message):
        fit_grid(np.diag([5.0, 5, 5, 1]), np.full(shape, value))


@pytest.mark.parametrize("scale", [0.005, 5000.0])
def test_grid_that_is_not_in_millimetres(scale):
    with pytest.raises(CoilError, match="its affine must be in mm"):
        fit_grid(np.diag([scale, scale, scale, 1]), np.ones((9, 9, 9, 3)))


def test_noise_is_refused():
    data = np.random.default_rng(0).standard_normal((20, 20, 20, 3))
    affine = np.diag([5.0, 5, 5, 1])
    with pytest.raises(CoilError, match="where the head is"):
        fit_grid(affine, data)


def test_finer_dipoles_err_less(few_dipoles):
    coarse, fine = (fit_wires(*loop(120, 20.0), spacing_mm=s) for s in (17.0, 12.5))
    assert len(coarse.moments) < len(fine.moments)
    assert fine.error < coarse.error / 2


@pytest.mark.filterwarnings("ignore:.* of the head's nodes lie outside")  # tested below
def test_ccd_and_nifti_of_a_built_in_coil_give_the_same_field_in_the_brain(grid_coil, tmp_path):
    save_coil(load_coil("figure8-70mm"), tmp_path / "fig8.ccd")
    assert_same_in_the_brain(grid_coil, tmp_path / "fig8.ccd")


@pytest.mark.filterwarnings("ignore:.* of the head's nodes lie outside")
def test_stimulators_of_a_nifti_give_the_field_of_their_dipoles_in_the_brain(tmp_path):
    """The second is the first turned by 90 degrees; it runs the other way at half the dI/dt."""
    one = load_coil("figure8-cool-b35")
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    two = Coil(one.positions_mm @ turn.T, one.moments @ turn.T)
    both = [sampled(coil, (-120, -120, -41), (120, 120, 139), 5.0) for coil in (one, two)]
    data = np.concatenate([data for _, data in both], axis=3)
    coil = load_coil(save_grid(tmp_path / "two.nii.gz", both[0][0], data)).weighted([1, -0.5])
    exact = Coil(
        np.vstack([one.positions_mm, two.positions_mm]), np.vstack([one.moments, -0.5 * two.moments])
    )
    assert_same_in_the_brain(coil, exact)


@pytest.mark.filterwarnings("ignore:.* of the head's nodes lie outside")  # tested below
@pytest.mark.parametrize("name", ["Magstim_70mm_Fig8", "testcoil"])
def test_ccd_and_nifti_of_one_coil_give_the_same_field_in_the_brain(shared, name):
    """The second are four dipoles, two of them 1 mm above the face, on a grid of 10 mm."""
    assert_same_in_the_brain(*(shared(f"data/coils/{name}{suffix}") for suffix in (".nii.gz", ".ccd")))


@pytest.mark.parametrize(("k", "step"), [(1, 10.0), (3, 10.0), (6, 7.0)])
def test_few_dipoles_are_recovered_from_a_grid_that_barely_resolves_them(k, step):
    rng = np.random.default_rng(k)
    positions = np.column_stack([rng.uniform(-40, 40, (k, 2)), rng.uniform(-12, -1, k)])
    coil = Coil(positions, 1e-5 * rng.standard_normal((k, 3)))
    affine, data = sampled(coil, (-95, -95, -45), (95, 95, 145), step)
    fit = fit_grid(affine, data.astype(np.float32))
    order, found = (np.argsort(p[:, 0]) for p in (positions, fit.positions_mm))
    np.testing.assert_allclose(fit.positions_mm[found], positions[order], atol=1e-4)
    np.testing.assert_allclose(fit.moments[found], coil.moments[order], atol=1e-5 * 1e-5)
    assert fit.error < 1e-6


def test_many_dipoles_are_not_taken_for_few():
    coil = load_coil("figure8-70mm")
    affine, data = sampled(coil, (-150, -110, -40), (150, 110, 130), 10.0)
    voxels = np.stack(np.meshgrid(*map(np.arange, data.shape[:3]), indexing="ij"), axis=-1).reshape(-1, 3)
    assert coil_few.few_dipoles(voxels * 10.0 + affine[:3, 3], data.reshape(-1, 3), 10.0) is None


def test_a_sample_beside_a_dipole_hides_no_other_source():
    """One sample of 10 mm lies 0.02 mm from a dipole and outshines the others a hundred times."""
    coil = load_coil("figure8-70mm")
    low = np.round(coil.positions_mm[0] - [160, 120, 45], 2)
    low += (coil.positions_mm[0] - low) % 5.0 + [0.02, 0, 0]
    affine, data = sampled(coil, low, low + [320, 240, 190], 5.0)
    size = np.linalg.norm(data, axis=-1)
    assert size.max() > 30 * np.quantile(size, 0.999)
    fit = fit_grid(affine, data.astype(np.float32))
    points = below_the_scalp()
    expected = coil.a_field(points)
    whole, largest = relative(Coil(fit.positions_mm, fit.moments).a_field(points) - expected, expected)
    assert whole < 1e-4 and largest < 1e-4 and fit.error < 1e-3


def test_search_with_a_sampled_coil(grid_coil):
    """The optimum's value is that of the dipoles the field was sampled from; the sphere is 170 mm deep."""
    target = Target.sphere(TARGET_MM, 8.0)
    result = optimize_coil(sphere(), grid_coil, target, search=QUICK, n_best=1)
    field = simulate(sphere(), "figure8-70mm", result.placement)
    assert result.objective.value == pytest.approx(field.metrics(target)["mean"], rel=1e-3)
    assert "coil_coverage" in [w.code for w in result.warnings]


def test_grid_that_does_not_cover_the_head_warns_with_the_share(tmp_path, figure8_grid, few_dipoles):
    affine, data = figure8_grid
    coil = load_coil(
        save_grid(tmp_path / "shallow.nii.gz", affine, data[:, :, :26])
    )  # 59 mm below the casing
    head = mni_small().head
    placement = Placement.on_scalp(head, [-60, 50, 60])
    inward = (head.nodes_mm - placement.center_mm) @ placement.matsimnibs[:3, :3]
    share = 100 * np.mean((np.abs(inward[:, :2]) > [162, 122]).any(axis=1) | (inward[:, 2] > 59))
    assert 20 < share < 90
    with pytest.warns(UserWarning, match=rf"{share:.2g} % of the head's nodes lie outside .*'shallow'"):
        simulate(mni_small(), coil, placement, rtol=1e-3)


def test_a_fit_that_cannot_be_checked_where_the_head_is_is_refused():
    """Field only close above the windings: an error of nothing is no error."""
    angle = np.linspace(0, 2 * np.pi, 61)
    ring = np.stack([30 * np.cos(angle), 30 * np.sin(angle), np.zeros(61)], axis=1)
    sheet = coil_fit._Sheet(ring[:-1], 8.0)

    def field(points):
        return coil_fit.wire_field(ring[:-1], ring[1:], points)

    dipoles, points = sheet.dipoles(field), sheet.points_above(4000)
    low = points[sheet.sources.query(points)[0] < 0.9 * coil_fit.HEAD_MM]
    assert len(low) > 100
    with pytest.raises(CoilError, match="cannot be checked"):
        coil_fit._fit(sheet, dipoles, low, field(low), ring, blur_mm=0.0, progress=None)
