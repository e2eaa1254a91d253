"""``efield optimize``: the main job."""

import dataclasses
import time

import click

from efield.cli.options import (
    DEFAULT_HEAD,
    DEFAULT_TARGET,
    Vector,
    check_outputs,
    coil_option,
    didt_option,
    head_options,
    load_head_from_options,
    log_to_stderr,
    output_options,
    radius_option,
    write_outputs,
)

EPILOG = """
\b
Examples:
  efield optimize
  efield optimize --out result
  efield optimize head.msh --coil Magstim.ccd --target -42,44,30 --radius 5
  efield optimize m2m_ernie/ernie.msh --target -38.5,52.1,41 --json - | jq .placement
  efield optimize head.msh --target dlpfc.nii.gz --objective magnitude_of_mean

Yaw is the angle from the projected posterior direction to the coil's +y (its
handle), positive towards the subject's left.
"""


@click.command(epilog=EPILOG, short_help="Find the best placement of a coil for a target.")
@click.argument("head", default=DEFAULT_HEAD, metavar="[HEAD]")
@coil_option
@click.option(
    "--target",
    metavar="T",
    default=DEFAULT_TARGET,
    show_default=True,
    help="A name, x,y,z (mm, subject space), mni:x,y,z, a NIfTI mask, or mni: and a mask.",
)
@radius_option
@click.option("--search-radius", type=float, metavar="MM", help="About the target's scalp point. [25]")
@click.option(
    "--objective",
    metavar="O",
    default="mean_magnitude",
    show_default=True,
    help="mean_magnitude (mean of |E|), magnitude_of_mean (|mean of E|), directional (with --direction), "
    "normal (mean of E along the cortical normal), percentile:Q (of |E|).",
)
@click.option("--direction", type=Vector(), help="Of E wanted in the target, subject space.")
@didt_option
@click.option("--distance", type=float, metavar="MM", help="Coil to scalp: hair, padding. [4]")
@click.option("--n-best", type=click.IntRange(1), default=10, show_default=True, help="Placements to keep.")
@head_options
@output_options
def optimize(
    head,
    coil,
    target,
    radius,
    search_radius,
    objective,
    direction,
    didt,
    distance,
    n_best,
    unit,
    conductivity,
    out,
    json_file,
    quiet,
    verbose,
):
    """Find the placement of a coil that maximises the field in a target.

    HEAD is a built-in head (mni152, mni152-small) or a mesh file (.msh, .vtu, ...). Without
    arguments: the left DLPFC of the built-in head with the built-in 70 mm figure-8 coil.
    """
    check_outputs(out, json_file)
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.summary import optimize_summary
    from efield.model.coils import load_coil
    from efield.model.target_text import parse_target
    from efield.search.candidates import Search
    from efield.search.constraints import Constraints
    from efield.search.optimize import optimize_coil

    wanted = parse_target(target, radius)
    start = time.perf_counter()
    coil_model = load_coil(coil)
    with stage_progress(quiet) as progress:
        if progress is not None:
            progress("load", 0.0)
        head_model = load_head_from_options(head, unit, conductivity)
        load_time = time.perf_counter() - start
        result = optimize_coil(
            head_model,
            coil_model,
            wanted,
            objective=objective,
            direction=direction,
            search=_given(Search, radius_mm=search_radius),
            constraints=_given(Constraints, distance_mm=distance),
            didt=didt,
            n_best=n_best,
            progress=progress,
        )
    result = dataclasses.replace(result, timings=_with_load(result.timings, load_time))
    write_outputs(result, out, json_file)
    if not quiet and json_file != "-":
        click.echo(optimize_summary(result, out))


def _given(kind, **options):
    """`kind` with the options the user gave, its own defaults for the others."""
    return kind(**{name: value for name, value in options.items() if value is not None})


def _with_load(timings, seconds):
    """Timings of a run whose head was loaded here, before it."""
    return {
        **timings,
        "load": timings.get("load", 0.0) + seconds,
        "total": timings["total"] + seconds,
    }
