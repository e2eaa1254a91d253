"""``efield compare``: every way of finding the target, in one table."""

import shutil
import textwrap

import click

from efield.cli.names import HEAD, PATH
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
  efield compare
  efield compare m2m_ernie --out comparison
  efield compare m2m_ernie --methods beam-f3,5.5cm,optimised --hotspot -45,-12,92
  efield compare m2m_ernie --methods map-peak,optimised --map sgacc.nii.gz --map-mask dlpfc.nii.gz --lowest
  efield compare head.msh --target -38,52,41 --landmarks fiducials.csv
"""


@click.command(epilog=EPILOG, short_help="Compare ways of finding the target, in field and in certainty.")
@click.argument("head", type=HEAD, default=DEFAULT_HEAD, metavar="[HEAD]")
@coil_option
@target_option
@radius_option
@click.option("--methods", metavar="A,B,C", help="Methods to compare; --methods list names them. [all]")
@click.option(
    "--landmarks", type=PATH, metavar="CSV", help="EEG positions with Nz, Iz, LPA, RPA, in subject space."
)
@click.option(
    "--hotspot", type=Vector(), help="Motor hotspot on the scalp, subject space. [over M1's hand area]"
)
@click.option(
    "--map", "map_file", type=PATH, metavar="NIFTI", help="Map whose peak map-peak looks for; mni: before it."
)
@click.option("--map-mask", type=PATH, metavar="NIFTI", help="Where to look in the map, in the same space.")
@click.option("--lowest", is_flag=True, help="Look for the map's lowest value, as of an anticorrelation.")
@didt_option
@click.option("--distance", type=float, metavar="MM", default=4.0, show_default=True, help="Coil to scalp.")
@order_option
@head_options
@tensor_options
@output_options
def compare(
    head,
    coil,
    target,
    radius,
    methods,
    landmarks,
    hotspot,
    map_file,
    map_mask,
    lowest,
    didt,
    distance,
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
    """Find the target by every method and compare the placements.

    HEAD is a built-in head (mni152, mni152-small), a mesh file, or an m2m_<subject> folder. A method that
    cannot be applied is named with its reason; the others are compared.
    """
    if methods == "list":
        click.echo(_list_of_methods())
        return
    if map_file is None and (map_mask is not None or lowest):
        raise click.UsageError("--map-mask and --lowest need --map")
    check_outputs(out, json_file)
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import compare_shares
    from efield.model.target_text import parse_target
    from efield.scalp.fiducials import read_fiducials
    from efield.targeting.compare import compare_targeting

    with stage_progress(quiet, compare_shares(out)) as progress:
        result = compare_targeting(
            load_head_from_options(head, unit, conductivity, dti, anisotropy, dti_frame),
            coil,
            parse_target(target, radius),
            None if methods is None else [name.strip() for name in methods.split(",")],
            fiducials=None if landmarks is None else read_fiducials(landmarks),
            hotspot_mm=hotspot,
            peak_map=_peak_map(map_file, map_mask, lowest),
            distance_mm=distance,
            didt=didt,
            element_order=element_order,
            progress=progress,
        )
        save_result(result, out, progress)
    write_json(result, json_file)
    if not quiet and json_file != "-":
        click.echo(_summary(result, out))


def _peak_map(map_file, mask, lowest):
    from efield.targeting.case import PeakMap

    if map_file is None:
        return None
    space = "mni" if map_file.startswith("mni:") else "subject"
    return PeakMap(map_file.removeprefix("mni:"), mask, space, lowest)


def _list_of_methods():
    from efield.targeting import METHODS

    return "\n".join(f"{name:<24}{method.summary}" for name, method in METHODS.items())


def _summary(result, out):
    width = shutil.get_terminal_size().columns
    warnings = [_folded(f"{w.code}: {w.message}", width) for w in result.warnings]
    footer = (
        f"Written to {out}"
        if out
        else "Add --out DIR to keep the table (CSV, JSON, Markdown) and the picture."
    )
    return "\n".join([*_table(result.rows, width), "", *_failures(result.rows, width), *warnings, footer])


# --- the table in a terminal

HEADS = {
    "to_optimum_mm": "to opt. mm",
    "mean": "mean E V/m",
    "p99": "p99 E V/m",
    "percent_of_optimum": "% of opt.",
    "half_value_volume_mm3": "half vol. mm3",
    "off_target": "off tgt. V/m",
    "coil_cortex_mm": "coil- cor. mm",
    "expected_loss_percent": "exp. loss %",
    "probability_optimum_better": "P opt. better",
}
"""Headings of the columns, a word on each line, so that the table fits 80 columns; `LEGEND` explains them."""

LEGEND = (
    "to opt.: from this place to the optimised one, along the scalp. mean, p99: of |E| in the target. "
    "half vol.: grey matter above half the peak. off tgt.: 99.9th percentile of |E| outside the target. "
    "coil-cor.: coil to cortex. exp. loss: what this method's placement noise costs on average, - where none "
    "is published. P opt. better: that the optimised placement, as it lands, gives more than this one."
)


def _table(rows, width):
    """Lines of the methods that were applied, their numbers under their headings."""
    heads = [head.split() for head in ("method", *HEADS.values())]
    tallest = max(map(len, heads))
    stacked = zip(*([""] * (tallest - len(words)) + words for words in heads), strict=True)
    lines = [*stacked, *((row["method"], *_cells(row)) for row in rows if row["error"] is None)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    gap = "  " if sum(widths) + 2 * len(HEADS) <= width else " "
    text = [[name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])] for name, *cells in lines]
    return [*(gap.join(cells).rstrip() for cells in text), "", _folded(LEGEND, width)]


def _cells(row):
    from efield.results.comparison import COLUMNS

    forms = {key: form for key, _, form in COLUMNS}
    return ["-" if row[key] is None else format(row[key], forms[key]) for key in HEADS]


def _failures(rows, width):
    """What could not be applied and why, each reason once."""
    reasons = {}
    for row in rows:
        if row["error"] is not None:
            reasons.setdefault(row["error"], []).append(row["method"])
    lines = [
        _folded(f"not applied: {', '.join(names)}: {reason}", width) for reason, names in reasons.items()
    ]
    return [*lines, ""] if lines else []


def _folded(text, width):
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
