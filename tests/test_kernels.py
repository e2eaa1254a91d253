"""Every kernel: compiled, as plain Python, and against a NumPy twin; slices make up the whole.

The kernels of `sparse.BLOCKS` are built from LLVM instructions and run compiled only.
"""

import importlib
import itertools
import pkgutil

import numpy as np
import pytest
import twins
from oracles import random_rotation
from scipy.sparse import csr_array, random_array
from scipy.spatial.transform import Rotation

import efield.kernels
from efield.analytic.shapes import box, layered_sphere
from efield.fem.assemble import assemble, geometry
from efield.kernels import (
    biot_savart,
    bounds,
    dipole,
    edge_part,
    edges,
    fem,
    harmonic,
    lattice,
    magnitude,
    normals,
    quadratic,
    recover,
    sparse,
    spline,
    topology,
    vectors,
    wire,
)
from efield.kernels import geometry as triangles
from efield.model.mesh import TetMesh
from efield.model.surface import TriSurface
from efield.solve.matrix import galerkin


def run(function, arguments):
    """Call with copies; return them and the value."""
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    value = function(*copies)
    return [a for a in copies if isinstance(a, np.ndarray)], value


def assert_same(got, expected, rtol):
    for a, b in zip(got[0], expected[0], strict=True):
        if a.dtype.kind in "iub":
            np.testing.assert_array_equal(a, b)
        else:
            scale = np.abs(b[np.isfinite(b)]).max(initial=1e-300)
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale)
    if expected[1] is not None:
        np.testing.assert_allclose(got[1], expected[1], rtol=rtol)


# --- arguments, one realistic call each


def dipole_arguments(rng):
    n = 700  # more than two blocks of points
    points = rng.uniform(-0.05, 0.05, (3, n))
    positions = rng.uniform(0.06, 0.1, (2, 9, 3))
    return 0, n, points, positions, rng.standard_normal((2, 9, 3)), np.zeros((n, 3, 2))


def wire_arguments(rng):
    starts, ends = rng.uniform(0.06, 0.1, (2, 9, 3))
    return 0, 40, rng.uniform(-0.05, 0.05, (40, 3)), starts, ends, np.zeros((40, 3))


def layered_potential_arguments(rng):
    n = 700
    points, positions = rng.uniform(-0.05, 0.05, (3, n)), rng.uniform(-0.02, 0.02, (79, 2))
    poses = np.stack([np.column_stack([random_rotation(rng), rng.uniform(0.07, 0.1, 3)]) for _ in range(2)])
    layers, heights = np.array([0, 70, 79]), np.array([-0.01, -0.006])  # one of more than a chunk
    return 0, n, points, poses, layers, heights, positions, rng.uniform(0.5, 1.5, 79), np.zeros((n, 3, 2))


def mesh_arrays(rng):
    mesh = box((2, 3, 2), (20.0, 30.0, 20.0), jitter=0.15, seed=1)
    tets = mesh.tets.copy()
    tets[::3] = tets[::3][:, [1, 0, 2, 3]]  # either orientation is accepted
    n = len(mesh.nodes)
    count = np.zeros(n, np.int64)
    twins.count_node_tets(tets, count)
    pointers = np.append(0, np.cumsum(count))
    node_tets = np.empty(tets.size, np.int32)
    twins.fill_node_tets(tets, pointers[:-1].copy(), node_tets)
    lengths = np.zeros(n, np.int64)
    twins.count_neighbours(0, n, tets, pointers, node_tets, n, lengths)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int32)
    sigma = np.empty((len(tets), 6))
    for t in range(len(tets)):
        turn = random_rotation(rng)
        tensor = turn @ np.diag([0.1, 0.3, 0.9]) @ turn.T
        sigma[t] = tensor[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
    return mesh.nodes, tets, pointers, node_tets, indptr, sigma


def count_node_tets_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    return tets, np.zeros(len(nodes), np.int64)


def fill_node_tets_arguments(rng):
    _, tets, pointers, *_ = mesh_arrays(rng)
    return tets, pointers[:-1].copy(), np.zeros(tets.size, np.int32)


def count_neighbours_arguments(rng):
    nodes, tets, pointers, node_tets, *_ = mesh_arrays(rng)
    n = len(nodes)
    return 0, n, tets, pointers, node_tets, n, np.zeros(n, np.int64)


def basis_gradients_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    return nodes, tets, 5, np.zeros((4, 3))


def gradients_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    return 0, len(tets), nodes, tets, np.zeros((len(tets), 4, 3)), np.zeros(len(tets))


def assemble_rows_arguments(rng):
    nodes, tets, pointers, node_tets, indptr, sigma = mesh_arrays(rng)
    nnz = indptr[-1]
    out = np.zeros(nnz, np.int32), np.zeros(nnz), np.zeros((nnz, 3))
    return 0, len(nodes), nodes, tets, sigma, pointers, node_tets, indptr, *out


def source_times_arguments(rng):
    arguments = assemble_rows_arguments(rng)
    twins.assemble_rows(*arguments)
    n, indptr, indices, source = arguments[1], arguments[7], arguments[8], arguments[10]
    return 0, n, indptr, indices, source, rng.standard_normal((n, 3, 5)), np.zeros((n, 5))


def element_field_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    n, m = len(nodes), len(tets)
    values = rng.standard_normal(n), rng.standard_normal((n, 3))
    return 0, m, nodes, tets, *values, rng.permutation(m), np.zeros((m, 3))


def functional_load_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    elements = np.array([3, 17, 18, 40])
    return nodes, tets, elements, rng.standard_normal((4, 3)), np.zeros(len(nodes))


def move_scaled_arguments(rng):
    y, x = blocks(rng, 2)
    return 0, 50, y, rng.standard_normal(y.shape[1]), x


def current_sources_arguments(rng):
    nodes, tets, *_, sigma = mesh_arrays(rng)
    n = len(nodes)
    elements = np.array([3, 17, 18, 40])
    weights = rng.standard_normal((3, 4, 3))
    return 1, 3, nodes, tets, sigma, rng.standard_normal((n, 3)), elements, weights, np.zeros((n, 3, 3))


def fit_patches_arguments(rng):
    nodes, tets, pointers, node_tets, *_ = mesh_arrays(rng)
    n, n_tets = len(nodes), len(tets)
    values = rng.standard_normal((n_tets, 3))
    inner = np.diff(pointers) >= 6  # fewer may be flat
    patches = pointers, node_tets, inner, np.zeros((n, 4, 3))
    return 0, n, nodes, nodes[tets].mean(axis=1), rng.uniform(1, 3, n_tets), values, *patches


def extend_fits_arguments(rng):
    nodes, tets, pointers, node_tets, *_ = mesh_arrays(rng)
    n = len(nodes)
    inner = np.arange(n) == n // 2  # so that some nodes have no inner neighbour
    poly = rng.standard_normal((n, 4, 3))
    return 0, n, nodes, tets, pointers, node_tets, inner, poly, np.empty((n, 3))


def random_csr(rng, shape, density=0.15):
    """With some rows empty."""
    matrix = random_array(shape, density=density, rng=rng, format="lil")
    matrix[::9] = 0
    return matrix.tocsr()


def galerkin_rows_arguments(rng):
    matrices = random_csr(rng, (50, 40)), random_csr(rng, (40, 60)), random_csr(rng, (60, 30))
    arrays = [array for m in matrices for array in (m.indptr, m.indices, m.data)]
    return 0, 50, *arrays, 30, np.zeros(50, np.int64)


def smoothed_rows_arguments(rng):
    a, member = random_csr(rng, (50, 50)), rng.integers(0, 12, 50, np.int32)
    return 10, 50, a.indptr, a.indices, a.data, member, rng.random(50), 12, np.zeros(50, np.int64)


def count_strong_arguments(rng):
    a = random_csr(rng, (50, 50))
    return 0, 50, a.indptr, a.indices, a.data, rng.random(50), np.zeros(50, np.int64)


def take_strong_arguments(rng):
    arguments = count_strong_arguments(rng)[:-1]
    return *arguments, np.arange(50) * 50, np.full(2500, -1, np.int32)


def absolute_row_sums_arguments(rng):
    a = random_csr(rng, (50, 40))
    return 0, 50, a.indptr, a.indices, a.data, 10, np.zeros(50)


def blocks(rng, n):
    return [rng.standard_normal((50, 3)) for _ in range(n)]


def ray_hits_arguments(rng):
    surface = layered_sphere((50.0,), (5,), 25.0)
    surface = TriSurface.of_faces(surface.nodes_mm, surface.boundary_faces)
    origins = rng.uniform(-80, 80, (40, 3))
    directions = rng.standard_normal((40, 3))
    directions[::4, 1] = 0.0  # along a wall of the cells
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    out = np.zeros(40), np.zeros(40, np.int64)
    return 0, 40, origins, directions, surface.corners_mm, *surface._touched_cells, *out


def crossings_arguments(rng):
    sphere = layered_sphere((50.0,), (5,), 25.0)
    surface = TriSurface.of_faces(sphere.nodes_mm, sphere.boundary_faces)
    points = rng.uniform(-60, 60, (60, 3))
    return 0, 60, points, surface.corners_mm, *surface._columns, np.zeros(60, bool)


def thin_arguments(rng):
    return rng.uniform(0, 1, (80, 3)), 0.04, np.zeros(80, np.int64)


def smooth_normals_arguments(rng):
    centroids, area_normals = rng.uniform(-1, 1, (2, 200, 3))
    points = rng.uniform(-1.2, 1.2, (20, 3))
    out = np.zeros((20, 3)), np.zeros((20, 3, 3))
    return 0, 20, points, centroids, area_normals, 0.9, *cells_of(centroids, 0.4), *out


def raster_heights_arguments(rng):
    surface = layered_sphere((50.0,), (5,), 25.0)
    corners = surface.nodes_mm[surface.boundary_faces] @ random_rotation(rng).T
    out = np.full((29, 31), -np.inf), np.ones((29, 31))
    return corners, -53.1, -42.3, 3.7, *out  # some of the grid, and of the sphere, lies outside the other


def keeps_off_arguments(rng):
    poses = np.array([np.column_stack([random_rotation(rng), rng.uniform(-5, 5, 3)]) for _ in range(6)])
    turn = rng.uniform(0, 6, 3)
    field = rng.standard_normal((41, 41)), rng.uniform(0.5, 1, (41, 41))
    place = np.array([-20.0, -20.0, 0.0]), 1.0
    points = rng.uniform(-8, 8, (9, 3)) + [0, 0, 9]
    asked = rng.random((6, 3)) < 0.8
    return 0, 6, poses, points, np.cos(turn), np.sin(turn), *field, *place, -2.0, asked


def tets_arguments(rng, *out):
    nodes, tets, *_ = mesh_arrays(rng)
    return 0, len(tets), nodes, tets, *(np.zeros((len(tets), *shape)) for shape in out)


def relabel_arguments(rng):
    nodes, tets, *_ = mesh_arrays(rng)
    position = rng.permutation(len(nodes)).astype(np.int32)
    return 0, len(tets), tets, position, np.zeros((len(tets), 4), np.int32), np.zeros(len(tets), np.int32)


def sort_by_count_arguments(rng):
    keys = rng.integers(0, 9, 60).astype(np.int32)
    count = np.bincount(keys, minlength=12)
    return keys, np.cumsum(count) - count, np.zeros(60, np.int64)


def take_tets_arguments(rng):
    _, tets, *_ = mesh_arrays(rng)
    return 0, len(tets), tets, rng.permutation(len(tets)), np.zeros((len(tets), 4), np.int32)


def flood_arguments(rng):
    _, tets, *_ = mesh_arrays(rng)
    tags = rng.integers(0, 2, len(tets)).astype(np.int32)
    return twins.face_neighbours(tets).astype(np.int32), tags, np.full(len(tets), -1, np.int32)


def field_of_currents_arguments(rng):
    n = 300  # more than two blocks of points, and more than one chunk of sources
    return (
        0,
        n,
        rng.uniform(1, 2, (3, n)),
        rng.uniform(-1, 0, (1100, 3)),
        rng.standard_normal((1100, 9)),
        np.zeros((n, 9)),
    )


def magnitudes_arguments(rng):
    coefficients, weights = rng.standard_normal((12, 4)), rng.uniform(0.5, 1.5, 150)
    return 0, 12, coefficients, rng.standard_normal((4, 3, 150)), weights / weights.sum(), np.zeros(12)


def potentials_arguments(rng):
    points = rng.uniform(-1, 1, (3, 300))
    return 0, 300, points, rng.uniform(-1, 1, (40, 3)), rng.standard_normal((40, 9)), 0.04, np.zeros((300, 9))


def field_values_arguments(rng):
    coefficients = rng.standard_normal((9, 8, 7, 16))
    origin = np.array([-0.04, -0.035, -0.03])
    points = rng.uniform(origin + 0.01, origin + np.array([0.069, 0.059, 0.049]), (40, 3))
    return 0, 40, coefficients, origin, 0.01, points, np.zeros((40, 16))


def coil_arguments(rng, *out):
    coefficients = rng.standard_normal((9, 8, 7, 16))
    poses = np.concatenate(
        [np.array([random_rotation(rng) for _ in range(4)]), rng.uniform(-0.01, 0.01, (4, 3, 1))], axis=2
    )
    positions, moments = rng.uniform(-0.006, 0.006, (5, 3)), rng.standard_normal((5, 3))
    origin = np.array([-0.04, -0.035, -0.03])
    return 0, 4, coefficients, origin, 0.01, positions, moments, poses, *(np.zeros((4, *o)) for o in out)


def frame_values_arguments(rng):
    begin, end, coefficients, origin, step, positions, _, poses, out = coil_arguments(rng, (3, 5, 3))
    return begin, end, coefficients, origin, step, positions, poses, out


def cells_of(centroids, size):
    """Centroids sorted into cubic cells, as the kernels want them."""
    low = centroids.min(axis=0)
    index = np.floor((centroids - low) / size).astype(np.int64)
    shape = index.max(axis=0) + 1
    flat = (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]
    starts = np.append(0, np.cumsum(np.bincount(flat, minlength=shape.prod())))
    return low, size, shape, starts, np.argsort(flat, kind="stable")


def closest_points_arguments(rng):
    corners = rng.standard_normal((60, 3, 3))
    points = 3 * rng.standard_normal((20, 3))
    centroids = corners.mean(axis=1)
    radius = np.linalg.norm(corners - centroids[:, None], axis=2).max()
    reach = np.linalg.norm(points[:, None] - centroids, axis=2).min(axis=1) + radius
    out = np.zeros((20, 3)), np.zeros(20, np.int64)
    return 0, 20, points, reach, corners, *cells_of(centroids, 0.7), *out


def tet_products_arguments(rng):
    m, n = 150, 400
    arrays = rng.standard_normal((6, m)), rng.integers(0, 35, (8, 10)), rng.integers(-2, 3, (8, 4, 3))
    products, places, shares = arrays[0], arrays[1], arrays[2].astype(float)
    out = np.zeros((35, m))
    return 0, m, rng.integers(0, n, (35, m)), products, places, shares, rng.standard_normal(n), out


def sums_of_places_arguments(rng):
    pointers = np.cumsum([0, *rng.integers(1, 5, 30)])
    return 0, 30, pointers, rng.integers(0, 50, pointers[-1]), rng.standard_normal(50), np.zeros(30)


CASES = {
    dipole.vector_potential: dipole_arguments,
    dipole.layered_potential: layered_potential_arguments,
    fem.count_node_tets: count_node_tets_arguments,
    fem.fill_node_tets: fill_node_tets_arguments,
    fem.count_neighbours: count_neighbours_arguments,
    fem.basis_gradients: basis_gradients_arguments,
    fem.gradients: gradients_arguments,
    fem.six_components: lambda rng: (0, 30, rng.random((30, 9)), rng.permutation(30), np.zeros((30, 6))),
    fem.assemble_rows: assemble_rows_arguments,
    fem.source_times: source_times_arguments,
    fem.element_field: element_field_arguments,
    fem.functional_load: functional_load_arguments,
    fem.current_sources: current_sources_arguments,
    recover.fit_patches: fit_patches_arguments,
    recover.extend_fits: extend_fits_arguments,
    sparse.galerkin_rows: galerkin_rows_arguments,
    sparse.smoothed_rows: smoothed_rows_arguments,
    sparse.count_strong: count_strong_arguments,
    sparse.take_strong: take_strong_arguments,
    sparse.absolute_row_sums: absolute_row_sums_arguments,
    sparse.scale_rows: lambda rng: (0, 50, rng.standard_normal(50), *blocks(rng, 2)),
    sparse.add_scaled_rows: lambda rng: (0, 50, rng.standard_normal(50), *blocks(rng, 2)),
    sparse.scale_columns: lambda rng: (0, 50, *blocks(rng, 1), rng.standard_normal(3), *blocks(rng, 1)),
    sparse.move_scaled: move_scaled_arguments,
    sparse.update_direction: lambda rng: (0, 50, *blocks(rng, 1), rng.standard_normal(3), *blocks(rng, 1)),
    sparse.update_solution: lambda rng: (0, 50, rng.standard_normal(3), *blocks(rng, 4)),
    sparse.partial_dots: lambda rng: (0, 3, *rng.standard_normal((2, 10000, 3)), np.zeros((3, 3))),
    triangles.ray_hits: ray_hits_arguments,
    triangles.crossings: crossings_arguments,
    triangles.thin: thin_arguments,
    triangles.smooth_normals: smooth_normals_arguments,
    triangles.closest_points: closest_points_arguments,
    triangles.raster_heights: raster_heights_arguments,
    triangles.keeps_off: keeps_off_arguments,
    triangles.closest_on_triangle: lambda rng: (*rng.standard_normal(3), rng.standard_normal((3, 3))),
    topology.signed_volumes: lambda rng: tets_arguments(rng, ()),
    topology.barycentres: lambda rng: tets_arguments(rng, (3,)),
    topology.shapes: lambda rng: tets_arguments(rng, (), ()),
    topology.relabel: relabel_arguments,
    topology.sort_by_count: sort_by_count_arguments,
    topology.take_tets: take_tets_arguments,
    topology.flood: flood_arguments,
    biot_savart.field_of_currents: field_of_currents_arguments,
    harmonic.potentials: potentials_arguments,
    harmonic.inverse_distances: lambda rng: (0, 20, *rng.uniform(-1, 1, (2, 20, 3)), np.zeros((20, 20))),
    lattice.tet_products: tet_products_arguments,
    lattice.sums_of_places: sums_of_places_arguments,
    lattice.fill_places: lambda rng: (
        (numbers := rng.integers(0, 9, 60)),
        np.cumsum(np.bincount(numbers, minlength=9)) - np.bincount(numbers, minlength=9),
        np.zeros(60, np.int32),
    ),
    vectors.advance: lambda rng: (0, 3, 0.7, *rng.standard_normal((6, 10000)), np.zeros(3)),
    vectors.update_direction: lambda rng: (0, 50, rng.standard_normal(50), 0.3, rng.standard_normal(50)),
    vectors.dot: lambda rng: (0, 3, *rng.standard_normal((2, 10000)), np.zeros(3)),
    wire.segment_potential: wire_arguments,
    spline.coil_values: lambda rng: coil_arguments(rng, (3,)),
    spline.coil_gradients: lambda rng: coil_arguments(rng, (3,), (3, 6)),
    spline.field_values: field_values_arguments,
    spline.frame_values: frame_values_arguments,
}
"""Kernel to a realistic call of it. The twin is the function of the same name in twins.py."""

COMPILED_ONLY = {spline.coil_values, spline.coil_gradients, spline.field_values, spline.frame_values}
"""Kernels of LLVM instructions, which plain Python cannot run."""

TOGETHER = {topology.count_parts, topology.fill_parts, topology.match_parts}
"""Stages of one hash join, tested as a whole below."""

BOUNDS = {normals.normal_bounds, bounds.cell_bounds}
"""Bounds rather than values: held against sampled extremes in test_certificate."""

SECOND_ORDER = {
    value
    for module in (edges, edge_part, quadratic)
    for value in vars(module).values()
    if hasattr(value, "py_func")
}
"""Held against quadrature, element by element, or against the assembled rows in test_second_order."""


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_every_kernel_is_here():
    found = {}
    for module in pkgutil.iter_modules(efield.kernels.__path__, "efield.kernels."):
        for value in vars(importlib.import_module(module.name)).values():
            if hasattr(value, "py_func") and not value.__name__.startswith("_"):
                found[value] = f"{module.name}.{value.__name__}"
    missing = [
        name
        for kernel, name in found.items()
        if kernel not in {*CASES, *SINGLE, *TOGETHER, *BOUNDS, *SECOND_ORDER}
    ]
    assert not missing, f"kernels without a twin: {missing}"


@pytest.mark.parametrize("kernel", CASES, ids=lambda k: k.__name__)
def test_kernel_equals_its_twin(kernel, rng):
    arguments = CASES[kernel](rng)
    expected = run(getattr(twins, kernel.__name__), arguments)
    assert_same(run(kernel, arguments), expected, 1e-12)
    if kernel not in COMPILED_ONLY:
        assert_same(run(kernel.py_func, arguments), expected, 1e-12)


CHUNKED = [k for k in CASES if k.py_func.__code__.co_varnames[:2] == ("begin", "end")]


@pytest.mark.parametrize("kernel", CHUNKED, ids=lambda k: k.__name__)
def test_slices_make_up_the_whole_bit_for_bit(kernel, rng):
    begin, end, *rest = CASES[kernel](rng)
    whole, _ = run(kernel, (begin, end, *rest))
    pieces = [a.copy() if isinstance(a, np.ndarray) else a for a in rest]
    edges = [begin, begin + 1, (begin + end) // 2, end]
    for first, last in itertools.pairwise(edges):
        kernel(first, last, *pieces)
    for a, b in zip(whole, [a for a in pieces if isinstance(a, np.ndarray)], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compiled", [True, False])
def test_faces_are_matched(compiled, rng, monkeypatch):
    _, tets, *_ = mesh_arrays(rng)
    shared = np.delete(tets[0], np.flatnonzero(twins.face_neighbours(tets)[0] >= 0)[0])
    third = [[*shared, tets.max() + 1]]  # a third tetrahedron at that face
    tets = np.concatenate([tets, third]).astype(np.int32)
    monkeypatch.setenv("EFIELD_NUM_THREADS", "1")
    if not compiled:
        for kernel in (*TOGETHER, topology._scatter_bits):
            monkeypatch.setattr(topology, kernel.__name__, kernel.py_func)
    nodes = rng.uniform(0, 1, (tets.max() + 1, 3))
    with np.errstate(over="ignore"):  # hashes wrap
        got = TetMesh(nodes, tets, np.ones(len(tets))).face_neighbours
    expected = twins.face_neighbours(tets)
    assert -2 in expected
    np.testing.assert_array_equal(got, expected)


def test_coil_gradients_are_the_derivatives(rng):
    begin, end, *fixed, poses, out, gradient = coil_arguments(rng, (3,), (3, 6))
    spline.coil_gradients(begin, end, *fixed, poses, out, gradient)
    h = 1e-7
    for axis in range(6):
        values = []
        for step in (h, -h):
            moved = poses.copy()
            if axis < 3:
                moved[:, axis, 3] += step
            else:
                moved[:, :, :3] = (
                    Rotation.from_rotvec(step * np.eye(3)[axis - 3]).as_matrix() @ moved[:, :, :3]
                )
            value = np.zeros((4, 3))
            spline.coil_values(begin, end, *fixed, moved, value)
            values.append(value)
        expected = (values[0] - values[1]) / (2 * h)
        scale = np.abs(gradient[:, :, axis]).max()
        np.testing.assert_allclose(gradient[:, :, axis], expected, atol=1e-6 * scale)


@pytest.mark.parametrize("width", sparse.BLOCKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_with_blocks_equal_scipy(width, dtype, rng):
    matrix = random_csr(rng, (60, 60))
    x, b, y = rng.standard_normal((3, 60, width)).astype(dtype)
    weight, data = rng.standard_normal(60).astype(dtype), matrix.data.astype(dtype)
    index = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    product = csr_array((data, *index[::-1]), shape=(60, 60)).astype(np.float64) @ x
    expected = {
        "product": ((), product),
        "residual": ((b,), b - product),
        "add_product": ((), y + product),
        "jacobi": ((b, weight), x + weight[:, None] * (b - product)),
    }
    for name, (inputs, wanted) in expected.items():
        out, kernel = y.copy(), getattr(sparse.BLOCKS[width], name)
        for begin, end in itertools.pairwise((0, 1, 33, 60)):  # slices make up the whole
            kernel(begin, end, *index, data, x, *inputs, out)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, wanted, rtol=0, atol=20 * np.finfo(dtype).eps * np.abs(wanted).max())


@pytest.mark.parametrize("shape", [(50, 40, 30), (5000, 300, 200)])  # one thread, and slices
def test_galerkin_product_equals_scipy(shape, rng, monkeypatch):
    monkeypatch.setenv("EFIELD_NUM_THREADS", "2")
    rows, inner, columns = shape
    r, a, p = (random_csr(rng, s, 0.05) for s in ((rows, inner), (inner, inner), (inner, columns)))
    got, expected = galerkin(r, a, p), (r @ a @ p).tocsr()
    assert got.shape == expected.shape and got.dtype == np.float64
    np.testing.assert_array_equal(got.indptr, expected.indptr)
    np.testing.assert_allclose(got.toarray(), expected.toarray(), rtol=1e-13, atol=1e-14)


SINGLE = {
    magnitude.mean_magnitudes: magnitudes_arguments,
    magnitude.percentiles: lambda rng: (*magnitudes_arguments(rng)[:-1], 0.9, np.zeros(12)),
    dipole.vector_potential: dipole_arguments,
    dipole.layered_potential: layered_potential_arguments,
    biot_savart.field_of_currents: field_of_currents_arguments,
    harmonic.potentials: potentials_arguments,
}


ADDED_UP_WIDE = {biot_savart.field_of_currents, magnitude.mean_magnitudes, magnitude.percentiles}
"""Kernels whose output is float64."""


def as_type(dtype, value):
    """A float or an array of floats in another precision; anything else as it is."""
    return dtype(value) if getattr(value, "dtype", np.asarray(value).dtype).kind == "f" else value


@pytest.mark.parametrize("kernel", SINGLE, ids=lambda k: k.__name__)
def test_sums_in_float32(kernel, rng):
    """Of the order of the rounding of one term, however many terms there are."""
    arguments = [as_type(np.float32, a) for a in SINGLE[kernel](rng)]
    wide = [as_type(np.float64, a) for a in arguments]
    if kernel in ADDED_UP_WIDE:
        arguments[-1] = arguments[-1].astype(np.float64)  # its sums are added up in float64
    expected = run(getattr(twins, kernel.__name__), wide)
    assert_same(run(kernel, arguments), expected, 2e-6)


def test_numbers_as_tensors(rng):
    arguments = 0, 30, rng.random((30, 1)), rng.permutation(30), np.zeros((30, 6))
    assert_same(run(fem.six_components, arguments), run(twins.six_components, arguments), 1e-15)


@pytest.mark.parametrize("width", [1, 3, 4, 16])
def test_float32_blocks(width, rng):
    alpha = rng.standard_normal(width).astype(np.float32)
    p, q, x, r = rng.standard_normal((4, 50, width)).astype(np.float32)
    arguments = (0, 50, alpha, p, q, x, r)
    assert_same(run(sparse.update_solution, arguments), run(twins.update_solution, arguments), 1e-6)


def test_stiffness_is_symmetric_with_constants_as_null_space(rng):
    mesh = layered_sphere((50.0, 60.0), (1, 5), 15.0)
    turn = random_rotation(rng)
    tensor = np.broadcast_to(turn @ np.diag([0.1, 0.3, 0.9]) @ turn.T, (len(mesh.tets), 3, 3))
    geo = geometry(mesh, np.ascontiguousarray(tensor))
    operators = assemble(geo)
    n = len(geo.nodes)
    dense = np.zeros((n, n))
    rows = np.repeat(np.arange(n), np.diff(operators.indptr))
    dense[rows, operators.indices] = operators.stiffness
    scale = np.abs(dense).max()
    np.testing.assert_allclose(dense, dense.T, atol=1e-14 * scale)
    np.testing.assert_allclose(dense.sum(axis=1), 0, atol=1e-13 * scale)
    eigenvalues = np.linalg.eigvalsh(dense)
    assert eigenvalues[0] > -1e-12 * scale and eigenvalues[1] > 1e-6 * scale
    assert np.all(np.diff(operators.indices)[np.diff(rows) == 0] > 0)  # columns ascend within a row
    # A constant dA/dt equals the gradient of a linear potential: b = K (-c.x).
    constant = rng.standard_normal(3)
    load = np.zeros((n, 1))
    dadt = np.broadcast_to(constant[:, None], (n, 3, 1)).copy()
    fem.source_times(0, n, operators.indptr, operators.indices, operators.source, dadt, load)
    np.testing.assert_allclose(load[:, 0], -dense @ (geo.nodes @ constant), atol=1e-12 * np.abs(load).max())
