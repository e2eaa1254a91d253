"""``efield export``: one file of a result, for another program."""

from pathlib import Path

import click

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
@click.argument("result")
@click.option("--format", "format_name", metavar="F", help="What to write; without it the suffix tells.")
@image_option
@click.option(
    "--surface",
    metavar="GII",
    help="GIFTI surface whose vertices a .gii takes, or mid-layer, of the mesh.",
)
@click.option("--quantity", type=click.Choice(["magnE", "E"]), help="Of a NIfTI. [magnE]")
@click.option("--recovered", is_flag=True, default=None, help="Recovered field values, see docs/recovery.md.")
@click.option("--subject", metavar="LABEL", help="Of a BIDS dataset: the label after sub-.")
@talk_options
@click.argument("file")
def export(result, file, format_name, image, surface, quantity, recovered, subject, quiet, verbose):
    """Write RESULT to FILE in another format.

    RESULT is a result folder or its result.json, a field (.msh), or any file of placements that
    simulate reads.
    """
    if verbose:
        log_to_stderr()
    given = {"image": image, "surface": surface, "quantity": quantity, "recovered": recovered}
    options = {name: value for name, value in given.items() if value is not None}
    from efield.cli.progress import working

    with working("export", quiet):
        if format_name == "bids":
            _export_bids(result, file, subject)
        elif _is_result(Path(result)):
            _export_result(Path(result), file, format_name, options)
        elif result.lower().endswith((".msh", ".msh.gz")):
            from efield.results.fieldfile import load_field

            load_field(result).save(file, format=format_name, **options)
        else:
            from efield.model.session import load_placements, save_placements

            save_placements(load_placements(result, image=image), file, format=format_name, image=image)
    if not quiet:
        click.echo(f"Written to {file}")


def _is_result(path):
    """Whether a path is a result folder, or the ``result.json`` of one."""
    return path.is_dir() or (path.name == "result.json" and path.is_file())


def _export_result(path, file, format_name, options):
    from efield.io.fields import FIELD_FORMATS, field_format
    from efield.results.opened import open_result, with_field

    result = open_result(path)
    name = field_format(file, format_name)
    if name in {*FIELD_FORMATS, "field-csv"} - {"csv"}:
        result = with_field(result, path if path.is_dir() else path.parent)
    result.export(file, format_name, **options)


def _export_bids(result, folder, subject):
    from efield.io.bids import write_bids
    from efield.model.session import load_placements

    if subject is None:
        raise click.UsageError("--format bids needs --subject")
    path = Path(result)
    session = load_placements(path / "result.json" if path.is_dir() else path)
    write_bids(folder, session, subject=subject)
