"""The picture of a search: the value over the scalp, the optimum and the coil's axis in it."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke
from matplotlib.tri import Triangulation

from efield.frames import direction_words, tangent_axes
from efield.results.words import didt_words, objective_words, yaw_words

_INK = "#1a1a1a"
_ACCENT = "#d1495b"
_ARROW_SHARE = 0.42  # of the radius of the mapped region
_CONTOURS = np.array([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98])  # of the largest value
_LEVEL = np.cos(np.deg2rad(35.0))  # a plane tilted by less has no clear way up
_OUTLINE = [withStroke(linewidth=4.5, foreground="white")]


def save_scalp_picture(result, path, *, dpi=150):
    """Draw the search of an `OptimizeResult` and write it as PNG."""
    canvas = FigureCanvasAgg(scalp_figure(result))
    # Without the writer's version the file depends on nothing but the result.
    canvas.print_figure(path, dpi=dpi, format="png", metadata={"Software": None})


def scalp_figure(result):
    """Objective at the best yaw of each scalp position, on the plane that touches the scalp.

    The plane touches it at the centre of the search and is seen from outside the head. Made
    without pyplot, so without global state.

    Parameters
    ----------
    result : OptimizeResult

    Returns
    -------
    matplotlib.figure.Figure
    """
    candidates = result.candidates
    centre = np.asarray(result.search["center_mm"], dtype=np.float64)
    nearest = np.argmin(np.sum((candidates.scalp_mm - centre) ** 2, axis=1))
    axes = picture_axes(candidates.normals[nearest])
    points = (candidates.scalp_mm - centre) @ axes.T
    reach = max(np.abs(points).max(), 1.0)

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    plot = figure.add_subplot()
    drawn = _draw_values(plot, points, candidates.best_over_yaw())
    _draw_target(plot, axes @ (np.asarray(result.target["center_mm"]) - centre))
    scalp = axes @ (np.asarray(result.placement_info["scalp_mm"]) - centre)
    length = _ARROW_SHARE * reach
    _draw_posterior(plot, scalp, axes @ tangent_axes(-candidates.normals[nearest])[0], length)
    _draw_coil(plot, scalp, axes @ np.asarray(result.placement_info["ydir"]), length)
    _label(figure, plot, drawn, result, axes)
    limit = 1.1 * reach
    plot.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return figure


def picture_axes(normal):
    """Axes of the plane with outward normal `normal`, as seen from outside the head.

    Returns
    -------
    (2, 3) array
        Row 0 points right, row 1 up: superior, or anterior where the plane is nearly level.
    """
    normal = np.asarray(normal, dtype=np.float64)
    level = abs(normal[2]) > _LEVEL
    up = np.array([0.0, 1.0, 0.0]) if level else np.array([0.0, 0.0, 1.0])
    up -= (up @ normal) * normal
    up /= np.linalg.norm(up)
    return np.array([np.cross(up, normal), up])


def _draw_values(plot, points, values):
    known = np.isfinite(values)
    points, values = points[known], values[known]
    spread = np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-3)
    if len(points) < 3 or spread < 2:  # too few positions for a surface: show them as they are
        return plot.scatter(points[:, 0], points[:, 1], c=values, cmap="viridis", s=60)
    mesh = _compact(Triangulation(points[:, 0], points[:, 1]))
    drawn = plot.tripcolor(mesh, values, shading="gouraud", cmap="viridis", rasterized=True)
    levels = _CONTOURS * values.max()
    levels = levels[(levels > values.min()) & (levels < values.max())]
    if levels.size:
        lines = plot.tricontour(mesh, values, levels=levels, colors="white", linewidths=0.7, alpha=0.85)
        plot.clabel(lines, fmt=lambda level: f"{100 * level / values.max():.0f} %", fontsize=7)
    return drawn


def _compact(mesh):
    """Mask the long triangles that would bridge gaps and dents of the search region."""
    x, y = mesh.x[mesh.triangles], mesh.y[mesh.triangles]
    longest = np.max(np.hypot(x - np.roll(x, 1, axis=1), y - np.roll(y, 1, axis=1)), axis=1)
    mesh.set_mask(longest > 4 * np.median(longest))
    return mesh


def _draw_target(plot, target):
    ring = {"marker": "o", "ms": 26, "mfc": "none", "ls": "none"}
    plot.plot(*target, **ring, mec=_INK, mew=1.6, path_effects=_OUTLINE, label="target, projected")


def _draw_posterior(plot, scalp, direction, length):
    x, y = np.stack([scalp, scalp + length * direction], axis=1)
    plot.plot(x, y, color=_INK, lw=1.2, ls=(0, (4, 3)))
    style = {"color": _INK, "fontsize": 8, "ha": "center", "va": "center"}
    plot.text(*(scalp + 1.2 * length * direction), "posterior", **style)


def _draw_coil(plot, scalp, axis, length):
    tip = scalp + length * axis / np.linalg.norm(axis)
    arrow = FancyArrowPatch(
        scalp, tip, arrowstyle="-|>", mutation_scale=18, lw=2.4, color=_ACCENT, shrinkA=0, shrinkB=0
    )
    arrow.set_path_effects(_OUTLINE)
    plot.add_patch(arrow)
    plot.plot(*scalp, marker="*", ms=19, mfc=_ACCENT, mec="white", mew=1.4, ls="none", label="optimum")
    plot.plot([], [], color=_ACCENT, lw=2.4, label="handle direction (coil +y)")


def _label(figure, plot, drawn, result, axes):
    objective = result.objective
    words = objective_words(objective.name)
    at = f"{objective.unit} at {didt_words(result.didt)}"
    bar = figure.colorbar(drawn, ax=plot, shrink=0.85, pad=0.02)
    bar.set_label(f"{words}, best angle, {at}", parse_math=False)  # names may hold a $
    right, up = (direction_words(axis) for axis in axes)
    plot.set_xlabel(f"mm from the centre of the search, towards {right} →")
    plot.set_ylabel(f"mm, towards {up} →")
    yaw = result.placement_info["yaw_to_midline_deg"]
    plot.set_title(
        f"{result.target['name']}: {objective.value:#.4g} {at}, handle {yaw_words(yaw)}\n"
        f"{result.provenance['coil']} on {result.provenance['head']}, seen from outside; "
        "contours in % of the largest value",
        fontsize=9.5,
        color=_INK,
        parse_math=False,
    )
    plot.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.11), ncol=3, frameon=False, fontsize=8.5, markerscale=0.6
    )
