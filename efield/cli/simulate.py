"""``efield simulate``: the field of one placement."""

import time

import click

from efield.cli.options import (
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
  efield simulate mni152 --placement result/result.json --didt 67e6 --out field
  efield simulate head.msh --coil Magstim.ccd --placement pose.txt --target -42,44,30
"""


@click.command(epilog=EPILOG, short_help="Compute the field of a coil at a placement.")
@click.argument("head")
@coil_option
@click.option(
    "--placement",
    metavar="FILE",
    required=True,
    help="result.json of a run, or a 4 x 4 matsimnibs (mm) as .json, .txt, .csv or .npy.",
)
@click.option(
    "--target",
    metavar="T",
    help="Region of the numbers, as in optimize. Without it: all grey matter.",
)
@radius_option
@didt_option
@head_options
@output_options
def simulate(head, coil, placement, target, radius, didt, unit, conductivity, out, json_file, quiet, verbose):
    """Solve for the electric field of a coil at a given placement.

    HEAD is a built-in head (mni152, mni152-small) or a mesh file (.msh, .vtu, ...).
    """
    if radius is not None and target is None:
        raise click.UsageError("--radius needs --target")
    check_outputs(out, json_file)
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.summary import simulate_summary
    from efield.io.pose import read_pose
    from efield.model.coils import load_coil
    from efield.model.placement import Placement

    start = time.perf_counter()
    pose = Placement(read_pose(placement))
    wanted = _wanted(target, radius)
    coil_model = load_coil(coil)
    with stage_progress(quiet) as progress:
        if progress is not None:
            progress("load", 0.0)
        head_model = load_head_from_options(head, unit, conductivity)
        load_time = time.perf_counter() - start
        result = _run(head_model, coil_model, pose, wanted, didt, load_time, progress)
    write_outputs(result, out, json_file)
    if not quiet and json_file != "-":
        click.echo(simulate_summary(result, out))


def _wanted(target, radius):
    from efield.cli.target import parse_target

    return None if target is None else parse_target(target, radius)


def _run(head, coil, placement, wanted, didt, load_time, progress):
    from efield import forward
    from efield.results.simulation import summarise_field
    from efield.search.constraints import clearance_mm

    region = _whole(head) if wanted is None else wanted.resolve(head)
    start = time.perf_counter()
    field = forward.simulate(head, coil, placement, didt=didt, progress=progress)
    solve_time = time.perf_counter() - start
    timings = {"load": load_time, "forward": solve_time, "total": load_time + solve_time}
    clearance = clearance_mm(head.scalp, coil, placement.matsimnibs)
    return summarise_field(field, coil, region, timings=timings, clearance_mm=clearance)


def _whole(head):
    """All grey matter; the whole head where there is none."""
    import numpy as np

    from efield.model.target import TargetRegion
    from efield.tissues import TISSUE_TAGS

    grey = np.flatnonzero(head.tags == TISSUE_TAGS["grey_matter"])
    name, elements = ("grey matter", grey) if len(grey) else ("whole head", np.arange(len(head.tags)))
    volumes = head.mesh.volumes_mm3[elements]
    centre = volumes @ head.mesh.barycentres_mm[elements] / volumes.sum()
    return TargetRegion(elements, volumes, centre, 0.0, name, head.space)
