"""Target values and fields of a head against second order on the same head, refined around the target.

Like is compared with like: a target value is the volume-weighted mean, over the target's tetrahedra, of
|E| of their mean fields. So the truth's fields are averaged over the tetrahedra that the refinement made of
each one (its children) before anything is compared. The mean of |E| over the children is larger, for |E| of
a mean never exceeds the mean of |E|; by how much is stated beside.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from refine_head import refine

from efield.adjoint.correction import Corrections
from efield.forward import solve_potentials
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.search.discretization import FLOOR, changes, half_width
from efield.search.measures import MeanMagnitude
from efield.solve.prepared import prepare
from efield.tissues import TISSUE_TAGS

DIDT = 1e6
NEAR_MM = 20.0
"""The elementwise error is taken within this distance of the target."""

TRUTH = ((48.0, 2.6), (25.0, 1.6))
FINER = ((60.0, 2.6), (25.0, 1.2))
"""Within these distances of the target (mm) no edge is longer than that (mm): of the truth, and of the mesh
that it is checked against, finer and wider."""

CUT_TRUTH = ((48.0, 2.2), (25.0, 1.2))
CUT_FINER = ((60.0, 2.2), (25.0, 1.0))
"""The same for a head that was cut before."""

CUT = (1, 2, 3)
"""White and grey matter and CSF."""

AT_ONCE = 4
COUNTED = 5e-4
"""Relative first-order error from which the error bar is judged."""

MEASURE = MeanMagnitude()


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined head and what it says of the tetrahedra of the coarse one.

    Attributes
    ----------
    head : HeadModel
    children : (n,) int array
        Tetrahedra that some of the coarse ones were cut into.
    row : (n,) int array
        Which of those each came from.
    averages : (m, n) sparse array
        Volume-weighted means over the children of each.
    """

    head: HeadModel
    children: np.ndarray
    row: np.ndarray
    averages: scipy.sparse.csr_array

    @classmethod
    def around(cls, coarse, center_mm, steps, near):
        """Refined around a point; `near` are the tetrahedra, ascending, that it is to be compared on."""
        mesh, fine = coarse.mesh, _refined(coarse.mesh, center_mm, steps)
        parent = fine.tags
        children = np.flatnonzero(np.isin(parent, near))
        row = np.searchsorted(near, parent[children])
        volumes = fine.volumes_mm3[children]
        covered = np.bincount(row, volumes, len(near))
        np.testing.assert_allclose(covered, mesh.volumes_mm3[near], rtol=1e-9)
        entries = (volumes / covered[row], (row, np.arange(len(row))))
        return cls(
            _with_tissues(coarse, fine),
            children,
            row,
            scipy.sparse.csr_array(entries, shape=(len(near), len(row))),
        )


def tried(head, center_mm, count):
    """Placements over the target, at any angle."""
    rng, points = np.random.default_rng(0), []
    center = head.scalp.closest(center_mm)[0][0]
    while len(points) < count:
        point = head.scalp.closest(center + rng.uniform(-20, 20, 3))[0][0]
        points.append(Placement.on_scalp(head, point, yaw_deg=rng.uniform(-180, 180), distance_mm=8.0))
    return points


def cut(head, edge_mm):
    """A head whose brain and CSF are bisected until no edge is longer; no node moves."""
    return _with_tissues(head, refine(_numbered(head.mesh), np.isin(head.tags, CUT), edge_mm))


def mean_edge(mesh, elements):
    """Mean edge length of some tetrahedra, mm."""
    corners = mesh.nodes_mm[mesh.tets[elements]]
    a, b = np.triu_indices(4, 1)
    return float(np.linalg.norm(corners[:, a] - corners[:, b], axis=2).mean())


def refined_head(head, center_mm, steps):
    """A head refined around a point, see `TRUTH`."""
    return _with_tissues(head, _refined(head.mesh, center_mm, steps))


def _refined(mesh, center_mm, steps):
    """The numbered mesh refined around a point."""
    fine = _numbered(mesh)
    for radius_mm, edge_mm in steps:
        inside = np.linalg.norm(fine.barycentres_mm - center_mm, axis=1) < radius_mm
        fine = refine(fine, inside, edge_mm)
    return fine


def _numbered(mesh):
    """The mesh with its tetrahedra's numbers for tags: children take their parent's."""
    return TetMesh(mesh.nodes_mm, mesh.tets, np.arange(len(mesh.tets)))


def _with_tissues(head, fine):
    """The head on what was made of its numbered mesh."""
    mesh = TetMesh(fine.nodes_mm, fine.tets, head.tags[fine.tags])
    return HeadModel(mesh, head.conductivity[fine.tags], space=head.space)


def against_refinement(coarse, target, count, log, steps=TRUTH, finer_steps=FINER):
    """Rows, one a target radius, of a head's errors.

    Parameters
    ----------
    coarse : HeadModel
    target : callable
        The target of a radius in mm.
    count : int
        Placements.
    log : callable
    steps, finer_steps : sequence of (float, float)
        As `TRUTH` and `FINER`.
    """
    coil = load_coil("figure8-70mm")
    regions = {r: target(r).resolve(coarse) for r in (5.0, 10.0)}
    center, mesh = regions[5.0].center_mm, coarse.mesh
    distance = np.linalg.norm(mesh.barycentres_mm - center, axis=1)
    near = np.flatnonzero((distance < NEAR_MM) & (coarse.tags == TISSUE_TAGS["grey_matter"]))
    volumes = mesh.volumes_mm3[near]
    rows_of = {r: np.searchsorted(near, region.elements) for r, region in regions.items()}
    for r, region in regions.items():
        np.testing.assert_array_equal(near[rows_of[r]], region.elements)
    placements = tried(coarse, center, count)

    def solve(prepared, count, use):
        for start in range(0, count, AT_ONCE):
            solved = solve_potentials(prepared, coil, placements[start : start + AT_ONCE], DIDT)
            use(solved, range(start, start + len(solved.columns)))

    def value(r, e_field):
        return MEASURE.value(e_field[rows_of[r]], volumes[rows_of[r]])

    def true_fields(steps, count):
        """Children's and parents' fields of the first placements."""
        fine = Refined.around(coarse, center, steps, near)
        log(f"(mm, longest edge) {steps}: {len(fine.head.tets):,d} tetrahedra, of {len(coarse.tets):,d}")
        fields = []
        solve(
            prepare(fine.head, element_order=2),
            count,
            lambda solved, _: fields.extend(solved.on_elements(k, fine.children) for k in solved.columns),
        )
        return fine, fields, [fine.averages @ e_field for e_field in fields]

    fine, of_children, truth = true_fields(steps, count)
    _, _, finer = true_fields(finer_steps, min(count, AT_ONCE))
    log("truth solved")
    values = {r: {"truth": [value(r, e_field) for e_field in truth]} for r in regions}
    for r in regions:
        values[r]["finer"] = [value(r, e_field) for e_field in finer]
        some = np.isin(fine.row, rows_of[r])
        weights = fine.head.mesh.volumes_mm3[fine.children[some]]
        values[r]["children"] = [MEASURE.value(e_field[some], weights) for e_field in of_children]
    local = {"finer": [_l2(a - b, b, volumes) for a, b in zip(finer, truth, strict=False)]}
    del of_children, finer, fine

    def compare(order):
        prepared = prepare(coarse, element_order=order)
        corrections = {r: Corrections(prepared, region.elements) for r, region in regions.items()}

        def use(solved, numbers):
            for k, i in enumerate(numbers):
                e_field = solved.on_elements(k, near)
                local.setdefault(order, []).append(_l2(e_field - truth[i], truth[i], volumes))
                for r in regions:
                    values[r].setdefault(order, []).append(value(r, e_field))
            poses = [placements[i] for i in numbers]
            for r, region in regions.items():
                steps = _corrections(corrections[r], coil, poses, solved, region)
                values[r].setdefault(f"steps_{order}", []).extend(steps)

        solve(prepared, count, use)
        log(f"order {order} and its error bars solved")

    compare(1)
    compare(2)
    common = {"tets": len(mesh.tets), "grey_edge_mm": mean_edge(mesh, near)} | _local_rows(local)
    return [statistics(r, order, values[r]) | common for r in regions for order in (1, 2)]


def _l2(difference, exact, volumes):
    return float(np.sqrt(volumes @ np.sum(difference**2, axis=1) / (volumes @ np.sum(exact**2, axis=1))))


def _local_rows(local):
    return {
        "elementwise_l2_1": float(np.mean(local[1])),
        "elementwise_l2_2": float(np.mean(local[2])),
        "elementwise_l2_2_max": float(np.max(local[2])),
        "elementwise_l2_of_the_truth": float(np.mean(local["finer"])),
    }


def _corrections(corrections, coil, placements, solved, region):
    """What the steps of the error bar add to the mean |E| of each placement."""
    volumes = region.volumes_mm3 * 1e-9
    e_fields = [solved.on_elements(k, region.elements) for k in solved.columns]
    slopes = np.stack([MEASURE.slope(e_field, volumes) / volumes[:, None] for e_field in e_fields])
    potential, dadt = np.ascontiguousarray(solved.potential), np.ascontiguousarray(solved.node_dadt)
    correction = corrections.of(coil, placements, DIDT, potential, dadt, slopes)
    for linear, steps, e_field, slope in zip(
        correction.functional, correction.e_field, e_fields, slopes, strict=True
    ):
        yield changes(MEASURE.value, slope, e_field, volumes, linear, steps)


def statistics(radius_mm, order, values):
    """What one target shows at one order; errors relative to the truth, of mean |E|.

    ``least_half_width`` is the share of the value that half-widths have to be at least, so that 90 % of
    them hold the truth.
    """
    truth, got, steps = (np.array(values[key]) for key in ("truth", order, f"steps_{order}"))
    added = steps[:, -1]
    error, left = got - truth, got + added - truth
    counted = abs(error) > COUNTED * truth
    ratio = -added[counted] / error[counted]
    half = np.array([half_width(*one) for one in zip(got, steps, strict=True)])
    finer = np.array(values["finer"])
    missed = np.where((abs(left) <= half) & (half > FLOOR * got), 0.0, abs(left) / got)
    return {
        "target_mm": radius_mm,
        "order": order,
        "placements": len(truth),
        "error_median": float(np.median(abs(error) / truth)),
        "error_max": float((abs(error) / truth).max()),
        "truth_against_finer_max": float((abs(finer / truth[: len(finer)] - 1)).max()),
        "children_over_parents_median": float(np.median(np.array(values["children"]) / truth - 1)),
        "corrected_median": float(np.median(abs(left) / truth)),
        "corrected_max": float((abs(left) / truth).max()),
        "counted": int(counted.sum()),
        "ratio_median": float(np.median(ratio)) if counted.any() else None,
        "ratio_within_0.5_1.5": float(np.mean((ratio > 0.5) & (ratio < 1.5))) if counted.any() else None,
        "closer": float(np.mean(abs(left[counted]) < abs(error[counted]))) if counted.any() else None,
        "coverage": float(np.mean(abs(left) <= half)),
        "half_width_over_error": float(np.median(half) / np.median(abs(error))),
        "least_half_width": float(np.quantile(missed, 0.9, method="inverted_cdf")),
        "each_relative": {"error": (error / truth).tolist(), "added": (added / truth).tolist()},
    }
