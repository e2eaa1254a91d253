"""``efield sham``: what a sham condition leaves of the field."""

import click

from efield.cli.names import COIL, HEAD
from efield.cli.options import (
    coil_option,
    didt_option,
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
  efield sham mni152 --placement result/result.json
  efield sham m2m_ernie --placement pose.txt --tilt 45 --tilt 90 --over two-wings
  efield sham m2m_ernie --placement pose.txt --sham-coil Sham.ccd --spacer 20 --json sham.json
"""


@click.command(epilog=EPILOG, short_help="What is left of the field under sham conditions.")
@click.argument("head", type=HEAD)
@coil_option
@placement_option
@target_option
@radius_option
@click.option("--tilt", type=float, multiple=True, metavar="DEG", help="Tilted coil; may be repeated.")
@click.option(
    "--over",
    type=click.Choice(["one-wing", "two-wings"]),
    default="one-wing",
    show_default=True,
    help="What stays on the scalp when the coil is tilted.",
)
@click.option("--spacer", type=float, multiple=True, metavar="MM", help="Raised coil; may be repeated.")
@click.option(
    "--sham-coil", multiple=True, type=COIL, metavar="C", help="Sham coil in its place; may be repeated."
)
@didt_option
@order_option
@head_options
@tensor_options
@json_facts_option
@talk_options
def sham(
    head,
    coil,
    placement,
    target,
    radius,
    tilt,
    over,
    spacer,
    sham_coil,
    didt,
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
    """Residual field of sham conditions at the target and in grey matter, as a percentage of active.

    HEAD is a built-in head, a mesh file, or an m2m_<subject> folder. Without --tilt, --spacer or --sham-coil:
    the conditions that trials have used (45 and 90 degrees over one and two wings, a 30 mm spacer).
    """
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import simulate_shares
    from efield.model.target_text import parse_target
    from efield.targeting.sham import USUAL_SHAMS, Sham, sham_residuals

    shams = [Sham.tilted(angle, over.replace("-", " ")) for angle in tilt]
    shams += [Sham.spacer(thickness) for thickness in spacer]
    shams += [Sham.other_coil(name) for name in sham_coil]
    wanted, active = parse_target(target, radius), one_placement(placement)
    shams = shams or USUAL_SHAMS
    with stage_progress(quiet, simulate_shares(1 + len(shams), None)) as progress:
        residuals = sham_residuals(
            load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame),
            coil,
            active,
            wanted,
            shams,
            didt=didt,
            element_order=element_order,
            progress=progress,
        )
    facts = [_facts(residual) for residual in residuals]
    text = None if quiet else _table(facts, didt)
    write_facts({"didt": didt, "unit": "V/m", "conditions": facts}, text, json_file)


def _facts(residual):
    return {
        "name": residual.name,
        "mean": residual.mean,
        "mean_percent": residual.mean_percent,
        "peak": residual.peak,
        "peak_percent": residual.peak_percent,
        "matsimnibs": residual.placement.matsimnibs.tolist(),
    }


def _table(facts, didt):
    lines = [f"|E| at {didt:g} A/s: mean over the target; 99.9th percentile of grey matter"]
    for one in facts:
        line = f"  {one['name']:<28}{one['mean']:8.3f} V/m {one['mean_percent']:6.1f} %"
        if one["peak"] is not None:
            line += f"   {one['peak']:8.3f} V/m {one['peak_percent']:6.1f} %"
        lines.append(line)
    return "\n".join(lines)
