"""Second-order elements against quadrature, polynomials and closed forms."""

import gc
import itertools
import pickle
import weakref

import numpy as np
import pytest
from small_heads import QUICK, few_dipoles, mni_small, over_the_target, small_cube

import efield
from efield.adjoint.current import adjoint_currents, lumped, mean_field_weights
from efield.analytic.shapes import box, random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.errors import EfieldError, PlacementError
from efield.fem.edge_part import EdgePart
from efield.fem.source import dipoles_in_head, element_field
from efield.forward import simulate
from efield.kernels import edge_part as edge_part_kernel
from efield.kernels import edges as edge_kernel
from efield.kernels import quadratic
from efield.model.head import HeadModel
from efield.model.order import Edges
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.measures import MeanMagnitude
from efield.solve.prepared import prepare

PAIRS = list(itertools.combinations(range(4), 2))
RADII_MM = (60.0, 75.0, 90.0)


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def quadrature():
    """Points (barycentric) and weights of Gauss-Legendre products on a tetrahedron, exact to degree 6."""
    x, w = np.polynomial.legendre.leggauss(5)
    x, w = 0.5 * (x + 1), 0.5 * w
    points, weights = [], []
    for (a, wa), (b, wb), (c, wc) in itertools.product(zip(x, w, strict=True), repeat=3):
        r, s, t = a, b * (1 - a), c * (1 - a) * (1 - b)
        points.append((1 - r - s - t, r, s, t))
        weights.append(6 * wa * wb * wc * (1 - a) ** 2 * (1 - b))
    return np.array(points), np.array(weights)


def nodal(shares):
    """The ten nodal functions at barycentric coordinates (n, 4)."""
    ends = [4 * shares[:, a] * shares[:, b] for a, b in PAIRS]
    return np.stack([*(shares * (2 * shares - 1)).T, *ends], axis=1)


class Twin:
    """Everything element by element and by quadrature, from the definition."""

    def __init__(self, prepared):
        geo = prepared.geometry
        self.n = len(geo.nodes)
        pairs = sorted({tuple(sorted((t[a], t[b]))) for t in geo.tets for a, b in PAIRS})
        self.number = {pair: self.n + k for k, pair in enumerate(pairs)}
        self.size = self.n + len(pairs)
        self.shares, self.weights = quadrature()
        self.geo = geo

    def elements(self):
        """Unknowns, volume, sigma, gradients (points, 10, 3) of the hierarchical functions."""
        xx, yy, zz, xy, xz, yz = range(6)
        for tet, s in zip(self.geo.tets, self.geo.sigma, strict=True):
            corners = self.geo.nodes[tet]
            volume = abs(np.linalg.det(corners[1:] - corners[0])) / 6
            grad = np.linalg.inv(np.vstack([np.ones(4), corners.T]))[:, 1:]
            sigma = s[[[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]]
            unknowns = [*tet, *(self.number[tuple(sorted((tet[a], tet[b])))] for a, b in PAIRS)]
            flat = np.broadcast_to(grad, (len(self.shares), 4, 3))
            bent = [4 * (self.shares[:, [a]] * grad[b] + self.shares[:, [b]] * grad[a]) for a, b in PAIRS]
            yield unknowns, volume, sigma, np.concatenate([flat, np.stack(bent, axis=1)], axis=1)

    def stiffness(self):
        K = np.zeros((self.size, self.size))
        for unknowns, volume, sigma, grad in self.elements():
            local = volume * np.einsum("p,pic,cd,pjd->ij", self.weights, grad, sigma, grad)
            K[np.ix_(unknowns, unknowns)] += local
        return K

    def load(self, dadt):
        out = np.zeros(self.size)
        for unknowns, volume, sigma, grad in self.elements():
            field = nodal(self.shares) @ dadt[unknowns]
            out[unknowns] -= volume * np.einsum("p,pic,cd,pd->i", self.weights, grad, sigma, field)
        return out

    def mean_field(self, v, dadt):
        rows = []
        for unknowns, _, _, grad in self.elements():
            rows.append(
                -self.weights
                @ (nodal(self.shares) @ dadt[unknowns] + np.einsum("pic,i->pc", grad, v[unknowns]))
            )
        return np.array(rows)

    def currents(self, psi, densities):
        out = np.zeros((self.size, 3))
        for (unknowns, volume, sigma, grad), w in zip(self.elements(), densities, strict=True):
            current = w - np.einsum("pic,i,dc->pd", grad, psi[unknowns], sigma)
            out[unknowns] += volume * np.einsum("p,pn,pd->nd", self.weights, nodal(self.shares), current)
        return out


def dense(prepared):
    n = len(prepared.nodes)
    eye, out = np.eye(n), np.empty((n, n))
    for k in range(n):
        column = np.empty((n, 1))
        prepared.stiffness.times(np.ascontiguousarray(eye[:, [k]]), column)
        out[:, k] = column[:, 0]
    return out


def test_edges_are_all_different_pairs_in_order(cube):
    mesh = cube.head.mesh.ordered
    ends = np.sort(mesh.tets[:, PAIRS], axis=2)
    np.testing.assert_array_equal(mesh.edges.ends, np.unique(ends.reshape(-1, 2), axis=0))
    np.testing.assert_array_equal(mesh.edges.ends[mesh.edges.of_tets], ends)


def test_system_equals_quadrature_element_by_element(cube):
    twin = Twin(cube)
    expected, K = twin.stiffness(), dense(cube)
    assert abs(K - expected).max() < 1e-13 * abs(expected).max()
    assert abs(K - K.T).max() < 1e-15 * abs(K).max()
    constant = np.r_[np.ones(twin.n), np.zeros(twin.size - twin.n)]
    assert abs(K @ constant).max() < 1e-14 * abs(K).max()
    values = np.linalg.eigvalsh(expected)
    assert values[1] > 1e-6 * values[-1]  # nothing else is in the null space
    b = np.random.default_rng(0).standard_normal((twin.size, 1))
    residual = np.empty_like(b)
    cube.stiffness.residual(b, b, residual)
    np.testing.assert_allclose(residual, b - expected @ b, atol=1e-12 * abs(expected).max())


def test_source_field_and_currents_equal_quadrature(cube):
    rng, twin = np.random.default_rng(1), Twin(cube)
    dadt, v = rng.standard_normal((twin.size, 3, 2)), rng.standard_normal(twin.size)
    load = cube.source_load(dadt)
    for k in range(2):
        expected = twin.load(dadt[:, :, k])
        np.testing.assert_allclose(load[:, k], expected, atol=1e-13 * abs(expected).max())
    order = cube.geometry.tet_order
    got = cube.element_field(v, dadt[:, :, 0], order)
    expected = twin.mean_field(v, dadt[:, :, 0])
    np.testing.assert_allclose(got, expected, atol=1e-12 * abs(expected).max())
    potentials = np.column_stack([v, rng.standard_normal(twin.size)])
    densities = rng.standard_normal((2, len(order), 3))
    got = cube.elements.current_sources(potentials, np.arange(len(order)), densities)
    for k in range(2):
        expected = twin.currents(potentials[:, k], densities[k])
        np.testing.assert_allclose(got[:, k], expected, atol=1e-13 * abs(expected).max())


@pytest.mark.parametrize("degree", [1, 2])
def test_polynomials_are_solved_exactly(cube, degree):
    """Where dA/dt = -grad p, the solution is v = p and E = 0, whatever the conductivity."""
    rng = np.random.default_rng(degree)
    linear, bent = rng.standard_normal(3), rng.standard_normal((3, 3))
    bent = 0.0 * bent if degree == 1 else (bent + bent.T) / 0.06
    x = cube.nodes
    p = x @ linear + 0.5 * np.einsum("nc,cd,nd->n", x, bent, x)
    dadt = -(linear + x @ bent)
    solution = cube.solve(cube.source_load(np.ascontiguousarray(dadt[:, :, None])), rtol=1e-11).x[:, 0]
    n, ends = len(cube.geometry.nodes), cube.elements.edges.ends
    expected = np.r_[p[:n], p[n:] - 0.5 * (p[ends[:, 0]] + p[ends[:, 1]])]
    difference = solution - expected
    difference[:n] -= difference[:n].mean()
    assert abs(difference).max() < 1e-9 * np.ptp(p)
    e_field = cube.element_field(solution, dadt, np.arange(len(cube.head.tets)))
    assert abs(e_field).max() < 1e-8 * abs(dadt).max()


def test_quadratic_potentials_carry_no_source_inside():
    """For one conductivity K p vanishes inside where p is harmonic: the current is continuous."""
    mesh = box(3, 60.0, jitter=0.15, seed=3)
    prepared = prepare(HeadModel(mesh, np.full(len(mesh.tets), 0.3)), element_order=2)
    x = prepared.nodes / 0.06
    p = x[:, 0] ** 2 - x[:, 1] ** 2 + 3 * x[:, 0] * x[:, 2] - x[:, 1]
    n, ends = len(prepared.geometry.nodes), prepared.elements.edges.ends
    v = np.r_[p[:n], p[n:] - 0.5 * (p[ends[:, 0]] + p[ends[:, 1]])][:, None]
    out = np.empty_like(v)
    prepared.stiffness.times(v, out)
    inside = ((x > 1e-9) & (x < 1 - 1e-9)).all(axis=1)
    assert abs(out[inside]).max() < 1e-13 * abs(out).max()


def pose():
    outward = np.array([0.3, -0.5, 0.81])
    outward /= np.linalg.norm(outward)
    x = np.cross([0.2, 0.9, 0.1], outward)
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, np.cross(-outward, x), -outward], axis=-1)
    matrix[:3, 3] = (RADII_MM[-1] + 6.0) * outward
    return Placement(matrix)


@pytest.fixture(scope="module")
def spheres():
    """Relative L2 errors in the brain by order, at two mesh sizes of unstructured spheres."""
    coil, placement = few_dipoles(), pose()
    positions, moments = dipoles_in_head(coil, placement)
    rows = []
    for edge in (15.0, 7.5):
        mesh = random_layered_sphere(RADII_MM, (2, 4, 5), edge)
        head = HeadModel.from_mesh(mesh)
        exact = tms_field(positions, 1e6 * moments, 1e-3 * mesh.barycentres_mm)
        brain = np.flatnonzero(mesh.tags == 2)
        volumes = mesh.volumes_mm3[brain]
        errors = {}
        for order in (1, 2):
            field = simulate(prepare(head, element_order=order), coil, placement)
            inside = field.inside(brain, mesh.barycentres_mm[brain], coil)
            difference = inside - exact[brain]
            errors[order] = np.sqrt(
                volumes @ np.sum(difference**2, axis=1) / (volumes @ np.sum(exact[brain] ** 2, axis=1))
            )
        rows.append((np.cbrt(mesh.volumes_mm3.mean()), errors))
    return rows


def test_second_order_converges_at_second_order(spheres):
    (coarse, before), (fine, after) = spheres
    assert np.log(before[2] / after[2]) / np.log(coarse / fine) >= 1.8
    assert after[2] < 0.1 * after[1]


def test_a_point_must_lie_in_its_tetrahedron(spheres):
    mesh = random_layered_sphere(RADII_MM, (2, 4, 5), 15.0)
    field = simulate(HeadModel.from_mesh(mesh), few_dipoles(), pose())
    with pytest.raises(PlacementError, match=r"point 0 at .* mm lies outside tetrahedron 3"):
        field.inside([3], [[0.0, 0.0, 500.0]], few_dipoles())
    for elements, points, message in (
        ([3], [0.0, 0, 0], r"points_mm must have shape \(n, 3\)"),
        ([3, 4], [[0.0, 0, 0]], r"elements must be 1 tetrahedron indices, one a point"),
        ([0.5], [[0.0, 0, 0]], "one a point"),
        ([len(field.head.tets)], [[0.0, 0, 0]], "one a point"),
        ([-1], [[0.0, 0, 0]], "one a point"),
    ):
        with pytest.raises(PlacementError, match=message):
            field.inside(elements, points, few_dipoles())


@pytest.fixture(scope="module")
def mni2():
    return prepare(mni_small().head, element_order=2)


def region_of(head):
    region = Target.named("dlpfc-left").resolve(head)
    return region, region.volumes_mm3 * 1e-9


def test_reciprocity(mni2):
    region, volumes = region_of(mni2.head)
    currents = adjoint_currents(mni2, region.elements, mean_field_weights(volumes), rtol=1e-6)
    (placement,) = over_the_target(mni2.head, 1)
    positions, moments = dipoles_in_head(few_dipoles(), placement)
    field = simulate(mni2, few_dipoles(), placement, didt=1.0)
    forward = volumes @ field.E[region.elements] / volumes.sum()
    reciprocal = currents.coil_functionals(positions, moments)
    assert np.linalg.norm(reciprocal - forward) < 5e-6 * np.linalg.norm(forward)


def test_lumping_keeps_the_sum_and_the_first_moment_of_the_currents(mni2):
    space = mni2.elements
    currents = np.random.default_rng(2).standard_normal((len(mni2.nodes), 2, 3))
    corners, midpoints, edges = lumped(currents, space)
    n = len(corners)
    assert 0 < len(edges) < len(space.edges.ends)
    where = np.concatenate([mni2.nodes[:n], mni2.nodes[n + edges]])
    both = np.concatenate([corners, midpoints])
    np.testing.assert_allclose(both.sum(axis=0), currents.sum(axis=0), atol=1e-8)
    np.testing.assert_allclose(
        np.einsum("nc,nkd->kcd", where, both), np.einsum("nc,nkd->kcd", mni2.nodes, currents), atol=1e-8
    )
    ends = mni2.nodes[space.edges.ends]
    moment = np.sum((ends[:, 0] - ends[:, 1]) ** 2, axis=1) * np.linalg.norm(currents[n:], axis=2).sum(axis=1)
    moved = np.setdiff1d(np.arange(len(moment)), edges)
    assert moment[moved].max() <= moment[edges].min()
    assert moment[moved].sum() <= 0.1 * moment.sum() < moment[moved].sum() + moment[edges].min()


def test_optimum_at_second_order(mni2):
    result = efield.optimize_coil(mni2, few_dipoles(), "dlpfc-left", search=QUICK, n_best=2)
    assert result.provenance["element_order"] == 2
    assert result.check.relative_difference < 1e-5
    assert result.field.element_order == 2
    assert result.objective.value == pytest.approx(result.best[0].search_value, rel=5e-3)
    assert 0 < result.discretization["half_width"] < 0.02 * result.objective.value
    again = simulate(mni2.head, few_dipoles(), result.placement, element_order=2)
    region, volumes = region_of(mni2.head)
    value = MeanMagnitude().value(again.E[region.elements], volumes)
    assert value == pytest.approx(result.objective.value, rel=1e-6)


def test_a_prepared_head_keeps_its_order(cube):
    again = pickle.loads(pickle.dumps(cube))
    assert again.element_order == 2
    assert prepare(cube) is cube
    assert prepare(cube, element_order=2) is cube
    assert cube.first_order.element_order == 1
    with pytest.raises(EfieldError, match="was prepared at element_order=2, not 1"):
        prepare(cube, element_order=1)


@pytest.mark.parametrize("order", [0, 3, True, "2", 1.5])
def test_other_orders_are_refused(cube, order):
    with pytest.raises(EfieldError, match=r"element_order=.* is not available; valid: 1, 2"):
        prepare(cube.head, element_order=order)


def test_another_solver_has_no_second_order(cube):
    with pytest.raises(EfieldError, match="element_order=2 is for solver 'efield', not 'simnibs'"):
        simulate(cube.head, few_dipoles(), pose(), element_order=2, solver="simnibs")


def test_kernels_in_plain_python_and_in_pieces(cube):
    """The compiled kernels, the same as plain Python, and slices of them, bit for bit."""
    geo, edges, n = cube.geometry, cube.elements.edges, len(cube.geometry.nodes)
    rng = np.random.default_rng(3)
    dadt, v = rng.standard_normal((len(cube.nodes), 3, 3)), rng.standard_normal(len(cube.nodes))
    whole = cube.source_load(dadt)
    for call in (quadratic.source_load, quadratic.source_load.py_func):
        out = np.zeros_like(whole)
        for first, last in ((0, 1), (1, 3)):
            call(first, last, geo.nodes, geo.tets, geo.sigma, edges.of_tets, dadt, out)
        np.testing.assert_allclose(out, whole, rtol=1e-12, atol=1e-12 * abs(whole).max())
    rows = cube.elements.edge_rows()
    count = np.bincount(edges.of_tets.ravel())
    pointers = np.concatenate([[0], np.cumsum(count)])
    around = (edges.of_tets, pointers, np.argsort(edges.of_tets.ravel(), kind="stable") // 6)
    lengths = np.empty(len(count), np.int64)
    quadratic.count_row_entries.py_func(0, len(count), geo.tets, *around, lengths)
    np.testing.assert_array_equal(lengths, np.diff(rows.indptr))
    indices, data = np.zeros_like(rows.indices), np.zeros_like(rows.data)
    arguments = (geo.nodes, geo.tets, geo.sigma, *around, n, rows.indptr, indices, data)
    quadratic.assemble_edge_rows.py_func(0, len(count), *arguments)
    np.testing.assert_array_equal(indices, rows.indices)
    np.testing.assert_allclose(data, rows.data, rtol=1e-11, atol=1e-14 * abs(data).max())
    everywhere = np.arange(len(geo.tets))
    expected = element_field(cube.head.mesh.ordered, v, dadt[:, :, 0], everywhere, everywhere)
    got = np.empty_like(expected)
    arguments = (geo.nodes, geo.tets, edges.of_tets, v, dadt[:, :, 0], everywhere, got)
    quadratic.element_field.py_func(0, len(got), *arguments)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12 * abs(expected).max())
    numbers = np.empty_like(edges.of_tets)
    starts = np.concatenate([[0], np.cumsum(np.bincount(edges.ends[:, 0], minlength=n))])
    edge_kernel.edges_of_tets.py_func(0, len(numbers), geo.tets, starts, edges.ends, numbers)
    np.testing.assert_array_equal(numbers, edges.of_tets)


def test_corner_rows_are_the_transpose(cube):
    rows = cube.elements.edge_rows()
    n, m = rows.n_nodes, len(rows.indptr) - 1
    bottom, top = np.zeros((m, n + m)), np.zeros((n, n + m))
    for matrix, (indptr, indices, data) in (
        (bottom, (rows.indptr, rows.indices, rows.data)),
        (top, rows.corner_rows()),
    ):
        np.add.at(matrix, (np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices), data)
    np.testing.assert_array_equal(top[:, n:], bottom[:, :n].T)
    assert not top[:, :n].any()
    np.testing.assert_array_equal(rows.diagonal, np.diag(bottom[:, n:]))


@pytest.mark.parametrize("compiled", [True, False])
def test_the_edge_part_is_that_of_the_assembled_system(cube, compiled, monkeypatch):
    """Products over tetrahedra against the assembled rows; in slices, by hand and in plain Python."""
    geo, edges, n = cube.geometry, cube.elements.edges, len(cube.geometry.nodes)
    if not compiled:
        for name in ("count_members", "fill_members", "products_of_gradients", "diagonal", "times"):
            monkeypatch.setattr(edge_part_kernel, name, getattr(edge_part_kernel, name).py_func)
        for name in ("residual_loads", "corner_loads"):
            monkeypatch.setattr(edge_part_kernel, name, getattr(edge_part_kernel, name).py_func)
    rng, m = np.random.default_rng(4), len(edges.ends)
    rows = cube.elements.edge_rows()
    matrix = np.zeros((m, n + m))
    np.add.at(matrix, (np.repeat(np.arange(m), np.diff(rows.indptr)), rows.indices), rows.data)
    part = EdgePart(geo, edges)
    np.testing.assert_allclose(part.diagonal, rows.diagonal, rtol=1e-6)
    x, out = rng.standard_normal(m).astype(np.float32), np.empty(m, np.float32)
    part.times(x, out)
    expected = matrix[:, n:] @ x
    np.testing.assert_allclose(out, expected, atol=2e-6 * abs(expected).max())
    v, dadt = rng.standard_normal(n), np.zeros((n + m, 3, 1))
    dadt[:n, :, 0] = rng.standard_normal((n, 3))
    dadt[n:, :, 0] = 0.5 * (dadt[edges.ends[:, 0], :, 0] + dadt[edges.ends[:, 1], :, 0])
    expected = cube.source_load(dadt)[n:, 0] - matrix[:, :n] @ v
    got = part.residual_loads(v, np.ascontiguousarray(dadt[:n, :, 0]))
    np.testing.assert_allclose(got, expected, atol=1e-12 * abs(expected).max())
    w, curved = rng.standard_normal(m), rng.standard_normal((m, 3))
    everywhere = np.arange(len(geo.tets))
    mesh, total = cube.head.mesh.ordered, np.zeros((n + m, 3))
    total[n:] = curved
    change = element_field(mesh, np.append(np.zeros(n), w), total, everywhere, everywhere)
    np.testing.assert_allclose(part.mean_field(w, curved, everywhere), change, atol=1e-12 * abs(change).max())
    at_once = np.zeros((n + m, 3, 1))
    at_once[n:, :, 0] = curved
    expected = cube.source_load(at_once)[:n, 0] - matrix[:, :n].T @ w  # the corner rows of the same system
    np.testing.assert_allclose(part.corner_loads(w, curved), expected, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("compiled", [True, False])
def test_an_edge_with_any_number_of_tetrahedra(compiled):
    """A fan of 5000 round one edge: its row has 3 + 3 x 5000 + 5000 entries."""
    m = 5000
    around = np.arange(m)
    axis = np.tile([0, 1], (m, 1))
    tets = np.column_stack([axis, 2 + around, 2 + (around + 1) % m]).astype(np.int32)
    edges = Edges.of(tets, m + 2)
    middle = int(np.flatnonzero((edges.ends == [0, 1]).all(axis=1))[0])
    pointers, members = np.zeros(len(edges.ends) + 1, np.int64), np.arange(m, dtype=np.int32)
    pointers[middle + 1 :] = m
    count = np.zeros(len(edges.ends), np.int64)
    kernel = quadratic.count_row_entries if compiled else quadratic.count_row_entries.py_func
    kernel(middle, middle + 1, tets, edges.of_tets, pointers, members, count)
    assert count[middle] == 3 + 3 * m + m


def test_a_prepared_head_goes_when_nobody_holds_it():
    """At once, not when the garbage collector next looks for cycles: it holds hundreds of MiB."""
    gc.disable()
    try:
        prepared = prepare(HeadModel.from_mesh(box(2, 60.0)))
        assert prepared.first_order is prepared
        watched = weakref.ref(prepared)
        del prepared
        assert watched() is None
    finally:
        gc.enable()


def test_the_error_bar_can_be_left_out(tmp_path):
    result = efield.optimize_coil(
        mni_small(), "figure8-70mm", "dlpfc-left", search=QUICK, n_best=1, error_bar=False, out_dir=tmp_path
    )
    assert result.discretization is None and "discretization" not in result.timings
    assert efield.OptimizeResult.load(tmp_path).discretization is None
