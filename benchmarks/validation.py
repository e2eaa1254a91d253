"""How wrong the fields and target values are, at first and second order, and how well that is known.

    python benchmarks/validation.py [sphere] [layers] [head] [--json FILE] [--placements N]

"sphere": five layers, unstructured, the built-in figure-8 coil 4 mm above, against the closed form; E at
the barycentres of the grey-matter shell, volume-weighted vector L2 and the largest error over the largest
|E|; and the mean |E| of a 10 mm ball. "layers": a current through the scalp that follows a spherical
harmonic of degree 5, for which E jumps at every layer. "head": the built-in head, placements around the
built-in target, against second order on the head refined around the target (longest edges halved and
halved again); the error bar against the same truth. Prints Markdown.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from refine_head import refine
from scipy.spatial import cKDTree
from scipy.special import sph_harm_y

from efield.adjoint.correction import EdgeCorrection
from efield.analytic.shapes import random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.fem.source import dipoles_in_head, gradient_inside
from efield.forward import solve_potentials
from efield.io.atomic import atomic_path
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.discretization import FLOOR
from efield.search.measures import MeanMagnitude
from efield.solve.prepared import prepare

RADII_MM = (70.0, 75.0, 80.0, 85.0, 90.0)
TAGS = (1, 2, 3, 4, 5)
GREY = 2
EDGES_MM = (5.0, 2.5)
DEGREE, ORDER = 5, 3
DIDT = 1e6
REFINED_MM, REFINED_EDGE_MM = 25.0, 1.6
NEAR_MM = 15.0
MEASURE = MeanMagnitude()


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


def with_rates(rows):
    """Rows with the rate of the L2 error against the coarser mesh of the same order."""
    for row in rows:
        before = [r for r in rows if r["order"] == row["order"] and r["size_mm"] > row["size_mm"]]
        ratio = None if not before else np.log(before[-1]["l2"] / row["l2"])
        row["rate"] = None if not before else float(ratio / np.log(before[-1]["size_mm"] / row["size_mm"]))
    return rows


def sphere():
    """The TMS sphere."""
    coil, placement = load_coil("figure8-70mm"), over_the_sphere()
    positions, moments = dipoles_in_head(coil, placement)
    rows = []
    for edge in EDGES_MM:
        head = sphere_head(edge)
        mesh = head.mesh
        grey = np.flatnonzero(mesh.tags == GREY)
        points, volumes = mesh.barycentres_mm[grey], mesh.volumes_mm3[grey]
        exact = tms_field(positions, DIDT * moments, 1e-3 * points)
        outward = placement.center_mm / np.linalg.norm(placement.center_mm)
        ball = np.linalg.norm(points - 72.5 * outward, axis=1) < 10
        for order in (1, 2):
            begin = time.process_time()
            field = solve_potentials(prepare(head, element_order=order), coil, [placement], DIDT).field(
                0, placement
            )
            cpu = time.process_time() - begin
            mean = MEASURE.value(field.E[grey[ball]], volumes[ball])
            rows.append(
                {
                    "nodes": len(mesh.nodes_mm),
                    "size_mm": float(np.cbrt(mesh.volumes_mm3.mean())),
                    "order": order,
                }
                | errors(field.inside(grey, points, coil) - exact, exact, volumes)
                | {"target_mean": float(mean / MEASURE.value(exact[ball], volumes[ball]) - 1), "cpu_s": cpu}
            )
    return with_rates(rows)


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


def layers():
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
                {
                    "nodes": len(mesh.nodes_mm),
                    "size_mm": float(np.cbrt(mesh.volumes_mm3.mean())),
                    "order": order,
                }
                | errors((got - exact)[inside], exact[inside], mesh.volumes_mm3[inside])
            )
    return with_rates(rows)


def parents(coarse, fine_points_mm, among):
    """The tetrahedron of `coarse` (of those in `among`) that holds each point, -1 for none."""
    tree = cKDTree(coarse.barycentres_mm[among])
    corners = coarse.nodes_mm[coarse.tets[among]]
    inverse = np.linalg.inv(corners[:, 1:] - corners[:, :1])
    found = np.full(len(fine_points_mm), -1)
    _, near = tree.query(fine_points_mm, k=40)
    for column in near.T:
        shares = np.einsum("nc,nca->na", fine_points_mm - corners[column, 0], inverse[column])
        inside = (shares.min(axis=1) > -1e-9) & (shares.sum(axis=1) < 1 + 1e-9) & (found < 0)
        found[inside] = among[column[inside]]
    return found


def tried(head, region, count):
    """Placements around the target, at any angle."""
    rng, points = np.random.default_rng(0), []
    center = head.scalp.closest(region.center_mm)[0][0]
    while len(points) < count:
        point = head.scalp.closest(center + rng.uniform(-20, 20, 3))[0][0]
        points.append(Placement.on_scalp(head, point, yaw_deg=rng.uniform(-180, 180), distance_mm=8.0))
    return points


def head(count):
    """The built-in head against local refinement."""
    coarse, coil = load_head("mni152"), load_coil("figure8-70mm")
    regions = {r: Target.mni((-42, 44, 30), radius_mm=r).resolve(coarse) for r in (5.0, 10.0)}
    center, mesh = regions[5.0].center_mm, coarse.mesh
    distance = np.linalg.norm(mesh.barycentres_mm - center, axis=1)
    fine = HeadModel(
        refine(mesh, distance < REFINED_MM, REFINED_EDGE_MM), None, name="refined", space=coarse.space
    )
    log(f"refined: {len(fine.tets):,d} tetrahedra, of {len(coarse.tets):,d}")
    near = np.flatnonzero((distance < NEAR_MM + 5) & (coarse.tags == GREY))
    fine_near = np.linalg.norm(fine.mesh.barycentres_mm - center, axis=1) < NEAR_MM
    children = np.flatnonzero(fine_near & (fine.tags == GREY))
    parent = parents(mesh, fine.mesh.barycentres_mm[children], near)
    children, parent = children[parent >= 0], parent[parent >= 0]
    points, child_volumes = fine.mesh.barycentres_mm[children], fine.mesh.volumes_mm3[children]
    placements = tried(coarse, regions[5.0], count)
    values = {r: {} for r in regions}
    local = {1: [], 2: []}

    def solve(prepared, use):
        for start in range(0, count, 4):
            solved = solve_potentials(prepared, coil, placements[start : start + 4], DIDT)
            for k in solved.columns:
                use(solved, k, start + k)

    truth = {}

    def keep_truth(solved, k, i):
        truth[i] = solved.on_elements(k, children)

    solve(prepare(fine, element_order=2), keep_truth)
    log("truth solved")
    members = {r: np.isin(parent, region.elements) for r, region in regions.items()}
    for r in regions:
        values[r]["truth"] = [
            MEASURE.value(truth[i][members[r]], child_volumes[members[r]]) for i in range(count)
        ]
    first = prepare(coarse)
    corrections = EdgeCorrection(first)

    def compare(solved, k, i, order):
        field = solved.field(k, placements[i])
        if i < 5:
            difference = field.inside(parent, points, coil) - truth[i]
            local[order].append(errors(difference, truth[i], child_volumes)["l2"])
        for r, region in regions.items():
            volumes, e_field = region.volumes_mm3 * 1e-9, solved.on_elements(k, region.elements)
            values[r].setdefault(order, []).append(MEASURE.value(e_field, volumes))
            if order == 1:
                values[r].setdefault("added", []).append(_added(solved, k, i, region, e_field, volumes))

    def _added(solved, k, i, region, e_field, volumes):
        slope = MEASURE.slope(e_field, volumes) / volumes[:, None]
        column = slice(k, k + 1)
        correction = corrections.of(
            coil,
            [placements[i]],
            DIDT,
            np.ascontiguousarray(solved.potential[:, column]),
            solved.node_dadt[:, :, column],
            region.elements,
            slope[None],
        )
        change = correction.e_field[0]
        curved = MEASURE.value(e_field + change, volumes) - MEASURE.value(e_field, volumes)
        return correction.functional[0] + curved - np.einsum("nc,nc,n->", slope, change, volumes)

    solve(first, lambda solved, k, i: compare(solved, k, i, 1))
    log("first order and error bars solved")
    solve(prepare(coarse, element_order=2), lambda solved, k, i: compare(solved, k, i, 2))
    return [
        head_row(r, values[r]) | {f"local_l2_order_{o}": float(np.mean(e)) for o, e in local.items()}
        for r in regions
    ]


def head_row(radius_mm, values):
    """Statistics of one target."""
    truth, one, two, added = (np.array(values[key]) for key in ("truth", 1, 2, "added"))
    error = one - truth
    counted = abs(error) > 5e-4 * truth
    ratio = -added[counted] / error[counted]
    half = np.maximum(abs(added), FLOOR * one)
    left = one + added - truth
    return {
        "target_mm": radius_mm,
        "placements": len(truth),
        "error_1_median": float(np.median(abs(error) / truth)),
        "error_1_max": float((abs(error) / truth).max()),
        "error_2_median": float(np.median(abs(two - truth) / truth)),
        "error_2_max": float((abs(two - truth) / truth).max()),
        "corrected_median": float(np.median(abs(left) / truth)),
        "corrected_max": float((abs(left) / truth).max()),
        "counted": int(counted.sum()),
        "ratio_median": float(np.median(ratio)) if counted.any() else None,
        "ratio_within_0.5_1.5": float(np.mean((ratio > 0.5) & (ratio < 1.5))) if counted.any() else None,
        "coverage": float(np.mean(abs(left) <= half)),
        "half_width_over_error": float(np.median(half) / np.median(abs(error))),
        "closer": float(np.mean(abs(left[counted]) < abs(error[counted]))) if counted.any() else None,
    }


def markdown(rows):
    """A table of rows with the same keys."""
    names = list(rows[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join("" if v is None else f"{v:.4g}" for v in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="sphere, layers, head; all of them by default")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--placements", type=int, default=20)
    options = parser.parse_args()
    parts = {"sphere": sphere, "layers": layers, "head": lambda: head(options.placements)}
    if unknown := set(options.parts) - set(parts):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; valid: {', '.join(parts)}")
    results = {}
    for name in options.parts or parts:
        begin = time.process_time()
        results[name] = parts[name]()
        log(f"\n## {name} ({time.process_time() - begin:.0f} CPU s)\n\n{markdown(results[name])}")
    if options.json:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps({"benchmark": "validation", "parts": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
