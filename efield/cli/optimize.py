"""``efield optimize``: the main job."""

import dataclasses
import time

import click

from efield.cli.names import HEAD
from efield.cli.options import (
    DEFAULT_HEAD,
    Vector,
    check_outputs,
    coil_option,
    didt_option,
    head_options,
    load_head_from_options,
    log_to_stderr,
    order_option,
    output_options,
    radius_option,
    save_result,
    target_option,
    tensor_options,
    write_json,
)

EPILOG = """
\b
Examples:
  efield optimize
  efield optimize --out result
  efield optimize head.msh --coil Magstim.ccd --target -38.5,52.1,41 --radius 5
  efield optimize m2m_ernie/ernie.msh --target -38.5,52.1,41 --json - | jq .placement
  efield optimize head.msh --target dlpfc.nii.gz --objective magnitude_of_mean
  efield optimize --max-tilt 10 --yaw-range -90,90 --exclude -70,30,10,20
  efield optimize --certify --out result
  efield optimize head.msh --coil MST-Twin.tcd --deform 5   (see efield coil info)

Yaw is the angle from the projected posterior direction to the coil's +y (its
handle), positive towards the subject's left.
"""


@click.command(epilog=EPILOG, short_help="Find the best placement of a coil for a target.")
@click.argument("head", type=HEAD, default=DEFAULT_HEAD, metavar="[HEAD]")
@coil_option
@target_option
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
@click.option(
    "--distance",
    type=float,
    metavar="MM",
    help="Coil to scalp at least: hair, padding; more where the coil would touch. [4]",
)
@click.option("--max-tilt", type=float, metavar="DEG", help="Largest tilt of the coil off the scalp. [0]")
@click.option("--clearance", type=float, metavar="MM", help="Least gap of casing and scalp. [0]")
@click.option(
    "--yaw-range",
    type=Vector("LOW,HIGH"),
    metavar="LOW,HIGH",
    help="Allowed yaw, degrees, from LOW growing to HIGH: -90,90 keeps the handle behind.",
)
@click.option(
    "--exclude",
    type=Vector("x,y,z,r"),
    metavar="X,Y,Z,R",
    multiple=True,
    help="Ball, mm, in which the scalp point under the coil may not lie; may be repeated.",
)
@click.option(
    "--robust",
    type=click.Choice(["neuronavigation", "cap", "robot"]),
    help="Maximise the mean under the placement noise of this way of holding the coil.",
)
@click.option(
    "--certify",
    is_flag=True,
    help="Bound what any tangential placement can reach, to 1 %; takes one to several minutes.",
)
@click.option("--certify-to", type=float, metavar="SHARE", help="The same to another share, such as 0.005.")
@click.option(
    "--error-bar/--no-error-bar",
    default=True,
    help="Estimate the error that the mesh makes; 4 s on the built-in head.  [on]",
)
@click.option(
    "--deform",
    type=click.IntRange(2),
    metavar="N",
    help="Search a coil's movable parts too, N settings of each; every setting is a search of its own.",
)
@click.option("--n-best", type=click.IntRange(1), default=10, show_default=True, help="Placements to keep.")
@order_option
@head_options
@tensor_options
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
    max_tilt,
    clearance,
    yaw_range,
    exclude,
    robust,
    certify,
    certify_to,
    error_bar,
    deform,
    n_best,
    element_order,
    unit,
    conductivity,
    dti,
    anisotropy,
    dti_frame,
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
    from efield.cli.shares import optimize_shares
    from efield.cli.summary import optimize_summary
    from efield.model.coils import load_coil
    from efield.model.target_text import parse_target
    from efield.search.candidates import Search
    from efield.search.constraints import Constraints
    from efield.search.noise import PoseNoise
    from efield.search.optimize import optimize_coil

    wanted = parse_target(target, radius)
    start = time.perf_counter()
    coil_model = load_coil(coil)
    shares = optimize_shares(
        certify=certify or certify_to is not None,
        error_bar=error_bar,
        deform=deform,
        n_parts=len(coil_model.deformations),
        out=out,
    )
    with stage_progress(quiet, shares) as progress:
        head_model = load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame)
        load_time = time.perf_counter() - start
        result = optimize_coil(
            head_model,
            coil_model,
            wanted,
            objective=objective,
            direction=direction,
            search=_given(Search, radius_mm=search_radius),
            constraints=_given(
                Constraints,
                distance_mm=distance,
                min_clearance_mm=clearance,
                max_tilt_deg=max_tilt,
                yaw_range_deg=yaw_range,
                exclude=exclude,
            ),
            robust=None if robust is None else getattr(PoseNoise, robust)(),
            certify=certify if certify_to is None else certify_to,
            error_bar=error_bar,
            deform=deform,
            didt=didt,
            element_order=element_order,
            n_best=n_best,
            progress=progress,
        )
        result = dataclasses.replace(result, timings=_with_load(result.timings, load_time))
        save_result(result, out, progress)
    write_json(result, json_file)
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
