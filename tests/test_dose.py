"""Sham conditions and dose: poses by their geometry, numbers by proportion, limits, refusals."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from small_heads import TARGET_MM, few_dipoles, sphere
from test_cohort import image_of, write_head

import efield
from efield.cli import main
from efield.errors import CoilError, PlacementError
from efield.model.coil import Coil
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.constraints import clearance_mm
from efield.targeting.dose import STIMULATORS, Stimulator, dose_for, motor_dose
from efield.targeting.sham import USUAL_SHAMS, Sham, sham_residuals

TARGET = Target.sphere(TARGET_MM, 8.0)
MOTOR = Target.sphere(TARGET_MM * [1, -1, 1], 8.0)


def over(point):
    return Placement.on_scalp(sphere(), point, yaw_deg=30.0)


@pytest.fixture(scope="module")
def active():
    return over(TARGET_MM)


def mean_field(coil, placement, target, didt=1e6):
    region = target.resolve(sphere().head)
    field = efield.simulate(sphere(), coil, placement, didt=didt)
    return np.average(field.magnitude[region.elements], weights=region.volumes_mm3)


# --- sham


@pytest.mark.parametrize("angle", [45, 90])
@pytest.mark.parametrize(("over_", "kept"), [("one wing", 1), ("two wings", 0)])
def test_a_tilted_coil_turns_about_one_axis_and_clears_the_scalp_as_before(active, angle, over_, kept):
    head, coil = sphere().head, few_dipoles()
    same_coil, tilted = Sham.tilted(angle, over_).apply(head, coil, active)
    assert same_coil is coil
    before, after = active.matsimnibs, tilted.matsimnibs
    np.testing.assert_allclose(after[:3, kept], before[:3, kept], atol=1e-9)
    assert np.degrees(np.arccos(after[:3, 2] @ before[:3, 2])) == pytest.approx(angle)
    lift = after[:3, 3] - before[:3, 3]
    np.testing.assert_allclose(np.cross(lift, before[:3, 2]), 0, atol=1e-9)
    assert lift @ before[:3, 2] < 0
    wanted = clearance_mm(head.scalp, coil, before)
    assert clearance_mm(head.scalp, coil, after) == pytest.approx(wanted, abs=0.01)


def test_a_spacer_raises_the_coil(active):
    _, raised = Sham.spacer(12.0).apply(sphere().head, few_dipoles(), active)
    np.testing.assert_allclose(raised.matsimnibs[:3, :3], active.matsimnibs[:3, :3], atol=1e-12)
    np.testing.assert_allclose(active.center_mm - raised.center_mm, 12 * active.matsimnibs[:3, 2])


def test_residuals_relative_to_the_active_condition(active):
    weak = Coil(few_dipoles().positions_mm, 0.1 * few_dipoles().moments, name="weak")
    shams = (Sham.spacer(15), Sham.tilted(90), Sham.other_coil(weak))
    found = sham_residuals(sphere(), few_dipoles(), active, TARGET, shams, didt=2e6)
    assert [r.name for r in found] == [
        "active",
        "spacer of 15 mm",
        "tilted 90 degrees, one wing",
        "sham coil weak",
    ]
    assert (found[0].mean_percent, found[0].peak_percent) == (100, 100)
    assert found[3].mean_percent == pytest.approx(10)
    assert found[0].mean == pytest.approx(mean_field(few_dipoles(), active, TARGET, 2e6))
    for residual in found[1:3]:
        expected = mean_field(few_dipoles(), residual.placement, TARGET, 2e6)
        assert residual.mean == pytest.approx(expected, rel=1e-6)
        assert residual.mean_percent == pytest.approx(100 * expected / found[0].mean)
        assert residual.mean_percent < 70
    assert len({sham.name for sham in USUAL_SHAMS}) == 5


def test_shams_that_make_no_sense():
    for angle in (0, -45, 91, np.nan):
        with pytest.raises(PlacementError, match="tilt must lie between 0 and 90"):
            Sham.tilted(angle)
    with pytest.raises(PlacementError, match="unknown tilt 'three wings'; valid: one wing, two wings"):
        Sham.tilted(45, "three wings")
    with pytest.raises(PlacementError, match="thickness must be positive"):
        Sham.spacer(0)
    with pytest.raises(CoilError):
        Sham.other_coil("no such coil")


# --- dose

MEASURED = Stimulator("bench", 120e6, 130e6)


def test_percent_by_both_calibrations():
    assert MEASURED.didt(50) == 60e6
    assert MEASURED.didt(50, "displayed") == 65e6
    assert MEASURED.percent(60e6) == 50
    assert MEASURED.percent(65e6, "displayed") == 50
    with pytest.raises(CoilError, match="unknown calibration 'shown'; valid: measured, displayed"):
        MEASURED.didt(50, "shown")
    with pytest.raises(CoilError, match="D70 has no displayed maximum"):
        STIMULATORS["Magstim Rapid D70"].maximum("displayed")
    for percent in (-1, 101, np.nan):
        with pytest.raises(CoilError, match="is no percentage"):
            MEASURED.didt(percent)


def test_the_table_of_stimulators():
    assert STIMULATORS["MagPro X100 MC-B70"].measured_didt == pytest.approx(155.3e6)
    assert STIMULATORS["MagPro X100 Cool-B65"].displayed_didt == pytest.approx(155e6)
    for stimulator in STIMULATORS.values():
        assert "Drakaki" in stimulator.source
        if stimulator.displayed_didt is not None:
            assert -0.045 < stimulator.displayed_didt / stimulator.measured_didt - 1 < 0.1


def test_the_intensity_for_a_wanted_field():
    dose = dose_for(60.0, 1.25, 1e6, MEASURED)
    assert dose.didt == pytest.approx(48e6)
    assert (dose.percent, dose.reachable) == (pytest.approx(40), True)
    beyond = dose_for(200.0, 1.25, 1e6, MEASURED, "displayed")
    assert beyond.percent == pytest.approx(100 * 160 / 130)
    assert not beyond.reachable
    assert dose_for(1.25 * 120, 1.25, 1e6, MEASURED).reachable
    for wrong in ((0, 1, 1e6), (60, np.nan, 1e6), (60, 1, -1e6)):
        with pytest.raises(CoilError, match="must be positive"):
            dose_for(*wrong, MEASURED)
    with pytest.raises(CoilError, match="unknown stimulator 'X'; valid: MagPro X100"):
        dose_for(60, 1.25, 1e6, "X")


def test_the_motor_thresholds_field_at_the_target(active):
    motor = over(TARGET_MM * [1, -1, 1])
    arguments = (sphere(), few_dipoles(), active, TARGET, motor)
    dose = motor_dose(*arguments, 55.0, MEASURED, motor_target=MOTOR, calibration="displayed")
    assert dose.didt == pytest.approx(0.55 * 130e6)
    assert dose.motor_field == pytest.approx(mean_field(few_dipoles(), motor, MOTOR, dose.didt), rel=1e-6)
    assert dose.target_field == pytest.approx(mean_field(few_dipoles(), active, TARGET, dose.didt), rel=1e-6)
    assert dose.equivalent.percent == pytest.approx(55 * dose.motor_field / dose.target_field)
    at_dose = mean_field(few_dipoles(), active, TARGET, dose.equivalent.didt)
    assert at_dose == pytest.approx(dose.motor_field, rel=1e-6)
    with pytest.raises(CoilError, match="unknown stimulator 'X'"):
        motor_dose(*arguments, 55.0, "X", motor_target=MOTOR)
    with pytest.raises(PlacementError, match="must not be 0"):
        motor_dose(*arguments, 0, MEASURED, motor_target=MOTOR)


# --- command line


@pytest.fixture(scope="module")
def pose_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pose") / "pose.txt"
    head = efield.load_head("mni152-small")
    np.savetxt(path, Placement.on_scalp(head, (-50, 50, 60), yaw_deg=45.0).matsimnibs)
    return path


def run(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments], prog_name="efield")
    return result.exit_code, result.output


def facts(*arguments):
    code, output = run(*arguments, "--json", "-")
    assert code == 0, output
    return json.loads(output)


def target_mean(placement, didt=1e6):
    head = efield.load_head("mni152-small")
    region = Target.named("dlpfc-left").resolve(head)
    magnitude = efield.simulate(head, "figure8-70mm", placement, didt=didt).magnitude[region.elements]
    return np.average(magnitude, weights=region.volumes_mm3)


def test_sham_command(pose_file):
    found = facts(
        "sham", "mni152-small", "--placement", pose_file, "--spacer", 20, "--tilt", 90, "--didt", 2e6
    )
    names = [one["name"] for one in found["conditions"]]
    assert names == ["active", "tilted 90 degrees, one wing", "spacer of 20 mm"]
    raised = np.loadtxt(pose_file)
    raised[:3, 3] -= 20 * raised[:3, 2]
    active, _, spacer = found["conditions"]
    assert active["mean"] == pytest.approx(target_mean(Placement(np.loadtxt(pose_file)), 2e6), rel=1e-5)
    assert spacer["mean"] == pytest.approx(target_mean(Placement(raised), 2e6), rel=1e-5)
    assert spacer["mean_percent"] == pytest.approx(100 * spacer["mean"] / active["mean"])
    code, text = run("sham", "mni152-small", "--placement", pose_file)
    assert code == 0 and text.count("V/m") > len(USUAL_SHAMS) and "100.0 %" in text


def test_dose_commands(pose_file):
    device = ("--stimulator", "MagPro X100 MCF-B65")
    assert facts("dose", "convert", *device, "--percent", 50)["didt"] == pytest.approx(0.5 * 147.9e6)
    shown = facts("dose", "convert", *device, "--didt", 75.5e6, "--calibration", "displayed")
    assert shown["percent"] == pytest.approx(50)
    placed = ("mni152-small", "--placement", pose_file)
    needed = facts("dose", "field", *placed, "--wanted", 60, "--max-didt", 100e6)
    assert target_mean(Placement(np.loadtxt(pose_file)), needed["didt"]) == pytest.approx(60, rel=1e-5)
    assert needed["percent"] == pytest.approx(needed["didt"] / 1e6)
    motor = facts("dose", "motor", *placed, "--motor-placement", pose_file, "--threshold", 50, *device)
    assert motor["target_field"] == pytest.approx(
        target_mean(Placement(np.loadtxt(pose_file)), 0.5 * 147.9e6), rel=1e-5
    )
    assert "MagPro X100 MCF-B65" in [one["name"] for one in facts("dose", "stimulators")]


@pytest.mark.parametrize("order", [1, 2])
def test_commands_take_tensors_at_either_order(tmp_path, order):
    write_head(tmp_path / "head.msh", 0, (1, 2, 3, 5))
    head = efield.load_head(tmp_path / "head.msh")
    image = image_of(tmp_path / "dti.nii.gz", [[1.0, 0.6, 0], [0.6, 1.0, 0], [0, 0, 0.4]])
    pose = Placement.on_scalp(head, (-50, 50, 60), yaw_deg=45.0)
    np.savetxt(tmp_path / "pose.txt", pose.matsimnibs)
    region = Target.sphere((-38, 38, 38), 12.0).resolve(head)
    world, fsl = (efield.with_anisotropy(head, image, mapping="dir", frame=name) for name in ("world", "fsl"))

    def mean_of(head, order):
        field = efield.simulate(head, "figure8-70mm", pose, element_order=order)
        return np.average(field.magnitude[region.elements], weights=region.volumes_mm3)

    mean = mean_of(world, order)
    others = (mean_of(fsl, order), mean_of(head, order), mean_of(world, 3 - order))
    assert min(abs(mean / other - 1) for other in others) > 1e-3
    placed = (tmp_path / "head.msh", "--placement", tmp_path / "pose.txt")
    placed += ("--target", "-38,38,38", "--radius", 12)
    placed += ("--dti", image, "--anisotropy", "dir", "--dti-frame", "world", "--element-order", order)
    assert facts("sham", *placed, "--spacer", 20)["conditions"][0]["mean"] == pytest.approx(mean, rel=1e-5)
    needed = facts("dose", "field", *placed, "--wanted", 60, "--max-didt", 100e6)
    assert needed["didt"] == pytest.approx(60e6 / mean, rel=1e-5)
    motor = ("--motor-placement", tmp_path / "pose.txt", "--threshold", 50, "--max-didt", 100e6)
    found = facts("dose", "motor", *placed, "--motor-target", "-38,38,38", *motor)
    assert found["target_field"] == pytest.approx(50 * mean, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dose", "convert", "--percent", 50), "--stimulator or --max-didt"),
        (("dose", "convert", "--max-didt", 1e8), "--percent or --didt"),
        (("dose", "convert", "--stimulator", "X", "--percent", 5), "unknown stimulator"),
        (("dose", "convert", "--max-didt", 1e8, "--percent", 150), "150"),
        (("dose", "convert", "--max-didt", 0, "--didt", 1e6), "must be a positive dI/dt"),
        (("dose", "convert", "--max-didt", "nan", "--percent", 5), "must be a positive dI/dt"),
        (("sham", "mni152-small", "--placement", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_commands_refuse(arguments, message):
    code, output = run(*arguments)
    assert code == 2 and message in output


def test_a_file_of_several_placements_is_refused(tmp_path, active):
    path = tmp_path / "two.csv"
    efield.save_placements([active, active], path, format="csv")
    code, output = run("sham", "mni152-small", "--placement", path)
    assert code == 2 and "holds 2 placements" in output
