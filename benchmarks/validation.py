"""How wrong the fields and target values are, at first and second order, and how well that is known.

    python benchmarks/validation.py [sphere] [midlayer] [cortex] [layers] [head] [colin] [slivers]
        [--colin MESH] [--edge MM] [--json FILE]

"sphere": five layers, unstructured, the built-in figure-8 coil 4 mm above, against the closed form; E at
the barycentres of the grey-matter shell, volume-weighted vector L2 and the largest error over the largest
|E|; L2 far from every boundary; and the mean |E| of a 10 mm ball. With one conductivity only the outer
boundary makes itself felt; "graded" are meshes whose facets on the boundaries shrink as the edge to the
power 4/3. "midlayer": the same field on the mid-layer of the grey-matter shell, as surfaces
get it, and mean |E| there under the coil; "cortex": the same of the built-in head within 20 mm of the
target, against local refinement, the largest error of four placements. "layers": a current through the scalp
that follows a spherical harmonic of degree 5, for which E jumps at every layer. "head": the built-in head,
placements around the built-in target, against second order on the head refined there, and the error bar
against the same truth (validation_head.py); "colin": Colin27 likewise; with --edge the brain and CSF are
first bisected until no edge is longer than that. "slivers": how they move peaks (slivers.py). Prints
Markdown.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import sph_harm_y
from slivers import moved_peaks
from three_heads import COLIN_CONDUCTIVITY, COLIN_TARGET_MM
from validation_head import (
    AT_ONCE,
    CUT_FINER,
    CUT_TRUTH,
    DIDT,
    FINER,
    MEASURE,
    NEAR_MM,
    TRUTH,
    against_refinement,
    cut,
    refined_head,
    tried,
)

import efield
from efield.analytic.shapes import random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.fem.source import dipoles_in_head, gradient_inside
from efield.forward import solve_potentials
from efield.io.atomic import atomic_path
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.placement import Placement
from efield.solve.prepared import prepare

RADII_MM = (70.0, 75.0, 80.0, 85.0, 90.0)
TAGS = (1, 2, 3, 4, 5)
GREY = 2
EDGES_MM = (5.0, 2.5)
SPHERE_EDGES_MM = (4.8, 2.4)
"""One and two tetrahedra across a layer."""

GRADED_EDGES_MM = (4.8, 3.4, 2.56)
"""Of the meshes with graded facets; the first, whose facets are as long, is the same as without."""

DEEP_MM, DEEP_EVERY = 60.0, 10
"""Within this radius no boundary of a layer is nearer than 10 mm; of the tetrahedra there one in so many."""

UNDER_MM = 40.0
"""The mid-layer under the coil is that within this distance of its centre."""

DEGREE, ORDER = 5, 3


def log(text):
    print(text, flush=True)


def errors(difference, exact, volumes):
    """Volume-weighted relative L2 and the largest difference over the largest value."""
    size = np.linalg.norm(exact, axis=1)
    l2 = np.sqrt(volumes @ np.sum(difference**2, axis=1) / (volumes @ size**2))
    return {"l2": float(l2), "max": float(np.linalg.norm(difference, axis=1).max() / size.max())}


def sphere_head(edge_mm):
    return HeadModel.from_mesh(random_layered_sphere(RADII_MM, TAGS, edge_mm))


def over_the_sphere():
    outward = np.array([0.3, -0.5, 0.81])
    outward /= np.linalg.norm(outward)
    x = np.cross([0.2, 0.9, 0.1], outward)
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, np.cross(-outward, x), -outward], axis=-1)
    matrix[:3, 3] = (RADII_MM[-1] + 4.0) * outward
    return Placement(matrix)


def with_rates(rows, keys=("l2",)):
    """Rows with the rates of some errors against the next coarser mesh of the same kind."""
    for row in rows:
        before = [r for r in rows if r["kind"] == row["kind"] and r["size_mm"] > row["size_mm"]]
        for key in keys:
            row[f"{key}_rate"] = None
            if before and row[key]:
                ratio = np.log(before[-1]["size_mm"] / row["size_mm"])
                row[f"{key}_rate"] = float(np.log(before[-1][key] / row[key]) / ratio)
    return rows


def mesh_facts(mesh, kind):
    """The first columns of a row."""
    nodes, size = len(mesh.nodes_mm), float(np.cbrt(mesh.volumes_mm3.mean()))
    ends = mesh.ordered.nodes[mesh.ordered.edges.ends]
    edge = 1e3 * float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean())
    return {"nodes": nodes, "size_mm": size, "mean_edge_mm": edge, "kind": kind}


def sphere(_):
    """The TMS sphere; its field is the same whatever the conductivities of the layers."""
    rows = []
    for edge in SPHERE_EDGES_MM:
        mesh = random_layered_sphere(RADII_MM, TAGS, edge)
        rows += sphere_rows(HeadModel.from_mesh(mesh))
        one = HeadModel.from_mesh(mesh, conductivity=dict.fromkeys(TAGS, 0.3))
        rows += sphere_rows(one, ", one conductivity", orders=(2,))
    for edge in GRADED_EDGES_MM:
        facet = edge * (edge / GRADED_EDGES_MM[0]) ** (1 / 3)
        mesh = random_layered_sphere(RADII_MM, TAGS, edge, facet_mm=facet)
        rows += sphere_rows(HeadModel.from_mesh(mesh), ", graded")
    return with_rates(rows, ("l2", "deep_l2"))


def sphere_rows(head, kind="", orders=(1, 2)):
    """Rows, one an order and one of the recovered field, of one sphere."""
    coil, placement = load_coil("figure8-70mm"), over_the_sphere()
    positions, moments = dipoles_in_head(coil, placement)
    outward = placement.center_mm / np.linalg.norm(placement.center_mm)
    mesh = head.mesh
    grey = np.flatnonzero(mesh.tags == GREY)
    deep = np.flatnonzero(np.linalg.norm(mesh.barycentres_mm, axis=1) < DEEP_MM)[::DEEP_EVERY]
    points, volumes = mesh.barycentres_mm[grey], mesh.volumes_mm3[grey]
    inner, inner_volumes = mesh.barycentres_mm[deep], mesh.volumes_mm3[deep]
    exact, deep_exact = (tms_field(positions, DIDT * moments, 1e-3 * x) for x in (points, inner))
    ball = np.linalg.norm(points - 72.5 * outward, axis=1) < 10
    rows = []
    for order in orders:
        begin = time.process_time()
        prepared = prepare(head, element_order=order)
        field = solve_potentials(prepared, coil, [placement], DIDT).field(0, placement)
        cpu = time.process_time() - begin
        del prepared
        mean = MEASURE.value(field.E[grey[ball]], volumes[ball])
        got, deep_got = field.inside(grey, points, coil), field.inside(deep, inner, coil)
        row = mesh_facts(mesh, f"order {order}{kind}") | errors(got - exact, exact, volumes)
        row["deep_l2"] = errors(deep_got - deep_exact, deep_exact, inner_volumes)["l2"]
        row["target_mean"] = float(mean / MEASURE.value(exact[ball], volumes[ball]) - 1)
        rows.append(row | {"cpu_s": cpu})
        if order == 1:
            rows.append(recovered_row(field, kind, grey, points, exact, volumes))
    return rows


def recovered_row(field, kind, grey, points, exact, volumes):
    """The same of the recovered field; no target values come from it."""
    got = field.recovered().within(grey, points)
    row = mesh_facts(field.head.mesh, f"order 1{kind}, recovered") | errors(got - exact, exact, volumes)
    return row | {"deep_l2": None, "target_mean": None, "cpu_s": None}


def midlayer(_):
    """The mid-layer of grey matter, by the rule for points of a tissue, and inside its tetrahedra."""
    coil, placement = load_coil("figure8-70mm"), over_the_sphere()
    positions, moments = dipoles_in_head(coil, placement)
    rows = []
    for edge in SPHERE_EDGES_MM:
        head = sphere_head(edge)
        points = efield.mid_layer(head).vertices_mm
        exact = tms_field(positions, DIDT * moments, 1e-3 * points)
        under = np.linalg.norm(points - placement.center_mm, axis=1) < UNDER_MM
        elements = head.tets_at(points, "grey_matter")
        for order in (1, 2):
            field = efield.simulate(head, coil, placement, didt=DIDT, element_order=order)
            for kind, e_field in at_points(field, elements, points, coil):
                row = mesh_facts(head.mesh, f"order {order}, {kind}")
                row |= errors(e_field - exact, exact, np.ones(len(points)))
                rows.append(row | {"mean": size_of(e_field[under]) / size_of(exact[under]) - 1})
    return with_rates(rows)


def at_points(field, elements, points, coil):
    """What a field is at points of grey matter, in ways that users have; `elements` hold the points."""
    yield "raw", field.at(points, tissue="grey_matter")
    yield "recovered", field.recovered().at(points, tissue="grey_matter")
    yield "inside", field.inside(elements, points, coil)


def size_of(e_field):
    """Mean magnitude of vectors (n, 3)."""
    return float(np.linalg.norm(e_field, axis=1).mean())


def cortex(options):
    """The mid-layer of the built-in head's grey matter near the target, against local refinement."""
    model, coil = efield.load_head("mni152"), load_coil("figure8-70mm")
    center = efield.Target.mni((-42, 44, 30)).resolve(model).center_mm
    placements = tried(model, center, min(options.placements, AT_ONCE))
    points = efield.mid_layer(model).vertices_mm
    points = points[np.linalg.norm(points - center, axis=1) < NEAR_MM]

    def fields(head, order):
        solved = solve_potentials(prepare(head, element_order=order), coil, placements, DIDT)
        return [solved.field(k, placement) for k, placement in enumerate(placements)]

    def inside(head):
        elements = head.tets_at(points, "grey_matter")
        return [field.inside(elements, points, coil) for field in fields(head, 2)]

    truth = inside(refined_head(model, center, TRUTH))
    log(f"{len(points)} points")
    elements, got = model.tets_at(points, "grey_matter"), {}

    def judge(kind, e_field, exact):
        one = errors(e_field - exact, exact, np.ones(len(points)))
        one["mean"] = size_of(e_field) / size_of(exact) - 1
        got.setdefault(kind, []).append(one)

    for finer, exact in zip(inside(refined_head(model, center, FINER)), truth, strict=True):
        judge("a finer truth", finer, exact)
    for order in (1, 2):
        for field, exact in zip(fields(model, order), truth, strict=True):
            for kind, e_field in at_points(field, elements, points, coil):
                judge(f"order {order}, {kind}", e_field, exact)
    return [
        {"kind": kind} | {key: max((one[key] for one in each), key=abs) for key in each[0]}
        for kind, each in got.items()
    ]


def harmonic_layers(head):
    """Coefficients (n_layers, 2) of ``(a r^l + b r^-(l+1)) Y``, r in units of the outer radius.

    At each boundary the potential and ``sigma dv/dr`` are continuous; a = 1 in the innermost layer.
    """
    sigma = [head.tag_conductivity[tag] for tag in TAGS]
    layers = [np.array([1.0, 0.0])]
    for r, inner, outer in zip(np.array(RADII_MM[:-1]) / RADII_MM[-1], sigma[:-1], sigma[1:], strict=True):
        value = np.array([r**DEGREE, r ** -(DEGREE + 1)])
        slope = np.array([DEGREE * r ** (DEGREE - 1), -(DEGREE + 1) * r ** -(DEGREE + 2)])
        wanted = [value @ layers[-1], inner / outer * (slope @ layers[-1])]
        layers.append(np.linalg.solve([value, slope], wanted))
    return np.array(layers)


def harmonic_potential(points, coefficients):
    """Potential (n,) at points (n, 3) in units of the outer radius, layer coefficients (n, 2)."""
    r = np.linalg.norm(points, axis=1)
    theta, azimuth = np.arccos(points[:, 2] / r), np.arctan2(points[:, 1], points[:, 0])
    radial = coefficients[:, 0] * r**DEGREE + coefficients[:, 1] * r ** -(DEGREE + 1)
    return radial * sph_harm_y(DEGREE, ORDER, theta, azimuth).real


def harmonic_gradient(points, coefficients, step=1e-4):
    """Its gradient (n, 3), by differences of fourth order: 1e-10."""
    gradient = np.empty((len(points), 3))
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        near, far = (
            harmonic_potential(points + k * shift, coefficients)
            - harmonic_potential(points - k * shift, coefficients)
            for k in (1, 2)
        )
        gradient[:, axis] = (8 * near - far) / (12 * step)
    return gradient


def scalp_load(prepared, layer):
    """Load of the current through the faceted boundary, of nodes and edges."""
    head, mesh = prepared.head, prepared.head.mesh
    position = np.argsort(mesh.ordered.node_order)
    faces = position[mesh.boundary_faces]
    nodes, unit = prepared.geometry.nodes, 1e-3 * RADII_MM[-1]
    corners = nodes[faces]
    normal = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    x, w = np.polynomial.legendre.leggauss(4)
    x, w = 0.5 * (x + 1), 0.5 * w
    ends, n = mesh.ordered.edges.ends, len(nodes)
    key = ends[:, 0].astype(np.int64) * n + ends[:, 1]
    load = np.zeros(n + len(ends))
    for a, wa in zip(x, w, strict=True):
        for b, wb in zip(x, w, strict=True):
            shares = np.array([1 - a - b * (1 - a), a, b * (1 - a)])
            points = np.einsum("a,fac->fc", shares, corners) / unit
            gradient = harmonic_gradient(points, np.broadcast_to(layer, (len(points), 2))) / unit
            flux = head.tag_conductivity[TAGS[-1]] * np.sum(gradient * normal, axis=1) * 2 * wa * wb * (1 - a)
            for i in range(3):
                np.add.at(load, faces[:, i], shares[i] * flux)
                j = (i + 1) % 3
                low, high = np.minimum(faces[:, i], faces[:, j]), np.maximum(faces[:, i], faces[:, j])
                edge = np.searchsorted(key, low.astype(np.int64) * n + high)
                np.add.at(load, n + edge, 4 * shares[i] * shares[j] * flux)
    load[:n] -= load[:n].mean()  # what quadrature leaves of the total current
    return load


def layers(_):
    """The kinked test."""
    rows = []
    for edge in EDGES_MM:
        head = sphere_head(edge)
        mesh = head.mesh
        coefficients = harmonic_layers(head)
        of_tag = coefficients[np.searchsorted(TAGS, mesh.tags)]
        unit = 1e-3 * RADII_MM[-1]
        exact = harmonic_gradient(1e-3 * mesh.barycentres_mm / unit, of_tag) / unit
        inside = np.isin(mesh.tags, TAGS[:3])
        where = np.argsort(mesh.ordered.tet_order)
        second = prepare(head, element_order=2)
        load = scalp_load(second, coefficients[-1])
        for order, prepared in ((1, second.first_order), (2, second)):
            b = load[: len(prepared.nodes), None]
            v = prepared.solve(np.ascontiguousarray(b), rtol=1e-5).x[:, 0]
            got, _ = gradient_inside(mesh.ordered, v, where, 1e-3 * mesh.barycentres_mm)
            rows.append(
                mesh_facts(mesh, f"order {order}")
                | errors((got - exact)[inside], exact[inside], mesh.volumes_mm3[inside])
            )
    return with_rates(rows)


def head(options):
    """The built-in head against local refinement."""
    target = partial(efield.Target.mni, (-42, 44, 30))
    return judged(efield.load_head("mni152"), target, options)


def colin(options):
    """Another one, the same; its scalp and skull are one tissue."""
    if not options.colin:
        log("\ncolin left out: no --colin")
        return []
    head = efield.load_head(options.colin, conductivity=COLIN_CONDUCTIVITY)
    target = partial(efield.Target.sphere, COLIN_TARGET_MM)
    return judged(head, target, options)


def judged(head, target, options):
    """A head against local refinement, as it is or cut before."""
    if options.edge is None:
        return against_refinement(head, target, options.placements, log)
    return against_refinement(cut(head, options.edge), target, options.placements, log, CUT_TRUTH, CUT_FINER)


def slivers(options):
    """Slivers planted in the built-in head."""
    model = efield.load_head("mni152")
    center = efield.Target.mni((-42, 44, 30)).resolve(model).center_mm
    placements = tried(model, center, min(options.placements, AT_ONCE))
    return [row for order in (1, 2) for row in moved_peaks(model, center, placements, order)]


def markdown(rows):
    """A table of rows with the same keys; a column a row where there are more keys than that."""
    names = [name for name, value in rows[0].items() if not isinstance(value, dict)]
    table = [names, *([_text(row[name]) for name in names] for row in rows)]
    if len(names) > 10:
        table = list(zip(*table, strict=True))
    lines = [" | ".join(line) for line in table]
    lines.insert(1, " | ".join("---" for _ in table[0]))
    return "\n".join(f"| {line} |" for line in lines)


def _text(value):
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,d}" if isinstance(value, int) else f"{value:.4g}"


def main():
    parts = {
        "sphere": sphere,
        "midlayer": midlayer,
        "cortex": cortex,
        "layers": layers,
        "head": head,
        "colin": colin,
        "slivers": slivers,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(parts)}; all of them by default")
    parser.add_argument("--colin", help="the Colin27 mesh; its part is left out without it")
    parser.add_argument("--edge", type=float, metavar="MM", help="bisect brain and CSF of head, colin first")
    parser.add_argument("--placements", type=int, default=20, help="on each head")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; valid: {', '.join(parts)}")
    results = {}
    for name in options.parts or parts:
        begin = time.process_time()
        results[name] = parts[name](options)
        if results[name]:
            log(f"\n## {name} ({time.process_time() - begin:.0f} CPU s)\n\n{markdown(results[name])}")
    if options.json:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps({"benchmark": "validation", "parts": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
