"""From a target to a placement: what the optimum beats, what stops it, what it promises."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_heads import QUICK, RADIUS_MM, TARGET_MM, few_dipoles, mni_small, sphere

from efield.errors import CoilError, EfieldError, MeshError, OutputError, SearchError, TargetError
from efield.forward import known_fields, simulate
from efield.frames import pose_from_yaw, yaw_to_midline
from efield.model.coil import Coil
from efield.model.coils import load_coil
from efield.model.placement import Placement
from efield.model.target import Target
from efield.results.result import OptimizeResult
from efield.search import report, run
from efield.search.candidates import Search, scalp_grid
from efield.search.constraints import Constraints, clearance_mm
from efield.search.maxima import blocks_of_turns
from efield.search.optimize import optimize_coil
from efield.solve.prepared import prepare

COIL = "figure8-70mm"
TARGET = Target.sphere(TARGET_MM, 8.0)
DIRECTION = np.array([1.0, -1.0, 0.5])


def on_sphere(**options):
    return optimize_coil(sphere(), few_dipoles(), TARGET, **{"search": QUICK, **options})


@pytest.fixture(scope="module")
def quick():
    return on_sphere()


@pytest.fixture(scope="module")
def real():
    """On the small built-in head, for an objective that the grid evaluates exactly."""
    search = Search(radius_mm=12.0, spacing_mm=3.0, yaw_step_deg=10.0)
    return optimize_coil(mni_small(), COIL, "dlpfc-left", search=search, objective="magnitude_of_mean")


def grid_pose(result, i, j, distance_mm=4.0):
    table = result.candidates
    centre = table.scalp_mm[i] + distance_mm * table.normals[i]
    return pose_from_yaw(centre, -table.normals[i], table.yaw_deg[j])


def value_of(objective, e_field, head, elements):
    """The objectives, written out."""
    weight = head.mesh.volumes_mm3[elements] / head.mesh.volumes_mm3[elements].sum()
    e_field = e_field[elements]
    if objective == "mean_magnitude":
        return weight @ np.linalg.norm(e_field, axis=1)
    if objective == "magnitude_of_mean":
        return np.linalg.norm(weight @ e_field)
    return weight @ e_field @ DIRECTION / np.linalg.norm(DIRECTION)


def forward_values(prepared, coil, poses, objective, elements):
    fields = simulate(prepared, coil, poses)
    return np.array([value_of(objective, f.E, prepared.head, elements) for f in fields])


# --- the optimum


def test_optimum_beats_the_grid_by_forward_solutions(real):
    """The sixteen best of the grid and sixteen others, all by the forward model."""
    values = np.where(real.candidates.feasible, real.candidates.values, -np.inf)
    order = np.argsort(values.ravel())[::-1]
    chosen = np.concatenate([order[:16], np.random.default_rng(1).choice(order[16:], 16, replace=False)])
    where = np.unravel_index(chosen, values.shape)
    poses = [grid_pose(real, i, j) for i, j in zip(*where, strict=True)]
    elements = Target.named("dlpfc-left").resolve(mni_small().head).elements
    forward = forward_values(mni_small(), COIL, poses, "magnitude_of_mean", elements)
    assert real.objective.value > forward.max()
    np.testing.assert_allclose(values[where], forward, atol=1e-3 * forward.max())


def test_check_is_small_and_independent(real):
    assert real.check.relative_difference < 1e-6 < real.check.warn_above
    assert real.check.forward_value == real.objective.value
    elements = Target.named("dlpfc-left").resolve(mni_small().head).elements
    again = forward_values(mni_small(), COIL, [real.placement], "magnitude_of_mean", elements)
    assert real.objective.value == pytest.approx(again[0], rel=1e-6)
    assert real.warnings == ()


def test_optimum_lies_on_the_scalp_at_its_distance(real):
    info = real.placement_info
    assert info["distance_mm"] == pytest.approx(4.0, abs=1e-6)
    assert np.linalg.norm(np.subtract(info["scalp_mm"], real.search["center_mm"])) <= real.search["radius_mm"]
    assert mni_small().head.scalp.closest(np.array(info["scalp_mm"]))[1][0] < 1e-6
    nearest = mni_small().head.scalp.closest(np.array([-42.0, 44, 30]))[0][0]
    np.testing.assert_allclose(real.search["center_mm"], nearest, atol=1e-9)


def test_search_value_is_close_to_the_forward_value(real):
    for best in real.best:
        assert best.search_value == pytest.approx(best.value, rel=1e-3)


@pytest.mark.parametrize("objective", ["mean_magnitude", "magnitude_of_mean", "directional"])
def test_objectives(objective):
    direction = DIRECTION if objective == "directional" else None
    result = on_sphere(objective=objective, direction=direction)
    elements = TARGET.resolve(sphere().head).elements
    assert result.objective.name == objective
    assert result.objective.unit == "V/m"
    expected = value_of(objective, result.field.E, sphere().head, elements)
    assert result.objective.value == pytest.approx(expected, rel=1e-9)
    values = np.where(result.candidates.feasible, result.candidates.values, -np.inf)
    order = np.argsort(values.ravel())[::-1][:16]
    poses = [grid_pose(result, *np.unravel_index(k, values.shape)) for k in order]
    forward = forward_values(sphere(), few_dipoles(), poses, objective, elements)
    assert result.objective.value >= forward.max() * (1 - 1e-9)


def test_best_placements_are_distinct_and_ranked():
    result = on_sphere(n_best=4)
    assert len(result.best) == 4
    values = [best.value for best in result.best]
    assert values[0] == result.objective.value
    assert all(a >= b * (1 - 1e-5) for a, b in itertools.pairwise(values))
    np.testing.assert_array_equal(result.best[0].placement.matsimnibs, result.placement.matsimnibs)
    for k, best in enumerate(result.best):
        for other in result.best[:k]:
            a, b = best.placement, other.placement
            assert np.linalg.norm(a.center_mm - b.center_mm) > 2 or a.ydir @ b.ydir < np.cos(np.radians(7.5))


def test_without_refinement_the_optimum_is_on_the_grid(quick):
    result = on_sphere(search=dataclasses.replace(QUICK, refine=False))
    table = result.candidates
    info = result.placement_info
    assert np.linalg.norm(table.scalp_mm - info["scalp_mm"], axis=1).min() < 1e-6
    assert np.abs(table.yaw_deg - info["yaw_to_midline_deg"]).min() < 1e-6
    assert result.search["refined_gain"] == 0
    assert quick.objective.value >= result.objective.value
    assert quick.search["refined_gain"] > 0


def test_field_of_the_optimum(quick):
    again = simulate(sphere(), few_dipoles(), quick.placement)
    np.testing.assert_allclose(quick.field.E, again.E, atol=1e-5 * again.magnitude.max())
    np.testing.assert_array_equal(quick.field.placement.matsimnibs, quick.placement.matsimnibs)


def test_values_scale_with_didt(quick):
    result = on_sphere(didt=67e6)
    assert result.didt == 67e6
    assert result.objective.value == pytest.approx(67 * quick.objective.value, rel=1e-6)
    np.testing.assert_allclose(result.placement.matsimnibs, quick.placement.matsimnibs, atol=1e-3)
    np.testing.assert_allclose(result.candidates.values, 67 * quick.candidates.values, rtol=1e-6)


def test_reversed_current_turns_a_directional_optimum():
    ahead, back = (on_sphere(objective="directional", direction=DIRECTION, didt=d) for d in (1e6, -1e6))
    assert back.objective.value == pytest.approx(ahead.objective.value, rel=1e-5)
    assert ahead.placement.ydir @ back.placement.ydir == pytest.approx(-1, abs=1e-3)


def test_larger_target_of_indices():
    head = sphere().head
    elements = Target.sphere(TARGET_MM, 15.0).resolve(head).elements
    result = optimize_coil(sphere(), few_dipoles(), Target.elements(elements), search=QUICK, verify=False)
    assert result.target["n_elements"] == len(elements)
    assert result.objective.value == pytest.approx(value_of("mean_magnitude", result.field.E, head, elements))


# --- ties


@pytest.mark.parametrize("n_best", [1, 10])
def test_of_two_half_turns_the_posterior_handle_wins(quick, n_best):
    """The built-in coil is the same turned by 180 degrees but for the sign of E."""
    result = quick if n_best == 10 else on_sphere(n_best=n_best)
    yaw = result.placement_info["yaw_to_midline_deg"]
    assert abs(yaw) <= 90
    assert len(result.best) == n_best
    turned = result.placement.matsimnibs.copy()
    turned[:3, :2] *= -1
    other = simulate(sphere(), few_dipoles(), Placement(turned))
    elements = TARGET.resolve(sphere().head).elements
    tied = value_of("mean_magnitude", other.E, sphere().head, elements)
    assert tied == pytest.approx(result.objective.value, rel=1e-5)


def test_half_turns_come_last():
    placements = []
    for x, yaw in ((0, 10), (0, 190), (20, 10), (0, 100), (20, -170), (40, 190), (0.5, 190)):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("z", yaw, degrees=True).as_matrix()
        pose[0, 3] = x
        placements.append(Placement(pose))
    blocks = [rows.tolist() for rows in blocks_of_turns(placements, 3)]
    assert blocks == [[0, 2, 3], [5, 6], [1, 4]]


def test_every_value_is_that_of_its_own_placement(monkeypatch):
    """Judged in several blocks, not in the order of the result; half turns are not solved."""
    prepared, known = prepare(sphere().head, element_order=2), []

    def counted(*arguments):
        known.append(known_fields(*arguments))
        return known[-1]

    monkeypatch.setattr(run, "known_fields", counted)
    result = optimize_coil(prepared, few_dipoles(), TARGET, search=QUICK, n_best=10, error_bar=False)
    assert known[0] is None and any(batch is not None for batch in known)
    fields = simulate(prepared, few_dipoles(), [one.placement for one in result.best])
    elements = TARGET.resolve(prepared.head).elements
    for one, field in zip(result.best, fields, strict=True):
        value = value_of("mean_magnitude", field.E, prepared.head, elements)
        assert one.value == pytest.approx(value, rel=2e-6)


# --- the same again


def test_two_runs_are_byte_equal(real, monkeypatch):
    monkeypatch.setenv("EFIELD_NUM_THREADS", "1")
    search = Search(radius_mm=12.0, spacing_mm=3.0, yaw_step_deg=10.0)
    again = optimize_coil(
        mni_small().head,
        load_coil(COIL),
        Target.named("dlpfc-left"),
        search=search,
        objective="magnitude_of_mean",
    )
    assert again.to_json(volatile=False) == real.to_json(volatile=False)
    np.testing.assert_array_equal(again.candidates.values, real.candidates.values)
    np.testing.assert_array_equal(again.field.E, real.field.E)


def test_any_number_of_threads_gives_the_same_bytes(quick, monkeypatch):
    monkeypatch.setenv("EFIELD_NUM_THREADS", "5")
    assert on_sphere().to_json(volatile=False) == quick.to_json(volatile=False)


# --- the edge of the search


def beside(point, mm):
    """A point of the sphere about `mm` from another."""
    aside = np.cross(point, [0, 0, 1.0])
    moved = point + mm * aside / np.linalg.norm(aside)
    return tuple(RADIUS_MM * moved / np.linalg.norm(moved))


def test_an_optimum_beyond_the_edge_is_searched_once_more_then_warned_of():
    result = on_sphere(search=dataclasses.replace(QUICK, center_mm=beside(TARGET_MM, 30)))
    assert result.search["radius_mm"] == 1.5 * QUICK.radius_mm
    (warning,) = [w for w in result.warnings if w.code == "edge_of_search"]
    assert "extended once" in warning.message and "12 mm" in warning.message
    assert json.loads(result.to_json())["warnings"][0]["code"] == "edge_of_search"
    scalp = np.array(result.placement_info["scalp_mm"])
    assert np.linalg.norm(scalp - result.search["center_mm"]) <= result.search["radius_mm"] + 1e-6


def test_an_optimum_that_the_extension_reaches_is_no_warning(quick):
    centre = beside(np.array(quick.placement_info["scalp_mm"]), 7.5)
    search = Search(radius_mm=8.0, spacing_mm=2.0, yaw_step_deg=10.0, center_mm=centre)
    result = on_sphere(search=search)
    assert result.search["radius_mm"] == 12.0
    assert result.warnings == ()
    assert result.objective.value == pytest.approx(quick.objective.value, rel=1e-3)


def test_a_search_in_the_wrong_place_still_ends():
    result = on_sphere(search=dataclasses.replace(QUICK, center_mm=(0, 0, -85)))
    assert "edge_of_search" in [w.code for w in result.warnings]
    assert result.objective.value > 0


# --- constraints


@pytest.mark.parametrize("sector", [(100.0, 140.0), (160.0, -150.0)])
def test_yaw_sector(sector):
    low, high = sector
    result = on_sphere(constraints=Constraints(yaw_range_deg=sector))
    for best in result.best:
        assert (best.info["yaw_to_midline_deg"] - low) % 360 <= (high - low) % 360 + 1e-6
    allowed = (result.candidates.yaw_deg - low) % 360 <= (high - low) % 360 + 1e-9
    assert not result.candidates.feasible[:, ~allowed].any()
    assert np.isnan(result.candidates.values[:, ~allowed]).all()


def test_clearance_holds():
    clearance = 9.0
    constraints = Constraints(distance_mm=12.0, min_clearance_mm=clearance)
    result = optimize_coil(sphere(), COIL, TARGET, search=QUICK, constraints=constraints)
    coil, scalp = load_coil(COIL), sphere().head.scalp
    for best in result.best:
        assert clearance_mm(scalp, coil, best.placement.matsimnibs) >= clearance
    assert result.metrics["clearance_mm"] == clearance_mm(scalp, coil, result.placement.matsimnibs)
    assert result.placement_info["distance_mm"] == pytest.approx(12.0, abs=1e-6)


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        (Constraints(min_clearance_mm=90.0), "keeps 90 mm off the scalp, even with the coil lifted by 60 mm"),
        (Constraints(yaw_range_deg=(1.0, 2.0)), r"x 0 of 36 yaw angles \(yaw_range_deg=\(1.0, 2.0\)\)"),
    ],
)
def test_constraints_that_nothing_satisfies(constraints, words):
    with pytest.raises(SearchError, match=words):
        on_sphere(constraints=constraints)


def test_a_coil_whose_windings_would_enter_the_head():
    coil = Coil([[0.0, 0, 15], [0, 10, 15]], 1e-4 * np.eye(3)[:2], name="inside out")
    result = optimize_coil(sphere(), coil, TARGET, search=QUICK)  # lifted until they lie outside
    assert result.metrics["clearance_mm"] > 0
    assert result.placement_info["distance_mm"] > 15


@pytest.mark.parametrize(
    "options",
    [
        {"distance_mm": -1},
        {"distance_mm": np.nan},
        {"min_clearance_mm": -0.1},
        {"max_tilt_deg": -5.0},
        {"max_tilt_deg": 50.0},
        {"exclude": ((1.0, 2.0, 3.0),)},
        {"exclude": ((1.0, 2.0, 3.0, 0.0),)},
        {"exclude": (1.0, 2.0, 3.0, 4.0)},
        {"min_clearance_mm": np.inf},
        {"yaw_range_deg": (1,)},
        {"yaw_range_deg": (0, np.nan)},
    ],
)
def test_unusable_constraints(options):
    with pytest.raises(SearchError, match=next(iter(options))):
        Constraints(**options)


# --- the grid


@pytest.mark.parametrize(
    "options",
    [
        {"radius_mm": 0},
        {"radius_mm": np.inf},
        {"spacing_mm": -2},
        {"yaw_step_deg": np.nan},
        {"yaw_step_deg": 7},
        {"center_mm": (1, 2)},
        {"center_mm": (1, 2, np.nan)},
    ],
)
def test_unusable_searches(options):
    with pytest.raises(SearchError, match=next(iter(options))):
        Search(**options)


@pytest.mark.parametrize("step", [1, 2.5, 30, 120, 360])
def test_yaw_angles_go_round_once(step):
    yaw = Search(yaw_step_deg=step).yaw_deg
    assert len(yaw) == round(360 / step)
    assert yaw[-1] == 180 and yaw[0] > -180
    np.testing.assert_allclose(np.diff(yaw), step)


def test_grid_over_a_head():
    scalp = mni_small().head.scalp
    grid = scalp_grid(scalp, np.array([-42.0, 44, 30]), 25.0, 2.0)
    np.testing.assert_allclose(grid.center_mm, scalp.closest(np.array([-42.0, 44, 30]))[0][0])
    np.testing.assert_allclose(scalp.closest(grid.points_mm)[1], 0, atol=1e-9)
    assert np.linalg.norm(grid.points_mm - grid.center_mm, axis=1).max() <= 25
    apart = np.linalg.norm(grid.points_mm[:, None] - grid.points_mm, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= 2 - 1e-9
    assert np.median(apart.min(axis=1)) < 2.2
    assert 0.8 * np.pi * 25**2 / 4 < len(grid.points_mm) < np.pi * 25**2 / 4
    poses = grid.base_poses(6.0)
    for pose, point, normal in zip(poses[::40], grid.points_mm[::40], grid.normals[::40], strict=True):
        expected = pose_from_yaw(point + 6 * normal, -normal, 0.0)
        np.testing.assert_allclose(pose, expected, atol=1e-12)
        assert yaw_to_midline(pose) == pytest.approx(0, abs=1e-9)


def test_candidate_table(quick):
    table = quick.candidates
    assert table.values.shape == table.feasible.shape == (len(table.scalp_mm), len(table.yaw_deg))
    assert quick.search["n_positions"] == len(table.scalp_mm)
    assert quick.search["n_yaw"] == 36
    assert quick.search["n_placements"] == table.feasible.sum()
    assert quick.search["grid_best"] == np.nanmax(table.values)
    np.testing.assert_array_equal(np.isnan(table.values), ~table.feasible)


# --- plain input


def test_plain_strings_and_a_point():
    search = Search(radius_mm=15.0, spacing_mm=7.0, yaw_step_deg=30.0, refine=False)
    result = optimize_coil("mni152-small", COIL, (-42, 44, 30), search=search)
    region = Target.named("dlpfc-left").resolve(mni_small().head)
    assert result.target["n_elements"] == len(region.elements)
    assert result.provenance["head"] == "mni152-small"
    assert result.provenance["coil_sha256"] == load_coil(COIL).sha256
    assert result.objective.value > 1


def test_a_result_is_saved_where_asked(tmp_path):
    result = on_sphere(out_dir=tmp_path / "new" / "result")
    read = OptimizeResult.load(tmp_path / "new" / "result")
    assert read.to_json() == result.to_json()
    np.testing.assert_array_equal(read.candidates.values, result.candidates.values)


def test_not_verified():
    result = on_sphere(verify=False)
    assert result.check is None
    assert json.loads(result.to_json())["check"] is None


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("mni153", COIL, "dlpfc-left"), {}, MeshError, "built-in heads are mni152, mni152-small"),
        (("mni152-small", "figure9", "dlpfc-left"), {}, CoilError, "figure9.*figure8-70mm"),
        (("mni152-small", COIL, "dlpfc"), {}, TargetError, "unknown target 'dlpfc'; valid: dlpfc-left"),
        (("mni152-small", COIL, (0, 0)), {}, TargetError, "three finite coordinates"),
        (
            ("mni152-small", COIL, "dlpfc-left"),
            {"objective": "mean"},
            SearchError,
            "unknown objective 'mean'; valid: mean_magnitude, magnitude_of_mean, directional",
        ),
        (
            ("mni152-small", COIL, "dlpfc-left"),
            {"objective": "directional"},
            SearchError,
            r"needs direction=\(x, y, z\), not None",
        ),
        (
            ("mni152-small", COIL, "dlpfc-left"),
            {"objective": "directional", "direction": (0, 0, 0)},
            SearchError,
            "needs direction",
        ),
        (
            ("mni152-small", COIL, "dlpfc-left"),
            {"direction": (1, 0, 0)},
            SearchError,
            "direction is for objective 'directional', not 'mean_magnitude'",
        ),
        (("mni152-small", COIL, "dlpfc-left"), {"didt": 0}, SearchError, "didt must not be 0"),
        (("mni152-small", COIL, "dlpfc-left"), {"didt": np.nan}, EfieldError, "didt must be a finite"),
        (("mni152-small", COIL, "dlpfc-left"), {"n_best": 0}, SearchError, "n_best must be"),
        (("mni152-small", COIL, "dlpfc-left"), {"n_best": 2.5}, SearchError, "n_best must be"),
        (("mni152-small", COIL, "dlpfc-left"), {"n_best": "x"}, SearchError, "n_best must be"),
        (("mni152-small", COIL, "dlpfc-left"), {"avoid": ["eyes"]}, SearchError, "avoid takes efield.Avoid"),
        (("mni152-small", COIL, "dlpfc-left"), {"robust": 1}, SearchError, "robust must be a PoseNoise"),
        (
            ("mni152-small", COIL, "dlpfc-left"),
            {"objective": "directional", "direction": "x"},
            SearchError,
            "needs direction",
        ),
        (("mni152-small", COIL, "dlpfc-left"), {"element_order": 3}, EfieldError, "element_order=3"),
    ],
)
def test_unusable_input(arguments, options, error, words):
    with pytest.raises(error, match=words):
        optimize_coil(*arguments, **options)


@pytest.mark.parametrize("make", ["file", "below a file"])
def test_unusable_output_is_refused_before_anything_else(tmp_path, make):
    file = tmp_path / "result"
    file.write_text("in the way")
    with pytest.raises(OutputError, match="result"):
        optimize_coil("no head", "no coil", "no target", out_dir=file if make == "file" else file / "deeper")
    assert file.read_text() == "in the way"


# --- progress


class Cancelled(Exception):
    pass


def test_progress_is_reported(tmp_path):
    calls = []
    on_sphere(progress=lambda stage, fraction: calls.append((stage, fraction)))
    stages = list(dict.fromkeys(stage for stage, _ in calls))
    assert stages == [
        "load",
        "setup",
        "adjoint",
        "places",
        "exterior",
        "search",
        "modes",
        "refine",
        "check",
        "discretization",
        "robustness",
    ]
    assert all(0 <= fraction <= 1 for _, fraction in calls)
    for stage in stages:
        fractions = [fraction for s, fraction in calls if s == stage]
        assert fractions[0] == 0 and fractions[-1] == 1
        assert fractions == sorted(fractions)


@pytest.mark.parametrize("at", [("load", 0), ("search", 0), ("check", 1)])
def test_progress_may_cancel_and_nothing_is_written(tmp_path, at):
    def progress(stage, fraction):
        if (stage, fraction) == at:
            raise Cancelled

    with pytest.raises(Cancelled):
        on_sphere(progress=progress, out_dir=tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_or_written_unless_asked(quick, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    on_sphere()
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("yaw_error", "said"), [(1e-5, "were summed directly"), (1e-2, "carry the model's error")]
)
def test_a_distrusted_exterior_model_says_where_the_grid_comes_from(yaw_error, said):
    """Both warnings at once: without a yaw expansion nothing is summed directly."""
    found = SimpleNamespace(
        yaw_error=yaw_error,
        model=SimpleNamespace(error=1e-2, error_height_mm=3.0),
        operator=None,
        on_edge=False,
    )
    found.grid_source = run.Found.grid_source.fget(found)
    elements = np.arange(3)
    of_target = SimpleNamespace(
        head=sphere().head,
        region=SimpleNamespace(moved_mm=0.0, elements=elements),
        volumes=np.ones(3),
        coil=few_dipoles(),
        keeps=lambda off: True,
    )
    centre = sphere().head.mesh.barycentres_mm[elements].mean(axis=0)
    pose = np.eye(4)
    pose[:3, 3] = centre
    best = SimpleNamespace(info={}, placement=Placement(pose))
    messages = {w.code: w.message for w in report._warnings(of_target, found, best, None, {})}
    assert said in messages["exterior_error"]
    assert ("exact_path" in messages) == (yaw_error > 1e-3)
