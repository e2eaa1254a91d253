"""The picture of a cohort's comparison: every subject, and the mean with its interval, by method."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
"""Nothing that differs between runs."""


def save_cohort_picture(cohort, path, format):
    """Draw a `CohortResult` of comparisons as ``png`` or ``pdf``."""
    canvas = FigureCanvasAgg(cohort_figure(cohort))
    canvas.print_figure(path, format=format, dpi=150, metadata=METADATA[format])


def cohort_figure(cohort):
    """Percentage of each subject's optimum by method; a line joins the dots of one subject.

    Returns
    -------
    matplotlib.figure.Figure
    """
    statistics, rows = cohort.statistics, cohort.rows
    figure = Figure(figsize=(8.0, 1.6 + 0.36 * max(len(statistics), 3)), layout="constrained")
    plot = figure.subplots()
    at = {one["method"]: k for k, one in enumerate(statistics)}
    for subject in cohort.subjects:
        own = [r for r in rows if r["subject"] == subject["subject"] and r["mean"] is not None]
        heights = [at[row["method"]] for row in own]
        plot.plot([r["percent_of_optimum"] for r in own], heights, "o-", color="0.7", lw=0.5, ms=3)
    for one in (one for one in statistics if one["n"]):
        ends = [one["percent_low"], one["percent_high"]] if one["n"] > 1 else [one["percent_mean"]] * 2
        error = np.abs(np.subtract(ends, one["percent_mean"]))[:, None]
        plot.errorbar(
            one["percent_mean"], at[one["method"]], xerr=error, fmt="D", color="C0", capsize=4, zorder=3
        )
    names = [f"{one['method']}  (n = {one['n']})" for one in statistics]
    plot.set_yticks(range(len(at)), names, fontsize=8, parse_math=False)
    plot.invert_yaxis()
    plot.axvline(100, color="0.3", lw=0.8, ls=":")
    plot.set_xlabel("mean |E| in the target, % of the subject's optimum; diamond: mean and 95 % interval")
    plot.set_title(
        f"{len(cohort.subjects) - len(cohort.failed)} of {len(cohort.subjects)} subjects", fontsize=10
    )
    return figure
