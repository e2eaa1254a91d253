"""``efield report`` and ``efield figures``: a result to look at, and pictures for papers."""

from pathlib import Path

import click

from efield.cli.names import PATH
from efield.cli.options import check_outputs, log_to_stderr, talk_options

REPORT_EPILOG = """
\b
Examples:
  efield optimize --out result && efield report result
  efield report result --out dlpfc.html
  efield report result --landmarks m2m_ernie/eeg_positions/Fiducials.csv
  efield compare --out result && efield report result     with the comparison in it

\b
Needs pip install 'efield[report]'.
"""


@click.command(epilog=REPORT_EPILOG, short_help="Write one HTML file with everything about a result.")
@click.argument("result", type=PATH)
@click.option("--out", type=PATH, metavar="FILE", help="The report. [RESULT/report.html]")
@click.option(
    "--landmarks", type=PATH, metavar="CSV", help="EEG positions with Nz, Iz, LPA, RPA, in subject space."
)
@talk_options
def report(result, out, landmarks, quiet, verbose):
    """Write a report: the head in 3D, the pose, how sure it is, and where it comes from.

    RESULT is the folder that optimize, simulate or compare wrote. The report is one file that opens in any
    browser, without network.
    """
    if verbose:
        log_to_stderr()
    path = _beside(result, "report.html") if out is None else Path(out)
    check_outputs(None, path)
    from efield.cli.progress import stage_progress
    from efield.report import write_report
    from efield.scalp.fiducials import read_fiducials

    marks = None if landmarks is None else read_fiducials(landmarks)
    with stage_progress(quiet, {"read": 1.2, "draw": 3.0}) as progress:
        write_report(result, path, fiducials=marks, progress=progress)
    if not quiet:
        click.echo(f"Written to {path}")


FIGURES_EPILOG = """
\b
Examples:
  efield figures result --out figures
  efield figures study --out figures --format svg

\b
optimize  scalp, slices, yaw, distance, tolerance     simulate  slices
compare   comparison                                  cohort    cohort
"""


@click.command(epilog=FIGURES_EPILOG, short_help="Draw a result for a paper, as PDF, SVG or PNG.")
@click.argument("result", type=PATH)
@click.option("--out", type=PATH, metavar="DIR", help="Folder of the figures. [RESULT/figures]")
@click.option(
    "--format", "format_name", type=click.Choice(["pdf", "svg", "png"]), default="pdf", show_default=True
)
@talk_options
def figures(result, out, format_name, quiet, verbose):
    """Draw the figures of a result as vector graphics.

    RESULT is the folder that optimize, simulate, compare or cohort wrote.
    """
    if verbose:
        log_to_stderr()
    folder = _beside(result, "figures") if out is None else Path(out)
    check_outputs(folder, None)
    from efield.cli.progress import stage_progress
    from efield.report import save_figures

    with stage_progress(quiet, {"read": 0.7, "draw": 5.0}) as progress:
        paths = save_figures(result, folder, format=format_name, progress=progress)
    if not quiet:
        click.echo("\n".join(f"Written to {path}" for path in paths))


def _beside(result, name):
    """`name` in the folder of a result, which may be named by its JSON."""
    from efield.results.opened import result_file

    return result_file(result).parent / name
