"""``efield dose``: dI/dt, percent of a stimulator's output, and the intensity for a wanted field."""

from dataclasses import asdict

import click

from efield.cli.names import HEAD, PATH, TARGET
from efield.cli.options import (
    apply,
    coil_option,
    head_options,
    json_facts_option,
    load_head_from_options,
    log_to_stderr,
    one_placement,
    order_option,
    placement_option,
    radius_option,
    talk_options,
    target_option,
    tensor_options,
    write_facts,
)

EPILOG = """
\b
Examples:
  efield dose stimulators
  efield dose convert --stimulator "MagPro X100 MCF-B65" --percent 60
  efield dose field m2m_ernie --placement result/result.json --wanted 100 --max-didt 150e6
  efield dose motor m2m_ernie --placement result/result.json --motor-placement hotspot.txt --threshold 55 \\
      --stimulator "Magstim Rapid D70"

\b
Displayed and measured maxima of a stimulator differ by up to 10 %: --calibration says which is meant.
"""


@click.group(epilog=EPILOG)
def dose():
    """Convert dI/dt and percent of output; find the intensity for a wanted field."""


stimulator_options = apply(
    click.option(
        "--stimulator", metavar="NAME", help="Device and coil; `efield dose stimulators` lists them."
    ),
    click.option(
        "--max-didt", type=float, metavar="A_PER_S", help="dI/dt at 100 % of a stimulator of yours."
    ),
    click.option(
        "--calibration",
        type=click.Choice(["measured", "displayed"]),
        default="measured",
        show_default=True,
        help="The maximum that percentages refer to.",
    ),
)


@dose.command()
@json_facts_option
def stimulators(json_file):
    """List stimulators with their largest dI/dt, measured and displayed."""
    from efield.targeting.dose import STIMULATORS

    facts = [asdict(one) for one in STIMULATORS.values()]
    lines = [f"{'':<28}measured  displayed  A/us"]
    for one in STIMULATORS.values():
        displayed = "" if one.displayed_didt is None else f"{one.displayed_didt / 1e6:9.1f}"
        lines.append(f"{one.name:<28}{one.measured_didt / 1e6:8.1f}  {displayed}")
    lines.append(f"Source: {next(iter(STIMULATORS.values())).source}")
    write_facts(facts, "\n".join(lines), json_file)


@dose.command()
@stimulator_options
@click.option("--percent", type=float, help="Percent of the maximum output.")
@click.option("--didt", type=float, metavar="A_PER_S", help="dI/dt to state as a percentage.")
@json_facts_option
def convert(stimulator, max_didt, calibration, percent, didt, json_file):
    """dI/dt of a percentage of the output, or the percentage of a dI/dt."""
    if (percent is None) == (didt is None):
        raise click.UsageError("give --percent or --didt")
    device = _stimulator(stimulator, max_didt)
    if didt is None:
        didt = device.didt(percent, calibration)
    else:
        percent = device.percent(didt, calibration)
    facts = {"didt": didt, "percent": percent, "calibration": calibration, "stimulator": device.name}
    reach = "" if percent <= 100 else ": more than the stimulator gives"
    text = f"{didt:.4g} A/s is {percent:.1f} % of the {calibration} maximum of {device.name}{reach}"
    write_facts(facts, text, json_file)


@dose.command()
@click.argument("head", type=HEAD)
@coil_option
@placement_option
@target_option
@radius_option
@click.option("--wanted", type=float, required=True, metavar="V_PER_M", help="Mean |E| in the target.")
@stimulator_options
@order_option
@head_options
@tensor_options
@json_facts_option
@talk_options
def field(
    head,
    coil,
    placement,
    target,
    radius,
    wanted,
    stimulator,
    max_didt,
    calibration,
    element_order,
    unit,
    conductivity,
    dti,
    anisotropy,
    dti_frame,
    json_file,
    quiet,
    verbose,
):
    """The intensity that gives the target a wanted mean |E|."""
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import simulate_shares
    from efield.forward import simulate
    from efield.metrics import weighted_mean
    from efield.model.target_text import parse_target
    from efield.targeting.dose import dose_for

    device = _stimulator(stimulator, max_didt)
    place, named = one_placement(placement), parse_target(target, radius)
    with stage_progress(quiet, simulate_shares(1, None)) as progress:
        model = load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame)
        region = named.resolve(model)
        found = simulate(model, coil, place, element_order=element_order, progress=progress)
    mean = weighted_mean(found.magnitude[region.elements], region.volumes_mm3)
    needed = dose_for(wanted, mean, found.didt, device, calibration)
    write_facts(asdict(needed), None if quiet else _words(needed), json_file)


@dose.command()
@click.argument("head", type=HEAD)
@coil_option
@placement_option
@target_option
@radius_option
@click.option(
    "--motor-placement", type=PATH, metavar="FILE", required=True, help="Placement over the motor hotspot."
)
@click.option(
    "--threshold", type=float, required=True, metavar="PERCENT", help="Resting motor threshold, % of output."
)
@click.option(
    "--motor-target", type=TARGET, metavar="T", default="m1-hand-left", show_default=True, help="As --target."
)
@stimulator_options
@order_option
@head_options
@tensor_options
@json_facts_option
@talk_options
def motor(
    head,
    coil,
    placement,
    target,
    radius,
    motor_placement,
    threshold,
    motor_target,
    stimulator,
    max_didt,
    calibration,
    element_order,
    unit,
    conductivity,
    dti,
    anisotropy,
    dti_frame,
    json_file,
    quiet,
    verbose,
):
    """E at the motor hotspot beside E at the target, and the intensity that makes them equal."""
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import simulate_shares
    from efield.model.target_text import parse_target
    from efield.targeting.dose import motor_dose

    device = _stimulator(stimulator, max_didt)
    with stage_progress(quiet, simulate_shares(2, None)) as progress:
        found = motor_dose(
            load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame),
            coil,
            one_placement(placement),
            parse_target(target, radius),
            one_placement(motor_placement),
            threshold,
            device,
            motor_target=parse_target(motor_target, radius),
            calibration=calibration,
            element_order=element_order,
            progress=progress,
        )
    text = (
        f"At {threshold:g} % ({found.didt:.4g} A/s): mean |E| {found.motor_field:.4g} V/m in {motor_target}, "
        f"{found.target_field:.4g} V/m in {target}.\n{_words(found.equivalent)}"
    )
    write_facts(asdict(found), None if quiet else text, json_file)


def _stimulator(name, max_didt):
    from efield.targeting.dose import Stimulator, known_stimulator

    if (name is None) == (max_didt is None):
        raise click.UsageError("give --stimulator or --max-didt")
    return known_stimulator(name) if max_didt is None else Stimulator("your stimulator", max_didt, max_didt)


def _words(needed):
    reach = "" if needed.reachable else ": more than the stimulator gives"
    return (
        f"{needed.field:.4g} V/m need {needed.didt:.4g} A/s, {needed.percent:.1f} % of the "
        f"{needed.calibration} maximum of {needed.stimulator}{reach}"
    )
