"""``efield simulate``: the field of one placement, or of every placement of a recorded session."""

import time

import click

from efield.cli.names import HEAD, PATH, TARGET
from efield.cli.options import (
    check_outputs,
    coil_option,
    didt_option,
    head_options,
    image_option,
    load_head_from_options,
    log_to_stderr,
    order_option,
    output_options,
    radius_option,
    save_result,
    tensor_options,
    write_json,
)

EPILOG = """
\b
Examples:
  efield simulate mni152 --placement result/result.json --didt 67e6 --out field
  efield simulate head.msh --coil Magstim.ccd --placement pose.txt --target -42,44,30
  efield simulate head.msh --placement TriggerMarkers_Coil1.xml --target -37,-21,58 --out study
"""


@click.command(epilog=EPILOG, short_help="Compute the field of a coil at a placement.")
@click.argument("head", type=HEAD)
@coil_option
@click.option(
    "--placement",
    type=PATH,
    metavar="FILE",
    required=True,
    help="result.json of a run, a 4 x 4 matsimnibs (mm) as .json, .txt, .csv or .npy, or a session of a "
    "navigation system: then --out holds a table, one row a placement.",
)
@click.option(
    "--target",
    type=TARGET,
    metavar="T",
    help="Region of the numbers, as in optimize. Without it: all grey matter.",
)
@radius_option
@didt_option
@image_option
@order_option
@head_options
@tensor_options
@output_options
def simulate(
    head,
    coil,
    placement,
    target,
    radius,
    didt,
    image,
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
    """Solve for the electric field of a coil at a given placement.

    HEAD is a built-in head (mni152, mni152-small) or a mesh file (.msh, .vtu, ...).
    """
    if radius is not None and target is None:
        raise click.UsageError("--radius needs --target")
    check_outputs(out, json_file)
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import simulate_shares
    from efield.cli.summary import session_summary, simulate_summary
    from efield.model.coils import load_coil
    from efield.model.session import load_placements

    start = time.perf_counter()
    session = load_placements(placement, image=image)
    wanted = _wanted(target, radius)
    coil_model = load_coil(coil)
    with stage_progress(quiet, simulate_shares(len(session), out)) as progress:
        head_model = load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame)
        load_time = time.perf_counter() - start
        options = {"didt": didt, "element_order": element_order}
        run = _run if session.format == "pose" else _run_session
        result = run(head_model, coil_model, session, wanted, options, load_time, progress)
        save_result(result, out, progress)
    write_json(result, json_file)
    if not quiet and json_file != "-":
        summary = simulate_summary if session.format == "pose" else session_summary
        click.echo(summary(result, out))


def _wanted(target, radius):
    from efield.model.target_text import parse_target

    return None if target is None else parse_target(target, radius)


def _run(head, coil, session, wanted, options, load_time, progress):
    from efield import forward
    from efield.model.placement import Placement
    from efield.results.simulation import summarise_field
    from efield.search.constraints import clearance_mm

    placement = Placement(session[0].matsimnibs)
    region = _whole(head) if wanted is None else wanted.resolve(head)
    start = time.perf_counter()
    field = forward.simulate(head, coil, placement, progress=progress, **options)
    solve_time = time.perf_counter() - start
    timings = {"load": load_time, "forward": solve_time, "total": load_time + solve_time}
    clearance = clearance_mm(head.scalp, coil, placement.matsimnibs)
    return summarise_field(field, coil, region, timings=timings, clearance_mm=clearance, files=session.files)


def _run_session(head, coil, session, wanted, options, load_time, progress):
    from dataclasses import replace

    from efield.results.session import simulate_session

    region = _whole(head) if wanted is None else wanted.resolve(head)
    result = simulate_session(head, coil, session, region, progress=progress, **options)
    seconds = result.timings["forward"]
    return replace(result, timings={"load": load_time, "forward": seconds, "total": load_time + seconds})


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
