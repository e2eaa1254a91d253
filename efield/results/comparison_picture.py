"""The picture of a comparison: the places on the scalp, and the field each gives the target."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from efield.frames import direction_words
from efield.results.picture import picture_axes
from efield.results.words import didt_words

ONE_LABEL_MM = 1.5


def save_comparison_picture(comparison, path, *, dpi=150):
    """Draw a `TargetingComparison` and write it as PNG."""
    canvas = FigureCanvasAgg(comparison_figure(comparison))
    canvas.print_figure(path, dpi=dpi, format="png", metadata={"Software": None})


def comparison_figure(comparison):
    """Left: places and handles, seen from outside the head over the target. Right: mean |E|.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = [row for row in comparison.rows if row["error"] is None]
    figure = Figure(figsize=(11.0, 5.6), layout="constrained")
    places, bars = figure.subplots(1, 2, width_ratios=[1.0, 1.1])
    colours = [f"C{i % 10}" for i in range(len(rows))]
    if rows:
        _draw_places(places, rows, np.asarray(comparison.target["center_mm"]), colours)
        _draw_bars(bars, rows, colours)
    bars.set_xlabel(f"mean |E| in the target, V/m at {didt_words(comparison.didt)}")
    source = comparison.provenance
    figure.suptitle(
        f"{comparison.target['name']}: {source['coil']} on {source['head']}", fontsize=10, parse_math=False
    )
    return figure


def _draw_places(plot, rows, target, colours):
    scalp = np.array([row["placement"]["scalp_mm"] for row in rows])
    handles = np.array([row["placement"]["ydir"] for row in rows])
    outward = scalp.mean(axis=0) - target
    axes = picture_axes(outward / np.linalg.norm(outward))
    flat, ways = (scalp - target) @ axes.T, handles @ axes.T
    plot.quiver(*flat.T, *ways.T, color=colours, angles="xy", scale=14, width=0.005)
    for group in _together(flat):
        single = len(group) == 1  # several stand one under the other, beside their place
        plot.annotate(
            "\n".join(str(k + 1) for k in group),
            flat[group[0]],
            color="white",
            fontsize=6.5,
            ha="center" if single else "right",
            va="center" if single else "top",
            bbox={"boxstyle": "round,pad=0.3", "fc": colours[group[0]], "ec": "white"},
        )
    plot.plot(0, 0, marker="o", ms=22, mfc="none", mec="#1a1a1a")
    right, up = (direction_words(axis) for axis in axes)
    plot.set_xlabel(f"mm from the target (circle), towards {right} →")
    plot.set_ylabel(f"mm, towards {up} →")
    plot.set_aspect("equal")
    plot.margins(0.2)


def _together(places):
    """Indices of places that lie so near that they share one label, the most crowded label first."""
    groups = []
    for k, place in enumerate(places):
        near = (g for g in groups if np.linalg.norm(places[g[0]] - place) < ONE_LABEL_MM)
        group = next(near, None)
        if group is None:
            groups.append([k])
        else:
            group.append(k)
    return sorted(groups, key=len, reverse=True)


def _draw_bars(plot, rows, colours):
    at = np.arange(len(rows))
    plot.barh(at, [row["mean"] for row in rows], color=colours)
    names = [f"{k}  {row['method']}" for k, row in enumerate(rows, start=1)]
    plot.set_yticks(at, names, fontsize=8, parse_math=False)
    plot.invert_yaxis()
    for k, row in enumerate(rows):
        plot.text(row["mean"], k, f" {row['percent_of_optimum']:.0f} %", va="center", fontsize=8)
    plot.margins(x=0.12)
