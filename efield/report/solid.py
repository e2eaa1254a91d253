"""The interactive head: scalp, cortex, value map, coil and target."""

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from efield.model.coil import dipole_a_field
from efield.report.extra import need
from efield.report.surfaces import Shell, coarser, cortex, value_map
from efield.report.theme import BLUE, FIELD_MAP, ORANGE, PURPLE, RED, VALUE_MAP, base_layout
from efield.units import point_words

SCALP_TRIANGLES, CORTEX_TRIANGLES = 6_000, 20_000
"""What a browser without a graphics card draws in half a second."""

DRAWN_DIPOLES = 1000
CURRENT_ARROWS = 9
"""Along each side of the square on which the current is shown."""

LIGHT = {"ambient": 0.55, "diffuse": 0.6, "specular": 0.05, "roughness": 0.9, "fresnel": 0.0}
BRIGHT = {**LIGHT, "ambient": 0.85, "diffuse": 0.3}
"""For what is told by its colour."""

ARROW_MM, HANDLE_MM = 12.0, 105.0
TARGET_ARROW_MM = 25.0
"""How far outside the scalp the arrow to the target begins."""

SIDES = 8
"""Of the round parts of an arrow."""

EYE = 1.45


def head_figure(result):
    """The head of a result as a plotly figure, and the names of its layers.

    Parameters
    ----------
    result : OptimizeResult or SimulateResult
        What it lacks (field, scene, candidates) is left out.

    Returns
    -------
    figure : plotly.graph_objects.Figure
    layers : list of (name, traces, shown)
        Indices of the traces that a switch shows and hides; the notes go with the target.
    """
    go = need("plotly.graph_objects", "report")
    groups = [
        ("cortex, |E|", _cortex(go, result), True),
        ("scalp", _scalp(go, result), True),
        ("search map", _value_map(go, result), False),
        ("coil", _coil(go, result), True),
        ("target", _target(go, result), True),
    ]
    traces, layers = [], []
    for name, group, shown in groups:
        if group:
            layers.append((name, list(range(len(traces), len(traces) + len(group))), shown))
            traces += [trace.update(visible=shown) for trace in group]
    hidden = dict.fromkeys(("showbackground", "showgrid", "showline", "showspikes", "zeroline"), False)
    hidden |= {"showticklabels": False, "ticks": "", "tickvals": [], "title": {"text": ""}}
    layout = base_layout(
        scene={
            "aspectmode": "data",
            "xaxis": hidden,
            "yaxis": hidden,
            "zaxis": hidden,
            "camera": {"eye": _eye(result), "up": {"x": 0, "y": 0, "z": 1}},
            "dragmode": "orbit",
            "annotations": [_label(result)],
        },
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
    )
    return go.Figure(traces, layout), layers


def _mesh(go, shell, light=LIGHT, **options):
    (x, y, z), (i, j, k) = shell.vertices_mm.astype(np.float32).T, shell.triangles.T
    return go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, lighting=light, **options)


def _colorbar(title, x):
    """A horizontal scale at the foot of the picture, `x` of its width from the middle."""
    return {
        "title": {"text": title, "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.42,
        "x": 0.5 + x,
        "y": -0.02,
        "yanchor": "bottom",
        "xpad": 4,
        "ypad": 4,
    }


def _cortex(go, result):
    if result.field is None:
        return []
    shell = cortex(result.field.head, np.asarray(result.field.magnitude))
    if shell is None:
        return []
    top = result.metrics["peak"] or float(shell.values.max())
    shell = coarser(shell, CORTEX_TRIANGLES, focus_mm=result.target["center_mm"])
    return [
        _mesh(
            go,
            shell,
            intensity=shell.values.astype(np.float32),
            colorscale=FIELD_MAP,
            cmin=0.0,
            cmax=float(top),
            colorbar=_colorbar("|E|, V/m", -0.25),
            hovertemplate="|E| %{intensity:.3g} V/m<br>%{x:.0f}, %{y:.0f}, %{z:.0f} mm<extra></extra>",
        )
    ]


def _scalp(go, result):
    if result.field is None:
        return []
    scalp = result.field.head.scalp
    shell = coarser(Shell(scalp.vertices_mm, scalp.triangles), SCALP_TRIANGLES)
    return [_mesh(go, shell, color="#c9a48a", opacity=0.22, hoverinfo="skip")]


def _value_map(go, result):
    shell = None if result.candidates is None else value_map(result.candidates)
    if shell is None:
        return []
    unit = result.objective.unit
    return [
        _mesh(
            go,
            shell,
            intensity=shell.values.astype(np.float32),
            colorscale=VALUE_MAP,
            colorbar=_colorbar(f"search, {unit}", 0.25),
            hovertemplate=f"coil here: %{{intensity:.4g}} {unit}<br>"
            "%{x:.0f}, %{y:.0f}, %{z:.0f} mm<extra></extra>",
        )
    ]


def _target(go, result):
    """A diamond at the centre, and an arrow to it from over the nearest scalp: it lies inside the cortex."""
    centre = np.asarray(result.target["center_mm"], dtype=np.float64)
    words = f"target, centre {point_words(centre)} mm"
    traces = [_diamonds(go, centre[None], 3.0, RED, hovertemplate=f"{words}<extra></extra>")]
    if result.field is None:
        return traces
    away = result.field.head.scalp.closest(centre)[0][0] - centre
    depth = np.linalg.norm(away)
    if depth == 0:
        return traces
    start = centre + (1 + TARGET_ARROW_MM / depth) * away
    return [
        *traces,
        _arrows(go, start[None], -away[None] / depth, depth + TARGET_ARROW_MM, 0.8, RED, words),
    ]


def _diamonds(go, points, size_mm, colour, **options):
    """Octahedra about some points."""
    corners = size_mm * np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array(
        [
            [i, j, k] if (i // 3 + j // 3 + k // 3) % 2 == 0 else [i, k, j]
            for i in (0, 3)
            for j in (1, 4)
            for k in (2, 5)
        ]
    )
    triangles = (faces + 6 * np.arange(len(points))[:, None, None]).reshape(-1, 3)
    shell = Shell((points[:, None] + corners).reshape(-1, 3), triangles)
    return _mesh(go, shell, BRIGHT, color=colour, flatshading=True, **options)


def _coil(go, result):
    pose = np.asarray(result.placement.matsimnibs)
    handle = pose[:3, 3] - 4 * pose[:3, 2]
    traces = [_arrows(go, handle[None], pose[:3, 1][None], HANDLE_MM, 2.0, ORANGE, "handle (coil +y)")]
    if result.scene is not None:
        traces += _casing(go, result.scene, pose) + _dipoles(go, result.scene, pose)
        traces += _current(go, result.scene, pose)
    return traces


def _arrows(go, starts, ways, length_mm, radius_mm, colour, words):
    """Arrows from some points along unit directions: a shaft and a head three times as thick."""
    profile = np.array([[0, 0], [0, 1], [0.8, 1], [0.8, 3], [1, 0]]) * [length_mm, radius_mm]
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    rings = len(profile) - 1
    first = np.arange(rings)[:, None] * SIDES + np.arange(SIDES)
    after = np.arange(rings)[:, None] * SIDES + (np.arange(SIDES) + 1) % SIDES
    faces = np.stack([[first, after, first + SIDES], [after, after + SIDES, first + SIDES]])
    faces = np.moveaxis(faces, 1, -1).reshape(-1, 3)
    vertices = []
    for start, way in zip(starts, ways, strict=True):
        side = np.cross(way, np.eye(3)[np.argmin(np.abs(way))])
        side = side / np.linalg.norm(side)
        around = np.outer(np.cos(angles), side) + np.outer(np.sin(angles), np.cross(way, side))
        vertices += [start + along * way + radius * around for along, radius in profile]
    n = len(profile) * SIDES
    triangles = (faces[None] + n * np.arange(len(starts))[:, None, None]).reshape(-1, 3)
    shell = Shell(np.concatenate(vertices), triangles)
    return _mesh(go, shell, BRIGHT, color=colour, flatshading=True, hovertemplate=f"{words}<extra></extra>")


def _casing(go, scene, pose):
    """Convex hull of the casing's points; of the dipoles where there is no casing."""
    points = scene.positions_mm if scene.casing_mm is None else scene.casing_mm
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):  # dipoles in one plane have no hull: they are drawn themselves
        return []
    shell = Shell(_placed(pose, points), hull.simplices)
    return [_mesh(go, shell, color="#9aa3ad", opacity=0.25, hoverinfo="skip", flatshading=True)]


def _dipoles(go, scene, pose):
    """Dipoles by the way their moment points: the current circulates about it, right-handed."""
    step = -(-len(scene.moments) // DRAWN_DIPOLES)
    positions, into = _placed(pose, scene.positions_mm[::step]), scene.moments[::step, 2] > 0
    parts = [(positions[into], BLUE), (positions[~into], ORANGE)]
    return [_diamonds(go, points, 0.7, colour, hoverinfo="skip") for points, colour in parts if len(points)]


def _current(go, scene, pose):
    """Arrows along A just under the coil, which runs along the current (positive dI/dt)."""
    low, high = scene.positions_mm.min(axis=0), scene.positions_mm.max(axis=0)
    sides = [np.linspace(low[k], high[k], CURRENT_ARROWS) for k in range(2)]
    x, y = (part.ravel() for part in np.meshgrid(*sides))
    depth = max(high[2], 0.0) + 3.0
    points = np.stack([x, y, np.full(len(x), depth)], axis=1)
    a_field = dipole_a_field(scene.positions_mm, scene.moments, points)
    strength = np.linalg.norm(a_field, axis=1)
    strong = strength > 0.45 * strength.max()
    ways = a_field[strong] / strength[strong, None] @ pose[:3, :3].T
    above = points[strong] * [1, 1, 0] + [0, 0, low[2] - 3.0]  # drawn where the eye is: on the coil's back
    words = "current in the coil, positive dI/dt"
    return [_arrows(go, _placed(pose, above), ways, ARROW_MM, 0.7, PURPLE, words)]


def _placed(pose, points):
    return points @ pose[:3, :3].T + pose[:3, 3]


def _label(result):
    """A note with a dot at the target's centre: on the page it lies above whatever is drawn in 3D."""
    place = dict(zip("xyz", map(float, result.target["center_mm"]), strict=True))
    pin = {"arrowhead": 6, "arrowsize": 1.4, "arrowwidth": 2.5, "arrowcolor": RED, "ax": -70, "ay": -60}
    box = {"bgcolor": RED, "borderpad": 3, "font": {"color": "#ffffff", "size": 13}}
    return {**place, **pin, **box, "text": "target"}


def _eye(result):
    """Look at the coil's back from the side away from its handle, which would cover the target."""
    pose = np.asarray(result.placement.matsimnibs)
    way = -pose[:3, 2] - 0.5 * pose[:3, 1] + [0.0, 0.0, 0.2]
    way = EYE * way / np.linalg.norm(way)
    return dict(zip("xyz", way.tolist(), strict=True))
