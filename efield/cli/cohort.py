"""``efield cohort``: one study over many subjects."""

import click

from efield.cli import exits
from efield.cli.names import PATH, TARGET
from efield.cli.options import (
    DEFAULT_TARGET,
    check_outputs,
    coil_option,
    didt_option,
    head_options,
    log_to_stderr,
    mapping_options,
    order_option,
    radius_option,
    talk_options,
)

EPILOG = """
\b
Examples:
  efield cohort heads.csv --out study
  efield cohort charm_folders --study compare --out study --workers 4 --memory 6GB
  efield cohort heads.tsv --study compare --methods beam-f3,5.5cm,optimised --out study
  efield cohort charm_folders --dti charm_folders/m2m_{subject}/DTI_coregT1_tensor.nii.gz --out study
  efield cohort heads.csv --out study --scheduler tcp://node1:8786
  efield cohort heads.csv --out study --slurm --workers 20 --threads 8 --memory 16GB

\b
Columns of the table: subject, head; where subjects differ dti, coil, target, distance_mm; for optimize
direction; for compare hotspot, landmarks, map, map_mask, lowest. The same command again goes on where
it stopped.
"""


@click.command(epilog=EPILOG, short_help="Optimize or compare over many subjects, resumed where it stopped.")
@click.argument("subjects", type=PATH)
@click.option(
    "--out", type=PATH, metavar="DIR", required=True, help="One table, and one result folder a subject."
)
@click.option("--study", type=click.Choice(["optimize", "compare"]), default="optimize", show_default=True)
@coil_option
@click.option(
    "--target",
    type=TARGET,
    metavar="T",
    default=DEFAULT_TARGET,
    show_default=True,
    help="Of those without their own.",
)
@radius_option
@click.option("--search-radius", type=float, metavar="MM", help="About the target's scalp point.")
@click.option("--objective", metavar="O", help="Of optimize. [mean_magnitude]")
@click.option("--methods", metavar="A,B,C", help="Of compare. [all]")
@didt_option
@click.option("--distance", type=float, metavar="MM", help="Coil to scalp. [4]")
@order_option
@head_options
@click.option(
    "--dti",
    type=PATH,
    metavar="NIFTI",
    help="Diffusion tensors, {subject} for its name, of those without their own.",
)
@mapping_options
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes or SLURM jobs. [as fit]")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Of each worker. [cores / workers]")
@click.option("--memory", default="4GB", show_default=True, help="That each worker may use.")
@click.option("--scheduler", metavar="ADDRESS", help="Of a running Dask scheduler.")
@click.option("--slurm", is_flag=True, help="Submit the workers to SLURM (dask-jobqueue's configuration).")
@click.option("--recompute", is_flag=True, help="Run subjects of other inputs or settings again.")
@click.option(
    "--json", "json_file", type=PATH, metavar="FILE", help="Write the result's JSON; - is stdout, alone."
)
@talk_options
@click.pass_context
def cohort(ctx, subjects, out, study, target, radius, json_file, quiet, verbose, **options):
    """Run optimize or compare for every subject.

    SUBJECTS is a table (.csv, .tsv) with the columns subject and head, or a folder of m2m_<subject>.
    A subject that fails is named, and the others are done; the exit code is 1 then.
    """
    check_outputs(out, json_file)
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cohort.run import run_cohort
    from efield.model.target_text import parse_target

    wanted = target if radius is None else parse_target(target, radius)
    crew = {key: options[key] for key in ("workers", "threads", "memory", "scheduler", "slurm", "recompute")}
    with stage_progress(quiet, {"subjects": 1.0}) as progress:
        result = run_cohort(
            subjects,
            out,
            study,
            coil=options["coil"],
            target=wanted,
            unit=options["unit"],
            conductivity=dict(options["conductivity"]) or None,
            dti=options["dti"],
            anisotropy=options["anisotropy"] or "vn",
            dti_frame=options["dti_frame"] or "fsl",
            progress=progress,
            **crew,
            **_settings(study, options),
        )
    if json_file == "-":
        click.echo(result.to_json(), nl=False)
    elif json_file is not None:
        result.export(json_file, format="json")
    if not quiet and json_file != "-":
        click.echo(_summary(result, out))
    if result.failed:
        raise exits.Failure(_failures(result), exits.FAILURE)


def _settings(study, options):
    """What the options say of the study, under the names that its function has."""
    from efield.search.candidates import Search
    from efield.search.constraints import Constraints

    other = {"optimize": "methods", "compare": "objective"}[study]
    if options[other] is not None:
        raise click.UsageError(f"--{other} is not of --study {study}")
    settings = {"didt": options["didt"], "element_order": options["element_order"]}
    if options["search_radius"] is not None:
        settings["search"] = Search(radius_mm=options["search_radius"])
    if options["objective"] is not None:
        settings["objective"] = options["objective"]
    if options["methods"] is not None:
        settings["methods"] = [name.strip() for name in options["methods"].split(",")]
    if options["distance"] is not None and study == "optimize":
        settings["constraints"] = Constraints(distance_mm=options["distance"])
    elif options["distance"] is not None:
        settings["distance_mm"] = options["distance"]
    return settings


def _summary(result, out):
    lines = [f"{len(result.subjects) - len(result.failed)} of {len(result.subjects)} subjects done"]
    if result.reused:
        lines[0] += f", {len(result.reused)} of them in an earlier run"
    for one in result.statistics:
        if one["n"] > 1:
            lines.append(
                f"{one['method']:<24}n {one['n']:<4}{one['percent_mean']:6.1f} % of the optimum "
                f"[{one['percent_low']:.1f}, {one['percent_high']:.1f}]"
            )
    return "\n".join([*lines, f"Written to {out}"])


def _failures(result):
    names = ", ".join(result.failed)
    reasons = [f"  {one['subject']}: {one['error']}" for one in result.subjects if one["status"] == "failed"]
    return "\n".join([f"{len(result.failed)} of {len(result.subjects)} subjects failed: {names}", *reasons])
