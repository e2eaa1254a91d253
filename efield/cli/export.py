"""``efield export``: one file of a result, for another program."""

from functools import partial
from pathlib import Path

import click

from efield.cli.names import PATH
from efield.cli.options import image_option, log_to_stderr, talk_options

EPILOG = """
\b
Formats
  placements   localite localite-lps localite-trigger localite-trigger-lps
               brainsight brainsight14 softaxic ant invesalius navinibs simnibs csv
  field        nii.gz (with --image) gii (with --surface) msh vtu field-csv
  result       json txt npy png geo
  dataset      bids (FILE is a folder; with --subject)

\b
Examples:
  efield export result --format brainsight targets.txt
  efield export result --format nii.gz --image T1.nii.gz efield.nii.gz
  efield export result --surface mid-layer --recovered cortex.gii
  efield export session.xml --format csv session.csv
"""


@click.command(epilog=EPILOG, short_help="Write a result for a navigation system or an image viewer.")
@click.argument("result", type=PATH)
@click.option("--format", "format_name", metavar="F", help="What to write; without it the suffix tells.")
@image_option
@click.option(
    "--surface",
    type=PATH,
    metavar="GII",
    help="GIFTI surface whose vertices a .gii takes, or mid-layer, of the mesh.",
)
@click.option("--quantity", type=click.Choice(["magnE", "E"]), help="Of a NIfTI. [magnE]")
@click.option("--recovered", is_flag=True, default=None, help="Recovered field values, see docs/recovery.md.")
@click.option("--subject", metavar="LABEL", help="Of a BIDS dataset: the label after sub-.")
@talk_options
@click.argument("file", type=PATH)
def export(result, file, format_name, image, surface, quantity, recovered, subject, quiet, verbose):
    """Write RESULT to FILE in another format.

    RESULT is a result folder or its result.json, a field (.msh), or any file of placements that
    simulate reads.
    """
    if verbose:
        log_to_stderr()
    given = {"image": image, "surface": surface, "quantity": quantity, "recovered": recovered}
    options = {name: value for name, value in given.items() if value is not None}
    from efield.cli.progress import stage, stage_progress

    with stage_progress(quiet, {"read": 1.0, "write": 4.0}) as progress:
        with stage(progress, "read"):
            write = _writer(result, file, format_name, subject, options)
        with stage(progress, "write"):
            write()
    if not quiet:
        click.echo(f"Written to {file}")


def _writer(source, file, format_name, subject, options):
    """Read what is to be exported, and give the function that writes it to `file`."""
    from efield.model.session import load_placements, save_placements
    from efield.results.fieldfile import load_field

    path = Path(source)
    if format_name == "bids":
        return _bids_writer(path, file, subject)
    if _is_result(path):
        return _result_writer(path, file, format_name, options)
    if source.lower().endswith((".msh", ".msh.gz")):
        return partial(load_field(source).save, file, format=format_name, **options)
    image = options.get("image")
    return partial(
        save_placements, load_placements(source, image=image), file, format=format_name, image=image
    )


def _is_result(path):
    """Whether a path is a result folder, or the ``result.json`` of one."""
    return path.is_dir() or (path.name == "result.json" and path.is_file())


def _result_writer(path, file, format_name, options):
    from efield.io.fields import FIELD_FORMATS, field_format
    from efield.results.opened import open_result, with_field

    result = open_result(path)
    name = field_format(file, format_name)
    if name in {*FIELD_FORMATS, "field-csv"} - {"csv"}:
        result = with_field(result, path if path.is_dir() else path.parent)
    return partial(result.export, file, format_name, **options)


def _bids_writer(path, folder, subject):
    from efield.io.bids import write_bids
    from efield.model.session import load_placements

    if subject is None:
        raise click.UsageError("--format bids needs --subject")
    session = load_placements(path / "result.json" if path.is_dir() else path)
    return partial(write_bids, folder, session, subject=subject)
