"""Figures for papers, as vector graphics."""

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.sampling import tets_at_voxels
from efield.report.charts import DIRECTIONS, tolerance_curves, yaw_curve
from efield.report.theme import BLUE, FIELD_MAP, GREY, ORANGE
from efield.results.cohort import CohortResult
from efield.results.cohort_picture import cohort_figure
from efield.results.comparison import TargetingComparison
from efield.results.comparison_picture import comparison_figure
from efield.results.opened import comparison_beside, open_result, result_file, with_field
from efield.results.outputs import check_output
from efield.results.picture import scalp_figure
from efield.results.words import didt_words, objective_words

FORMATS = ("pdf", "svg", "png")

METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""Nothing that differs between runs."""

SLICE_MM = 60.0
"""Half the side of a slice."""

PLANES = (("sagittal", 0, (1, 2)), ("coronal", 1, (0, 2)), ("axial", 2, (0, 1)))
"""Name, axis across, axes to the right and up."""

AXES = ("x, mm (R+)", "y, mm (A+)", "z, mm (S+)")
PIXELS = 241


def save_figures(result, directory, *, format="pdf", progress=None):
    """Draw the figures of a result into a folder.

    Parameters
    ----------
    result : result object, or path-like
        Of ``optimize`` (``scalp``, ``slices``, ``yaw``, ``distance``, ``tolerance``), ``simulate``
        (``slices``), ``compare`` (``comparison``) or ``cohort`` (``cohort``); or the folder it was saved
        in, which may hold a comparison beside the result of ``optimize`` or ``simulate``.
    directory : path-like
    format : {"pdf", "svg", "png"}
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    list of Path
        What was written; a figure whose data the result lacks is left out.

    Raises
    ------
    FormatError
        Another format, or a result without figures.
    OutputError
        A file cannot be written.
    """
    if format not in FORMATS:
        raise FormatError(f"unknown format of figures {format!r}; known: {', '.join(FORMATS)}")
    directory = check_output(directory)
    report = progress or (lambda stage, fraction: None)
    report("read", 0.0)
    drawers = _drawers(result)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in drawers.items():
        report("draw", len(paths) / len(drawers))
        paths.append(directory / f"{name}.{format}")
        with atomic_path(paths[-1]) as temporary:
            FigureCanvasAgg(draw()).print_figure(
                temporary, format=format, dpi=300, metadata=METADATA[format], bbox_inches="tight"
            )
    return paths


def _drawers(result):
    """Functions that draw a result's figures, by name."""
    if isinstance(result, str | Path):
        folder = result_file(result).parent
        result = open_result(result)
        if hasattr(result, "placement"):
            beside = comparison_beside(folder)
            drawers = _drawers(with_field(result, folder))
            return drawers if beside is None else drawers | _drawers(beside)
    if isinstance(result, TargetingComparison):
        return {"comparison": partial(comparison_figure, result)}
    if isinstance(result, CohortResult):
        if result.study != "compare":
            raise FormatError("only a cohort of comparisons has a figure")
        return {"cohort": partial(cohort_figure, result)}
    drawers = {
        "scalp": None if result.candidates is None else scalp_figure,
        "slices": None if result.field is None else slices_figure,
        "yaw": None if yaw_curve(result) is None else _yaw_figure,
        "distance": _distance_figure if "distance_mm" in tolerance_curves(result) else None,
        "tolerance": _tolerance_figure if tolerance_curves(result) else None,
    }
    found = {name: partial(draw, result) for name, draw in drawers.items() if draw is not None}
    if not found:
        raise FormatError("this result holds neither its field (field.msh) nor a search: nothing to draw")
    return found


def slices_figure(result):
    """|E| in the three planes through the target, with the outlines of the tissues; needs the field."""
    head, magnitude = result.field.head, np.asarray(result.field.magnitude)
    centre = np.asarray(result.target["center_mm"], dtype=np.float64)
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    plots = figure.subplots(1, 3)
    top = result.metrics["peak"] or float(np.percentile(magnitude, 99.9))
    for plot, (name, across, (right, up)) in zip(plots, PLANES, strict=True):
        sides, owner = _slice(head, centre, across, right, up)
        tags = np.where(owner >= 0, head.tags[owner], 0)
        shown = np.where((tags > 0) & (tags <= 3), magnitude[owner], np.nan)
        extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
        image = plot.imshow(
            shown,
            origin="lower",
            extent=extent,
            cmap=FIELD_MAP.lower(),
            vmin=0,
            vmax=top,
            interpolation="none",
        )
        for tag in np.unique(tags[tags > 0]):
            inside = (tags == tag).astype(float)
            plot.contour(*sides, inside, levels=[0.5], colors="0.25", linewidths=0.5)
        plot.plot(centre[right], centre[up], "+", color=ORANGE, ms=12, mew=2)
        plot.set(xlabel=AXES[right], ylabel=AXES[up], aspect="equal")
        plot.set_title(f"{name}, {AXES[across][0]} = {centre[across]:.1f} mm", fontsize=10)
    bar = figure.colorbar(image, ax=plots, shrink=0.8, pad=0.01, extend="max")
    bar.set_label(f"|E|, V/m at {didt_words(result.didt)}")
    return figure


def _slice(head, centre, across, right, up):
    """Sides (mm) of a square grid of points through `centre`, and the tetrahedron each lies in (-1: none)."""
    steps = np.linspace(-SLICE_MM, SLICE_MM, PIXELS)
    affine = np.eye(4)
    affine[:3, :3] = (steps[1] - steps[0]) * np.eye(3)[[up, right, across]].T
    affine[:3, 3] = centre
    affine[[right, up], 3] -= SLICE_MM
    owner = tets_at_voxels(head.nodes_mm, head.tets, affine, (PIXELS, PIXELS, 1))
    return [centre[right] + steps, centre[up] + steps], owner[:, :, 0]


def _yaw_figure(result):
    yaw, values, _ = yaw_curve(result)
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    plot = figure.add_subplot()
    plot.plot(yaw, values, color=BLUE, lw=1.8, label="search, nearest position")
    best = result.placement_info["yaw_to_midline_deg"], result.objective.value
    plot.plot(*best, marker="*", ms=13, color=ORANGE, ls="none", label="optimum, forward solution")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    plot.set_xticks(range(-180, 181, 60))
    plot.set_xlabel("yaw to the midline, degrees (+: handle to the left)")
    at = f"{result.objective.unit} at {didt_words(result.didt)}"
    plot.set_ylabel(f"{objective_words(result.objective.name)},\n{at}", parse_math=False)
    _open_frame(plot)
    return figure


def _distance_figure(result):
    """The objective against the coil's distance from the scalp, and what a millimetre costs there."""
    offsets, percent = tolerance_curves(result)["distance_mm"]
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    plot = figure.add_subplot()
    known = result.placement_info["distance_mm"]
    there = 0.0 if known is None else known
    plot.plot(there + offsets, percent, color=BLUE, lw=1.8)
    plot.plot(there, 100.0, marker="*", ms=13, color=ORANGE, ls="none")
    slope = np.interp(1.0, offsets, percent) - 100
    plot.annotate(f"{slope:+.1f} % for 1 mm more", (there, 100.0), (10, 4), textcoords="offset points")
    plot.set_xlabel(DIRECTIONS["distance_mm"] if known is None else "coil to scalp along its axis, mm")
    what = objective_words(result.robustness["functional"])
    plot.set_ylabel(f"{what},\n% of the optimum", parse_math=False)
    _open_frame(plot)
    return figure


def _tolerance_figure(result):
    """Value against each direction in which the coil may be off."""
    curves = tolerance_curves(result)
    limit = 100 * (1 - result.robustness["tolerance_loss"])
    figure = Figure(figsize=(8.4, 5.0), layout="constrained")
    for plot, (name, (offsets, percent)) in zip(figure.subplots(2, 3).ravel(), curves.items(), strict=True):
        plot.plot(offsets, percent, color=BLUE, lw=1.6)
        plot.axhline(limit, color=GREY, lw=0.9, ls=":")
        plot.set_xlabel(DIRECTIONS[name], fontsize=9)
        _open_frame(plot)
    what = objective_words(result.robustness["functional"])
    figure.supylabel(f"{what}, % of the optimum (dotted: {limit:.3g} %)", fontsize=9, parse_math=False)
    return figure


def _open_frame(plot):
    plot.spines[["top", "right"]].set_visible(False)
