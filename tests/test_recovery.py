"""Recovered fields: linear fields, closed forms, jumps; and fields at points."""

import numpy as np
import pytest
from oracles import random_rotation
from small_heads import mni_small
from test_invariances import HEAD, make_head, random_case
from test_sphere import DIDT, exact_field, figure_eight, tilted_pose

import efield
from efield.analytic.shapes import box, random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.errors import TargetError
from efield.fem.recover import recover
from efield.fem.source import dipoles_in_head
from efield.forward import StoredField, simulate
from efield.io.sampling import NEAR_MM, tets_at_points
from efield.kernels.recover import fit_patches
from efield.model.cortex import mid_layer
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.placement import Placement

FIVE = ((60.0, 75.0, 79.0, 85.0, 92.0), (1, 2, 3, 4, 5))
"""Radii, mm, and tags of a sphere with a thick shell of grey matter."""


def stored(head, e_field):
    return StoredField(head, np.ascontiguousarray(e_field), None, None, "test")


def linear_of_tag(head, points_mm, tags):
    """A linear field that is another one in each tissue."""
    values = np.empty((len(points_mm), 3))
    for tag in np.unique(head.tags):
        rng = np.random.default_rng(int(tag))
        here = tags == tag
        values[here] = rng.standard_normal(3) + points_mm[here] @ rng.standard_normal((3, 3)) / 50
    return values


@pytest.fixture(scope="module")
def halves():
    """A box of two tissues with inner nodes in both, no node of the mesh where it was regular."""
    mesh = box((8, 6, 6), (80.0, 60.0, 60.0), jitter=0.15, seed=3)
    left = mesh.barycentres_mm[:, 0] < 40
    return HeadModel.from_mesh(TetMesh(mesh.nodes_mm, mesh.tets, np.where(left, 1, 2)))


@pytest.fixture(scope="module")
def sphere():
    """A sphere of five layers, a field in it, and what the field is."""
    head = HeadModel.from_mesh(random_layered_sphere(*FIVE, 5.0))
    coil, placement = figure_eight(), tilted_pose(104.0)
    return head, simulate(head, coil, placement, didt=DIDT), coil, placement


def has_inner_neighbour(head, recovered):
    """Whether each value is at an inner node, or a neighbour of one, by plain Python."""
    tissues = [set() for _ in head.nodes_mm]
    for tet, tag in zip(head.tets.tolist(), head.tags.tolist(), strict=True):
        for node in tet:
            tissues[node].add(tag)
    outer = set(head.mesh.boundary_faces.ravel().tolist())
    inner = {i for i, found in enumerate(tissues) if len(found) == 1 and i not in outer}
    reached = set()
    for tet, tag in zip(head.tets.tolist(), head.tags.tolist(), strict=True):
        if inner.intersection(tet):
            reached.update((node, tag) for node in tet)
    return np.array([one in reached for one in zip(recovered.nodes, recovered.tags, strict=True)])


def test_linear_fields_come_back_within_each_tissue(halves):
    head = halves
    e_field = linear_of_tag(head, head.mesh.barycentres_mm, head.tags)
    recovered = stored(head, e_field).recovered()
    exact = linear_of_tag(head, head.nodes_mm[recovered.nodes], recovered.tags)
    reached = has_inner_neighbour(head, recovered)
    assert reached.mean() > 0.8  # the others lie on edges and corners of the box
    np.testing.assert_allclose(recovered.E[reached], exact[reached], atol=1e-12)
    pairs = set(zip(recovered.nodes.tolist(), recovered.tags.tolist(), strict=True))
    expected = {(n, g) for tet, g in zip(head.tets.tolist(), head.tags.tolist(), strict=True) for n in tet}
    assert pairs == expected and len(recovered.nodes) == len(expected)
    np.testing.assert_array_equal(recovered.nodes[recovered.corners], head.tets)
    np.testing.assert_array_equal(recovered.tags[recovered.corners], np.tile(head.tags[:, None], 4))


def test_a_jump_stays_between_two_tissues(halves):
    head = halves
    e_field = np.where(head.tags[:, None] == 1, [1.0, 0.0, 0.0], [-2.0, 0.5, 0.0])
    recovered = stored(head, e_field).recovered()
    for tag, value in ((1, [1.0, 0.0, 0.0]), ("grey_matter", [-2.0, 0.5, 0.0])):
        nodes, there = recovered.tissue(tag)
        np.testing.assert_allclose(there, np.tile(value, (len(nodes), 1)), atol=1e-12)
    np.testing.assert_allclose(recovered.element_means, e_field, atol=1e-12)
    at_border = np.array([[39.99, 30.1, 30.2], [40.01, 30.1, 30.2]])
    # The face between the tissues is not flat, but its nodes move by less than 2 mm.
    beside = at_border + [[-2.5, 0, 0], [2.5, 0, 0]]
    np.testing.assert_allclose(recovered.at(beside), [[1, 0, 0], [-2, 0.5, 0]], atol=1e-12)


def test_a_layer_one_tetrahedron_thick_takes_the_volume_mean():
    mesh = box((3, 3, 1), (30.0, 30.0, 10.0))
    head = HeadModel.from_mesh(mesh)
    e_field = np.random.default_rng(0).standard_normal((len(head.tets), 3))
    recovered = stored(head, e_field).recovered()
    for row in (0, 7, 20):
        mine = (head.tets == recovered.nodes[row]).any(axis=1)
        expected = np.average(e_field[mine], axis=0, weights=mesh.volumes_mm3[mine])
        np.testing.assert_allclose(recovered.E[row], expected, atol=1e-13)


def test_a_flat_patch_takes_the_volume_mean():
    rng = np.random.default_rng(4)
    centres = np.column_stack([rng.standard_normal((6, 2)), np.zeros(6)])
    values, inner, poly = rng.standard_normal((6, 3)), np.array([True]), np.empty((1, 4, 3))
    patch = np.array([0, 6]), np.arange(6)
    fit_patches(0, 1, np.zeros((1, 3)), centres, np.ones(6), values, *patch, inner, poly)
    assert not inner[0]
    np.testing.assert_allclose(poly[0, 0], values.mean(axis=0), atol=1e-14)


def errors_in(head, tag, got, exact):
    """Relative L2 error over a tissue, of values at four points in each tetrahedron."""
    some = head.tags == tag
    volumes = np.repeat(head.mesh.volumes_mm3[some], 4)
    return np.sqrt((volumes @ np.sum((got - exact) ** 2, axis=1)) / (volumes @ np.sum(exact**2, axis=1)))


def quadrature(head, tag):
    """Four points in each tetrahedron of a tissue, exact for quadratics, and its index."""
    near, far = 0.58541019662496852, 0.13819660112501048
    shares = np.full((4, 4), far) + (near - far) * np.eye(4)
    tets = np.flatnonzero(head.tags == tag)
    points = np.einsum("qa,tac->tqc", shares, head.nodes_mm[head.tets[tets]])
    return points.reshape(-1, 3), np.repeat(tets, 4)


def test_recovery_beats_the_raw_field_in_a_sphere(sphere):
    head, field, coil, placement = sphere
    recovered = field.recovered()
    positions, moments = dipoles_in_head(coil, placement)
    for tag, gain in ((1, 5.0), (2, 5.0), (3, 1.5), (4, 1.5), (5, 1.5)):
        points, tets = quadrature(head, tag)
        exact = tms_field(positions, DIDT * moments, points * 1e-3)
        raw = errors_in(head, tag, field.E[tets], exact)
        better = errors_in(head, tag, recovered.within(tets, points), exact)
        assert better < raw / gain, (tag, raw, better)
    barycentres = exact_field(head, coil, placement)
    grey = head.tags == 2
    miss = np.linalg.norm(recovered.element_means - barycentres, axis=1)[grey]
    assert miss.max() < 0.1 * np.linalg.norm(barycentres[grey], axis=1).max()


def test_recovery_at_second_order_takes_its_element_means(sphere):
    head, field, coil, placement = sphere
    second = simulate(head, coil, placement, didt=DIDT, element_order=2)
    positions, moments = dipoles_in_head(coil, placement)
    for tag in (1, 2):
        points, tets = quadrature(head, tag)
        exact = tms_field(positions, DIDT * moments, points * 1e-3)
        first = errors_in(head, tag, field.recovered().within(tets, points), exact)
        assert errors_in(head, tag, second.recovered().within(tets, points), exact) < first
        unrecovered = errors_in(head, tag, second.inside(tets, points, coil), exact)
        assert unrecovered < 0.5 * first  # what a second-order run should be read from


def test_a_field_read_from_a_file_is_recovered_nearly_as_well(sphere):
    head, field, coil, placement = sphere
    points, tets = quadrature(head, 2)
    exact = tms_field(*(lambda r, m: (r, DIDT * m))(*dipoles_in_head(coil, placement)), points * 1e-3)
    from_potential = errors_in(head, 2, field.recovered().within(tets, points), exact)
    from_field = errors_in(head, 2, stored(head, field.E).recovered().within(tets, points), exact)
    assert from_field < 1.5 * from_potential


def test_recovery_turns_with_the_head_and_its_tensors():
    coil, placement, rng = random_case(5)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = random_rotation(rng), rng.uniform(-100, 100, 3)
    turn = motion[:3, :3]
    head = make_head()
    sigma = turn @ HEAD.conductivity @ turn.T
    moved = HeadModel(
        TetMesh(head.nodes_mm @ turn.T + motion[:3, 3], head.tets, head.tags),
        0.5 * (sigma + sigma.swapaxes(1, 2)),
    )
    still = simulate(head, coil, placement, rtol=1e-9).recovered()
    turned = simulate(moved, coil, Placement(motion @ placement.matsimnibs), rtol=1e-9).recovered()
    first, second = (np.lexsort([one.tags, one.nodes]) for one in (still, turned))
    np.testing.assert_array_equal(still.nodes[first], turned.nodes[second])
    expected = still.E[first] @ turn.T
    np.testing.assert_allclose(turned.E[second], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("threads", ["2", "5"])
def test_any_number_of_threads_recovers_the_same_bits(sphere, threads, monkeypatch):
    _, field, *_ = sphere
    monkeypatch.setenv("EFIELD_NUM_THREADS", "1")
    alone = field.recovered().E
    monkeypatch.setenv("EFIELD_NUM_THREADS", threads)
    np.testing.assert_array_equal(field.recovered().E, alone)


def test_known_node_values_are_added(halves):
    nodes = halves.mesh.ordered.nodes
    known = np.random.default_rng(1).standard_normal(nodes.shape)
    values = np.ones((len(halves.tets), 3))
    recovered = recover(halves, values, known)
    position = np.argsort(halves.mesh.ordered.node_order)
    np.testing.assert_allclose(recovered.E, 1.0 + known[position[recovered.nodes]], atol=1e-13)


# --- at points


def test_points_take_the_field_of_their_tetrahedron(halves):
    head = halves
    e_field = np.random.default_rng(2).standard_normal((len(head.tets), 3))
    field = stored(head, e_field)
    some = np.arange(0, len(head.tets), 7)
    weights = np.random.default_rng(3).dirichlet([2, 2, 2, 2], len(some))
    points = np.einsum("nk,nkc->nc", weights, head.nodes_mm[head.tets[some]])
    np.testing.assert_array_equal(field.at(points), e_field[some])
    recovered = field.recovered()
    expected = np.einsum("nk,nkc->nc", weights, recovered.E[recovered.corners[some]])
    np.testing.assert_allclose(recovered.at(points), expected, atol=1e-10)


def test_tetrahedra_that_hold_points(halves):
    some = np.arange(0, len(halves.tets), 7)
    weights = np.random.default_rng(3).dirichlet([2, 2, 2, 2], len(some))
    points = np.einsum("nk,nkc->nc", weights, halves.nodes_mm[halves.tets[some]])
    np.testing.assert_array_equal(halves.tets_at(points), some)
    grey = np.where(halves.tags[some] == 2, some, -1)
    assert 0 < np.count_nonzero(grey == -1) < len(some)
    np.testing.assert_array_equal(halves.tets_at(points, "grey_matter"), grey)
    assert halves.tets_at([[0, 0, 500.0]]).tolist() == [-1]
    assert halves.tets_at(np.empty((0, 3))).shape == (0,)
    with pytest.raises(TargetError, match=r"shape \(n, 3\)"):
        halves.tets_at([0, 0, 0])
    with pytest.raises(TargetError, match="no tissue 'gray'"):
        halves.tets_at(points, "gray")


@pytest.mark.parametrize("recovered", [False, True])
def test_points_outside(halves, recovered):
    field = stored(halves, np.ones((len(halves.tets), 3)))
    field = field.recovered() if recovered else field
    points = np.array([[30.0, 30, 30], [30, 30, 61], [79, 2, 2]])
    with pytest.raises(TargetError, match=r"1 of 3 points .* point 1 at \[30.0, 30.0, 61.0\] mm"):
        field.at(points)
    got = field.at(points, outside="nan")
    np.testing.assert_allclose(got[[0, 2]], 1.0)
    assert np.isnan(got[1]).all()
    centres = halves.mesh.barycentres_mm[halves.tags == 2]
    grey = np.array([centres[np.argmin(centres[:, 0])] - [0.97 * NEAR_MM, 0, 0], [10, 30, 30]])
    assert halves.tags[tets_at_points(halves.nodes_mm, halves.tets, grey)[0]] == 1
    with pytest.raises(TargetError, match=r"1 of 2 .* 'grey_matter' or within 3 mm .* point 1"):
        field.at(grey, tissue="grey_matter")
    assert np.isfinite(field.at(grey[:1], tissue="grey_matter")).all()
    for bad, match in (
        (np.zeros(3), r"shape \(n, 3\)"),
        (np.array([[0, np.nan, 0]]), "point 0 is"),
    ):
        with pytest.raises(TargetError, match=match):
            field.at(bad)
    with pytest.raises(TargetError, match="'raise' or 'nan', not 'zero'"):
        field.at(points, outside="zero")
    for tissue in ("bone", "gray", 17):
        with pytest.raises(TargetError, match=r"no tissue .* white_matter, grey_matter"):
            field.at(points, tissue=tissue)
    assert field.at(np.empty((0, 3))).shape == (0, 3)


def test_mid_layer_of_a_sphere_is_half_way():
    head = HeadModel.from_mesh(random_layered_sphere((60.0, 65.0, 70.0), (1, 2, 3), 6.0))
    surface = mid_layer(head)
    assert surface.is_closed
    # The faces of the inner surface are chords: up to edge^2 / 8 R inside its sphere.
    radius = np.linalg.norm(surface.vertices_mm, axis=1)
    assert 62.0 < radius.min() <= radius.max() < 62.51


def test_mid_layer_of_a_head():
    head = mni_small().head
    surface = mid_layer(head)
    field = stored(head, head.mesh.barycentres_mm)
    at_layer = field.at(surface.vertices_mm, tissue="grey_matter", outside="nan")
    known = np.isfinite(at_layer).all(axis=1)
    assert known.mean() > 0.99
    far = np.linalg.norm(at_layer[known] - surface.vertices_mm[known], axis=1)
    assert np.percentile(far, 99) < 6.0


def test_mid_layer_of_five_layers_against_the_closed_form():
    """Grey matter one tetrahedron thick: raw values are those of the barycentres, deeper or shallower."""
    radii, coil, placement = (66.0, 71.0, 76.0, 83.0, 90.0), figure_eight(), tilted_pose(104.0)
    head = HeadModel.from_mesh(random_layered_sphere(radii, (1, 2, 3, 4, 5), 9.0))
    points = mid_layer(head).vertices_mm
    positions, moments = dipoles_in_head(coil, placement)
    exact = tms_field(positions, DIDT * moments, 1e-3 * points)
    error = {}
    for order in (1, 2):
        field = efield.simulate(head, coil, placement, didt=DIDT, element_order=order)
        elements = head.tets_at(points, "grey_matter")
        for kind, got in (
            ("raw", field.at(points, tissue="grey_matter")),
            ("recovered", field.recovered().at(points, tissue="grey_matter")),
            ("inside", field.inside(elements, points, coil)),
        ):
            error[order, kind] = np.linalg.norm(got - exact) / np.linalg.norm(exact)
    assert error[1, "raw"] < 0.1 and error[2, "raw"] < 0.1
    assert error[1, "recovered"] < 0.02 and error[2, "recovered"] < 0.02
    assert error[2, "inside"] < 0.005


def test_heads_without_cortex_have_no_mid_layer():
    for tags in ((1, 3), (2, 3)):
        head = HeadModel.from_mesh(random_layered_sphere((60.0, 70.0), tags, 12.0))
        with pytest.raises(TargetError, match="no mid-layer"):
            mid_layer(head)
    thick = HeadModel.from_mesh(random_layered_sphere((40.0, 60.0, 70.0), (1, 2, 3), 12.0))
    with pytest.raises(TargetError, match="within 6 mm"):
        mid_layer(thick)


def test_recovered_is_public():
    assert efield.RecoveredField.__name__ == "RecoveredField"
    assert efield.mid_layer is mid_layer
