"""Charts of the report: yaw, tolerance, distribution of |E|, comparison."""

import numpy as np

from efield.metrics import weighted_percentile
from efield.report.extra import need
from efield.report.theme import BLUE, GREEN, GREY, ORANGE, base_layout, label
from efield.results.words import objective_words
from efield.tissues import TISSUE_TAGS

BINS = 60

DIRECTIONS = {
    "x_mm": "sideways (coil x), mm",
    "y_mm": "along the handle (coil y), mm",
    "distance_mm": "away from the head, mm",
    "pitch_deg": "tilt about x, degrees",
    "roll_deg": "tilt about y, degrees",
    "yaw_deg": "turn about the coil's axis, degrees",
}
"""Directions of the tolerance in words."""


def yaw_curve(result):
    """Value against yaw at the searched position nearest to the optimum.

    Returns
    -------
    (yaw_deg, values, apart_mm) or None
        None without candidates, or without a scalp point under the coil.
    """
    scalp = result.placement_info["scalp_mm"]
    if result.candidates is None or scalp is None:
        return None
    candidates = result.candidates
    apart = np.linalg.norm(candidates.scalp_mm - np.asarray(scalp), axis=1)
    apart = np.where(candidates.feasible.any(axis=1), apart, np.inf)
    nearest = int(np.argmin(apart))
    order = np.argsort(candidates.yaw_deg)
    return candidates.yaw_deg[order], candidates.values[nearest, order], float(apart[nearest])


def yaw_sentence(result):
    """What the yaw curve shows: where it was searched, and what the angle matters there."""
    _, values, apart = yaw_curve(result)
    text = (
        f"The objective at every angle of the searched position nearest to the optimum, {apart:.1f} mm off."
    )
    low, high = np.nanmin(values), np.nanmax(values)
    if low > 0:
        text += f" The worst angle there has {(high - low) / high:.1%} less than the best."
    return text


def yaw_figure(result):
    """The yaw curve as a plotly figure; None where there is none."""
    curve = yaw_curve(result)
    if curve is None:
        return None
    go = need("plotly.graph_objects", "report")
    yaw, values, _ = curve
    unit = result.objective.unit
    line = go.Scatter(
        x=yaw,
        y=values,
        mode="lines",
        line={"color": BLUE, "width": 2.5},
        name="search, nearest position",
        hovertemplate=f"%{{x:.0f}}°: %{{y:.4g}} {unit}<extra></extra>",
    )
    best = go.Scatter(
        x=[result.placement_info["yaw_to_midline_deg"]],
        y=[result.objective.value],
        mode="markers",
        marker={"size": 13, "symbol": "star", "color": ORANGE},
        name="optimum, forward solution",
        hovertemplate=f"optimum %{{x:.1f}}°: %{{y:.4g}} {unit}<extra></extra>",
    )
    ticks = list(range(-180, 181, 90))
    axis = {"title": {"text": "yaw, degrees (+: to the left)"}, "tickvals": ticks, "range": [-182, 182]}
    words = {"title": {"text": f"{label(objective_words(result.objective.name))}, {unit}"}}
    return go.Figure([line, best], base_layout(height=340, xaxis=axis, yaxis=words | {"automargin": True}))


def tolerance_curves(result):
    """Value, % of that at the placement, along each direction: ``{name: (offsets, percent)}``.

    Distances that would push the coil's origin into the scalp are left out. Empty where the result has none.
    """
    spread = getattr(result, "robustness", None) or {}
    curves = {}
    for name, curve in spread.get("curves", {}).items():
        offsets, values = np.array(curve["offsets"]), np.array(curve["values"])
        if name == "distance_mm":
            reach = result.placement_info["distance_mm"]
            keep = offsets >= -(np.inf if reach is None else reach) - 1e-9
            offsets, values = offsets[keep], values[keep]
        curves[name] = offsets, 100 * values / spread["value"]
    return curves


def tolerance_rows(result):
    """How far off the coil may be before the tolerance's loss: ``[(direction, [backwards, forwards])]``."""
    spread = result.robustness
    return [
        (DIRECTIONS[name], [_end_words(result, name, end, k == 0) for k, end in enumerate(ends)])
        for name, ends in spread["tolerance"].items()
    ]


def _end_words(result, name, end, back):
    """One end of a tolerance; towards the head the scalp ends it."""
    reach = result.placement_info["distance_mm"]
    if name == "distance_mm" and back and reach is not None and (end is None or end > reach):
        return "to the scalp"
    return f"beyond {result.robustness['tolerance_reach'][name]:.3g}" if end is None else f"{end:.1f}"


def tolerance_figure(result):
    """Six small charts of how the value falls when the coil is off; None where there is no tolerance."""
    curves = tolerance_curves(result)
    if not curves:
        return None
    go = need("plotly.graph_objects", "report")
    subplots = need("plotly.subplots", "report")
    titles = [DIRECTIONS[name] for name in curves]
    grid = subplots.make_subplots(
        rows=3, cols=2, shared_yaxes=True, vertical_spacing=0.13, horizontal_spacing=0.06
    )
    limit = 100 * (1 - result.robustness["tolerance_loss"])
    for k, (name, (offsets, percent)) in enumerate(curves.items()):
        place = {"row": k // 2 + 1, "col": k % 2 + 1}
        words = f"%{{x:.3g}}: %{{y:.1f}} %<extra>{titles[k]}</extra>"
        line = {"color": BLUE, "width": 2.2}
        grid.add_trace(
            go.Scatter(x=offsets, y=percent, mode="lines", line=line, hovertemplate=words), **place
        )
        low, high = _allowed(result.robustness, name, offsets)
        grid.add_vrect(x0=low, x1=high, fillcolor=GREEN, opacity=0.14, line_width=0, **place)
        grid.add_hline(y=limit, line={"color": GREY, "dash": "dot", "width": 1.2}, **place)
        grid.update_xaxes(title={"text": titles[k], "standoff": 4, "font": {"size": 12}}, **place)
    grid.update_yaxes(title={"text": "% of optimum", "font": {"size": 12}}, col=1)
    return grid.update_layout(base_layout(height=620, showlegend=False))


def _allowed(spread, name, offsets):
    """Interval within which the loss stays below that of the tolerance, cut to what is drawn."""
    back, forth = spread["tolerance"][name]
    low = offsets[0] if back is None else max(-back, offsets[0])
    high = offsets[-1] if forth is None else min(forth, offsets[-1])
    return float(low), float(high)


def distribution(result):
    """|E| and volumes of the target and of the grey matter outside it.

    Returns
    -------
    dict of name to (magnitude, volumes_mm3), or None
        None without a field, or where the target's elements are not known.
    """
    if result.field is None or result.scene is None:
        return None
    head, magnitude = result.field.head, np.asarray(result.field.magnitude)
    inside = np.zeros(len(magnitude), bool)
    inside[result.scene.target_elements] = True
    outside = (head.tags == TISSUE_TAGS["grey_matter"]) & ~inside
    parts = {"target": inside, "grey matter outside it": outside}
    volumes = head.mesh.volumes_mm3
    return {name: (magnitude[mask], volumes[mask]) for name, mask in parts.items() if mask.any()}


def distribution_rows(parts):
    """Volume and percentiles of each part: ``[(name, cm3, [p5, p25, p50, p75, p95, p99])]``."""
    shares = np.array([5.0, 25.0, 50.0, 75.0, 95.0, 99.0])
    return [
        (name, float(volumes.sum()) / 1000, weighted_percentile(values, volumes, shares).tolist())
        for name, (values, volumes) in parts.items()
    ]


def distribution_figure(parts):
    """Histogram of |E| by share of volume."""
    go = need("plotly.graph_objects", "report")
    top = max(weighted_percentile(values, volumes, 99.95) for values, volumes in parts.values())
    edges = np.linspace(0.0, 1.05 * top, BINS + 1)
    traces = []
    for (name, (values, volumes)), colour in zip(parts.items(), (ORANGE, BLUE), strict=False):
        share = 100 * np.histogram(values, edges, weights=volumes)[0] / volumes.sum()
        traces.append(
            go.Scatter(
                x=edges,
                y=[*share, share[-1]],
                mode="lines",
                line={"shape": "hv", "color": colour, "width": 2},
                fill="tozeroy",
                name=name,
                hovertemplate=f"%{{x:.3g}} V/m: %{{y:.2f}} % of the volume<extra>{name}</extra>",
            )
        )
    axes = {"xaxis": {"title": {"text": "|E|, V/m"}}, "yaxis": {"title": {"text": "% of the volume"}}}
    return go.Figure(traces, base_layout(height=340, **axes))


def comparison_figure(comparison):
    """Mean |E| in the target by method, as bars; None where no method could be applied."""
    rows = [row for row in comparison.rows if row["error"] is None]
    if not rows:
        return None
    go = need("plotly.graph_objects", "report")
    names = [label(row["method"]) for row in rows]
    bars = [
        go.Scatter(
            x=[0.0, row["mean"]],
            y=[name, name],
            mode="lines+text",
            line={"width": 16, "color": ORANGE if row["percent_of_optimum"] >= 100 else BLUE},
            text=["", f" {row['percent_of_optimum']:.0f} %"],
            textposition="middle right",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4g} V/m<extra></extra>",
        )
        for row, name in zip(rows, names, strict=True)
    ]
    reach = 1.02 * max(row["mean"] for row in rows)
    axes = {
        "xaxis": {"title": {"text": "mean |E|, V/m"}, "range": [0.0, reach]},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
        "showlegend": False,
        "margin": {"l": 56, "r": 56, "t": 24, "b": 44},  # room for the shares, however narrow the chart
    }
    return go.Figure(bars, base_layout(height=90 + 30 * len(rows), **axes))
