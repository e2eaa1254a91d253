"""Distances, rays, inside tests and normals of triangulated surfaces; which surface is the scalp."""

import numpy as np
import pytest
from oracles import jacobian, random_rotation
from small_heads import RADIUS_MM, mni_small, sphere

from efield.analytic.shapes import box, layered_sphere
from efield.errors import MeshError
from efield.model.coil_extent import SECTORS, ExtentBlocks
from efield.model.mesh import TetMesh
from efield.model.surface import NORMAL_RADIUS_MM, TriSurface, outer_scalp


@pytest.fixture(scope="module")
def scalp():
    return mni_small().head.scalp


def near(scalp, n, reach_mm, seed):
    rng = np.random.default_rng(seed)
    return rng.choice(scalp.vertices_mm, n) + rng.uniform(-reach_mm, reach_mm, (n, 3))


def upper_side(surface):
    return TriSurface(surface.vertices_mm, surface.triangles[surface.area_normals_mm2[:, 2] > 0])


# --- oracles: every triangle, plain NumPy


def distance_to_segments(point, a, b):
    along = b - a
    t = np.clip(np.sum((point - a) * along, axis=1) / np.sum(along**2, axis=1), 0, 1)
    return np.linalg.norm(point - a - t[:, None] * along, axis=1)


def distance_to_triangles(point, corners):
    """Distances from a point to triangles (n, 3, 3): to the plane where it projects inside, or an edge."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    height = np.sum((point - a) * normal, axis=1)
    foot = point - height[:, None] * normal
    sides = [np.sum(np.cross(q - p, foot - p) * normal, axis=1) for p, q in ((a, b), (b, c), (c, a))]
    inside = np.all(np.stack(sides) >= 0, axis=0)
    edges = np.min([distance_to_segments(point, p, q) for p, q in ((a, b), (b, c), (c, a))], axis=0)
    return np.where(inside, np.abs(height), edges)


def winding_number(point, corners):
    """Solid angle of the surface over 4 pi (van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    triple = np.sum(a * np.cross(b, c), axis=1)
    below = (
        la * lb * lc + np.sum(a * b, axis=1) * lc + np.sum(b * c, axis=1) * la + np.sum(c * a, axis=1) * lb
    )
    return np.arctan2(triple, below).sum() / (2 * np.pi)


# --- closest points and distances


@pytest.mark.parametrize("reach_mm", [0.5, 10.0, 80.0])
def test_closest_point_against_every_triangle(scalp, reach_mm):
    points = near(scalp, 60, reach_mm, seed=1)
    closest, distance, face = scalp.closest(points)
    expected = np.array([distance_to_triangles(p, scalp.corners_mm).min() for p in points])
    np.testing.assert_allclose(distance, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), expected, atol=1e-9)
    on_face = [
        distance_to_triangles(q, scalp.corners_mm[f, None])[0] for q, f in zip(closest, face, strict=True)
    ]
    np.testing.assert_allclose(on_face, 0, atol=1e-9)


def test_points_on_the_surface_and_far_from_it(scalp):
    on = np.concatenate([scalp.vertices_mm[:50], scalp.centroids_mm[:50]])
    np.testing.assert_allclose(scalp.closest(on)[1], 0, atol=1e-9)
    far = np.array([[0.0, 0, 1000], [-2000, 500, 0]])
    expected = [distance_to_triangles(p, scalp.corners_mm).min() for p in far]
    np.testing.assert_allclose(scalp.closest(far)[1], expected, rtol=1e-12)


def test_signed_distance_is_negative_exactly_inside(scalp):
    points = near(scalp, 400, 8.0, seed=2)
    signed = scalp.signed_distance(points)
    inside = np.array([winding_number(p, scalp.corners_mm) > 0.5 for p in points])
    assert 100 < inside.sum() < 300
    np.testing.assert_array_equal(signed < 0, inside)
    np.testing.assert_allclose(np.abs(signed), scalp.closest(points)[1])


def test_sign_of_the_distance_to_something_sharp():
    """Beside an ear's rim one triangle alone would take outside for inside."""
    corners = np.array([[0.0, -20, 0], [0, 20, 0], [-2, 0, -30], [2, 0, -30]])
    blade = TriSurface(corners, [[0, 1, 2], [1, 0, 3], [0, 2, 3], [2, 1, 3]])
    centre = corners.mean(axis=0)
    assert np.all(np.sum(blade.area_normals_mm2 * (blade.centroids_mm - centre), axis=1) > 0)
    points = np.random.default_rng(10).uniform([-10, -30, -40], [10, 30, 10], (2000, 3))
    inside = np.array([winding_number(p, blade.corners_mm) > 0.5 for p in points])
    assert inside.sum() > 10
    np.testing.assert_array_equal(blade.signed_distance(points) < 0, inside)


@pytest.mark.parametrize("first", [False, True])
def test_a_triangle_without_area_changes_no_sign(first):
    """As files of casings have them: three corners in a line, here along an edge of a box."""
    nodes = np.array([[x, y, z] for x in (0.0, 40) for y in (0.0, 40) for z in (0.0, 40)])
    sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = np.array([t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))])
    plain = TriSurface(nodes, triangles)
    flat = np.array([[0, 8, 4]])
    vertices = np.vstack([nodes, [[20.0, 0.0, 0.0]]])
    parts = (flat, triangles) if first else (triangles, flat)
    surface = TriSurface(vertices, np.concatenate(parts))
    rng = np.random.default_rng(0)
    points = np.concatenate([np.linspace([1.0, 0, 0], [39.0, 0, 0], 50) + rng.uniform(-3, 3, (50, 3))] * 8)
    points += rng.uniform(-1, 1, points.shape)
    np.testing.assert_allclose(surface.signed_distance(points), plain.signed_distance(points), atol=1e-9)
    assert (plain.signed_distance(points) < 0).any() and (plain.signed_distance(points) > 0).any()


def test_bounds_hold_the_signed_distance(scalp):
    points = near(scalp, 500, 40.0, seed=3)
    low, high = scalp.signed_bounds(points)
    signed = scalp.signed_distance(points)
    assert (signed < 0).any() and (signed > 0).any()
    assert (low <= signed + 1e-9).all() and (signed <= high + 1e-9).all()
    assert (high - low).max() <= scalp._largest_radius_mm + 1e-9


def test_lowest_points_of_a_coil_are_among_those_measured(scalp):
    rng = np.random.default_rng(5)
    cloud = rng.uniform(-70, 70, (4000, 3)) * [1, 1, 0.3]
    blocks = ExtentBlocks.of(cloud)
    for _ in range(8):
        pose = np.eye(4)
        pose[:3, :3] = random_rotation(rng)
        pose[:3, 3] = scalp.centroids_mm[rng.integers(len(scalp.centroids_mm))] + rng.uniform(-30, 30, 3)
        signed = scalp.signed_distance(cloud @ pose[:3, :3].T + pose[:3, 3])
        measured = blocks.lowest(cloud, pose, scalp)
        assert len(measured) < len(cloud) / 4
        for sector in range(SECTORS):
            mine = blocks.sector == sector
            assert signed[mine].min() == signed[measured[blocks.sector[measured] == sector]].min()


# --- inside


def test_inside_a_sphere():
    surface = sphere().head.scalp
    rng = np.random.default_rng(4)
    directions = rng.standard_normal((300, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    inner = np.linalg.norm(surface.centroids_mm, axis=1).min() - 0.5
    assert surface.contains(directions * rng.uniform(0, inner, (300, 1))).all()
    assert not surface.contains(directions * rng.uniform(RADIUS_MM + 1e-6, 120, (300, 1))).any()


def test_inside_a_head(scalp):
    rng = np.random.default_rng(5)
    points = rng.uniform(scalp.vertices_mm.min(axis=0) - 5, scalp.vertices_mm.max(axis=0) + 5, (300, 3))
    inside = np.array([winding_number(p, scalp.corners_mm) > 0.5 for p in points])
    np.testing.assert_array_equal(scalp.contains(points), inside)


def test_inside_a_box_along_its_edges():
    """Rays through vertices, along edges and within upright faces count once."""
    mesh = box(4, 40.0)
    surface = TriSurface.of_faces(mesh.nodes_mm, mesh.boundary_faces)
    ticks = np.arange(-10.0, 51.0, 5.0)
    ticks = ticks[(ticks != 0) & (ticks != 40)]
    points = np.stack(np.meshgrid(ticks, ticks, ticks), axis=-1).reshape(-1, 3)
    expected = np.all((points > 0) & (points < 40), axis=1)
    np.testing.assert_array_equal(surface.contains(points), expected)


def test_one_point_or_none(scalp):
    assert scalp.contains(np.array([0.0, 0, 10])).tolist() == [True]
    assert scalp.contains(np.empty((0, 3))).shape == (0,)


# --- rays


def test_rays_hit_a_sphere():
    surface = sphere().head.scalp
    rng = np.random.default_rng(6)
    origins = rng.standard_normal((200, 3))
    origins *= rng.uniform(100, 200, (200, 1)) / np.linalg.norm(origins, axis=1)[:, None]
    aims = rng.uniform(-50, 50, (200, 3)) - origins
    aims /= np.linalg.norm(aims, axis=1)[:, None]
    along = -np.sum(origins * aims, axis=1)
    apart = np.sqrt(np.sum(origins**2, axis=1) - along**2)
    hits = apart < RADIUS_MM - 1
    assert hits.sum() > 150
    distance, face = surface.ray_hits(origins[hits], aims[hits])
    expected = (along - np.sqrt(RADIUS_MM**2 - apart**2))[hits]
    edge = np.linalg.norm(surface.corners_mm - np.roll(surface.corners_mm, 1, axis=1), axis=2).max()
    depth = edge**2 / (6 * RADIUS_MM)  # of a triangle's middle under the sphere
    cosine = np.sqrt(1 - (apart[hits] / RADIUS_MM) ** 2)
    assert np.all(distance > expected - 1e-9)
    assert np.all(distance < expected + 2 * depth / cosine)
    met = origins[hits] + distance[:, None] * aims[hits]
    off = [distance_to_triangles(p, surface.corners_mm[f, None])[0] for p, f in zip(met, face, strict=True)]
    np.testing.assert_allclose(off, 0, atol=1e-9)


def test_rays_that_miss_or_point_away():
    surface = sphere().head.scalp
    start = np.array([[0.0, 0, 100], [0, 0, 100], [0, 86, 100]])
    aim = np.array([[0.0, 0, 1], [1, 0, 0], [0, 0, -1]])
    distance, face = surface.ray_hits(start, aim)
    assert np.all(np.isinf(distance)) and np.all(face == -1)


def test_rays_from_within_and_one_direction_for_all():
    surface = sphere().head.scalp
    distance, face = surface.ray_hits(np.zeros((3, 3)), np.array([0.0, 0.6, 0.8]))
    assert np.all(distance == distance[0]) and np.all(face == face[0])
    assert RADIUS_MM - 1 < distance[0] <= RADIUS_MM


# --- normals


def test_smoothed_normals_of_a_sphere_are_radial():
    surface = sphere().head.scalp
    normals = surface.smooth_normal(surface.vertices_mm)
    radial = surface.vertices_mm / RADIUS_MM
    assert np.sum(normals * radial, axis=1).min() > np.cos(np.radians(1.0))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-12)


def test_smoothed_normals_of_a_plane():
    mesh = box((30, 30, 1), (90.0, 90.0, 3.0))
    surface = upper_side(TriSurface.of_faces(mesh.nodes_mm, mesh.boundary_faces))
    points = np.array([[45.0, 45, 3], [44, 43, 4.5]])
    normals, jacobians = surface.smooth_normal_jacobian(points)
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 2, atol=1e-14)
    np.testing.assert_allclose(jacobians, 0, atol=1e-14)


def test_smoothed_normals_are_the_weighted_mean(scalp):
    points = near(scalp, 20, 2.0, seed=7)
    for point, normal in zip(points, scalp.smooth_normal(points), strict=True):
        s = np.linalg.norm(point - scalp.centroids_mm, axis=1) / NORMAL_RADIUS_MM
        weight = np.where(s < 1, (1 - s) ** 4 * (4 * s + 1), 0.0)
        total = weight @ scalp.area_normals_mm2
        np.testing.assert_allclose(normal, total / np.linalg.norm(total), atol=1e-12)


def test_derivative_of_smoothed_normals(scalp):
    points = near(scalp, 20, 2.0, seed=8)
    jacobians = scalp.smooth_normal_jacobian(points)[1]
    for point, derivative in zip(points, jacobians, strict=True):
        expected = jacobian(lambda p: scalp.smooth_normal(p)[0], point, 1e-4)
        np.testing.assert_allclose(derivative, expected, atol=1e-8)


def test_no_normal_away_from_the_surface(scalp):
    with pytest.raises(MeshError, match=r"no surface within 15.0 mm of \[0.0, 0.0, 300.0\]"):
        scalp.smooth_normal(np.array([[-52.0, 53, 36], [0, 0, 300]]))


# --- samples


def test_samples_lie_on_the_surface_and_leave_no_gap(scalp):
    samples = scalp.sample(3.0)
    np.testing.assert_allclose(scalp.closest(samples[::50])[1], 0, atol=1e-9)
    rng = np.random.default_rng(9)
    weights = rng.dirichlet((1, 1, 1), 500)
    faces = rng.integers(len(scalp.triangles), size=500)
    anywhere = np.einsum("nk,nkc->nc", weights, scalp.corners_mm[faces])
    gaps = [np.linalg.norm(samples - p, axis=1).min() for p in anywhere]
    assert max(gaps) <= 3.0


def test_samples_near_a_point_are_those_of_the_whole(scalp):
    centre = np.array([-52.0, 53, 36])
    whole = scalp.sample(3.0)
    near = whole[np.linalg.norm(whole - centre, axis=1) < 25.0]
    assert 0 < len(near) < len(whole)
    np.testing.assert_array_equal(scalp.sample(3.0, centre, 25.0), near)
    assert scalp.sample(3.0, centre + 500.0, 25.0).shape == (0, 3)


# --- closed or open


def test_closed_and_open(scalp):
    assert scalp.is_closed
    assert not TriSurface(scalp.vertices_mm, scalp.triangles[1:]).is_closed
    assert not upper_side(scalp).is_closed


def test_an_open_surface_still_has_distances_and_rays(scalp):
    upper = upper_side(scalp)
    point = np.array([-52.0, 53, 80])
    assert upper.closest(point)[1][0] == pytest.approx(distance_to_triangles(point, upper.corners_mm).min())
    assert np.isfinite(upper.ray_hits(point, np.array([0.0, 0, -1]))[0][0])


# --- which surface is the scalp


def hollow(radii_mm, edge_mm):
    """A thick shell, and its solid in the middle apart from it where there are three radii."""
    mesh = layered_sphere(radii_mm, range(len(radii_mm)), edge_mm)
    keep = mesh.tags != len(radii_mm) - 2
    return TetMesh(mesh.nodes_mm, mesh.tets[keep], mesh.tags[keep] + 1)


@pytest.mark.parametrize("radii_mm", [(60.0, 80.0), (30.0, 60.0, 80.0)])
def test_the_outermost_surface_of_a_hollow_head(radii_mm):
    mesh = hollow(radii_mm, 10.0)
    assert len(mesh.boundary_faces) > len(outer_scalp(mesh).triangles)
    scalp = outer_scalp(mesh)
    np.testing.assert_allclose(np.linalg.norm(scalp.vertices_mm, axis=1), 80.0)
    assert scalp.is_closed
    assert np.all(np.sum(scalp.area_normals_mm2 * scalp.centroids_mm, axis=1) > 0)
    assert scalp.contains(np.zeros(3)).all()
    boundary = TriSurface.of_faces(mesh.nodes_mm, mesh.boundary_faces)
    middle_is_solid = len(radii_mm) == 3
    assert boundary.contains(np.array([[0.0, 0, 0], [0, 0, 50], [0, 0, 70]])).tolist() == [
        middle_is_solid,
        False,
        True,
    ]


def test_scalp_triangles_of_a_whole_head():
    mesh = layered_sphere((60.0, 80.0), (4, 5), 10.0)
    named = outer_scalp(mesh, mesh.boundary_faces[:, [1, 2, 0]][::-1])
    assert len(named.triangles) == len(mesh.boundary_faces)
    np.testing.assert_allclose(np.linalg.norm(named.vertices_mm, axis=1), 80.0)


def test_scalp_triangles_of_a_cut_head():
    """Only the faces that the file names count, outward whatever their order in the file."""
    mesh = layered_sphere((60.0, 80.0), (4, 5), 10.0)
    upper = mesh.boundary_faces[mesh.nodes_mm[mesh.boundary_faces].mean(axis=1)[:, 2] > 20]
    scalp = outer_scalp(mesh, upper[:, ::-1])
    assert len(scalp.triangles) == len(upper)
    assert not scalp.is_closed
    assert np.all(np.sum(scalp.area_normals_mm2 * scalp.centroids_mm, axis=1) > 0)


def test_scalp_triangles_that_are_not_on_the_boundary():
    mesh = layered_sphere((60.0, 80.0), (4, 5), 10.0)
    with pytest.raises(MeshError, match="no scalp triangle"):
        outer_scalp(mesh, mesh.tets[:5, :3][mesh.tags[:5] == 4])
