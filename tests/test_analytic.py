"""The closed forms obey the equations they solve, and agree with one another."""

import numpy as np
import pytest
from oracles import curl, dipole_b, dipole_in_homogeneous_sphere, jacobian, random_rotation

from efield.analytic.shapes import box, layered_sphere, random_layered_sphere
from efield.analytic.sphere_dipole import dipole_potential
from efield.analytic.sphere_meg import meg_field
from efield.analytic.sphere_tms import tms_field
from efield.errors import MeshError, PlacementError, TargetError

RADII = np.array([0.06, 0.078, 0.08, 0.086, 0.092])
SIGMA = np.array([0.126, 0.275, 1.654, 0.01, 0.465])
CENTER = np.array([0.01, -0.02, 0.005])


def points_in_shell(rng, n, low, high):
    directions = rng.standard_normal((n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(low, high, (n, 1))


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


# --- field of a coil in a sphere


def test_tms_field_is_tangential_and_obeys_faraday(rng):
    dipoles = points_in_shell(rng, 3, 0.1, 0.13)
    dmdt = rng.standard_normal((3, 3))

    def field(point):
        return tms_field(dipoles, dmdt, point)[0]

    for point in points_in_shell(rng, 10, 0.03, 0.09):
        e = field(point)
        assert abs(e @ point) <= 1e-13 * np.linalg.norm(e) * np.linalg.norm(point)
        jac = jacobian(field, point, 1e-5)
        dbdt = sum(dipole_b(r, m, point) for r, m in zip(dipoles, dmdt, strict=True))
        np.testing.assert_allclose(curl(jac), -dbdt, atol=1e-6 * np.linalg.norm(dbdt))
        assert abs(np.trace(jac)) <= 1e-6 * np.abs(jac).max()


def test_tms_field_of_many_dipoles_is_their_sum_and_follows_the_centre(rng):
    dipoles = points_in_shell(rng, 1500, 0.1, 0.13)
    dmdt = rng.standard_normal((1500, 3))
    points = points_in_shell(rng, 3000, 0.0, 0.09)  # more pairs than one chunk holds
    together = tms_field(dipoles, dmdt, points)
    apart = tms_field(dipoles[:700], dmdt[:700], points) + tms_field(dipoles[700:], dmdt[700:], points)
    np.testing.assert_allclose(together, apart, atol=1e-11 * np.abs(together).max())
    moved = tms_field(dipoles + CENTER, dmdt, points[:5] + CENTER, CENTER)
    np.testing.assert_allclose(moved, together[:5], atol=1e-9 * np.abs(together).max())


def test_tms_field_refuses_a_dipole_inside(rng):
    with pytest.raises(PlacementError, match=r"dipole 1 lies 0\.05 m"):
        tms_field([[0, 0, 0.1], [0, 0, 0.05]], np.ones((2, 3)), [[0.06, 0, 0]])


# --- magnetic field of a current dipole


def test_meg_field_is_curl_and_divergence_free_and_falls_off(rng):
    dipole, moment = np.array([0.01, 0.03, 0.05]), np.array([1.0, -2.0, 0.5])

    def field(point):
        return meg_field(dipole, moment, point)[0]

    for point in points_in_shell(rng, 10, 0.1, 0.2):
        jac = jacobian(field, point, 1e-5)
        scale = np.abs(jac).max()
        assert abs(np.trace(jac)) <= 1e-6 * scale
        assert np.abs(curl(jac)).max() <= 1e-6 * scale
    far = np.array([[30.0, 40.0, 50.0]])  # a magnetic dipole r0 x Q / 2 (Sarvas, eq. 13)
    expected = dipole_b(np.zeros(3), np.cross(dipole, moment) / 2, far[0])
    np.testing.assert_allclose(
        meg_field(dipole, moment, far)[0], expected, atol=2e-2 * np.abs(expected).max()
    )


def test_radial_component_is_that_of_the_dipole_alone(rng):
    dipole, moment = np.array([0.01, 0.03, 0.05]), np.array([1.0, -2.0, 0.5])
    points = points_in_shell(rng, 20, 0.1, 0.2)
    a = points - dipole
    alone = 1e-7 * np.cross(moment, a) / np.linalg.norm(a, axis=1)[:, None] ** 3
    radial = np.einsum("ij,ij->i", meg_field(dipole, moment, points), points)
    np.testing.assert_allclose(radial, np.einsum("ij,ij->i", alone, points), rtol=1e-10)


def test_radial_current_dipole_is_silent():
    assert np.all(meg_field([0.0, 0.0, 0.05], [0.0, 0.0, 1.0], [[0.03, 0.02, 0.1]]) == 0)


def test_tms_and_meg_are_reciprocal(rng):
    """Q.E(r0) of dm/dt at r equals -dm/dt.B(r) of Q at r0: two papers, one identity."""
    inside = points_in_shell(rng, 20, 0.01, 0.09) + CENTER
    outside = points_in_shell(rng, 20, 0.1, 0.2) + CENTER
    for r0, r in zip(inside, outside, strict=True):
        q, dmdt = rng.standard_normal((2, 3))
        e = tms_field(r, dmdt, r0, CENTER)[0]
        b = meg_field(r0, q, r, CENTER)[0]
        assert q @ e == pytest.approx(-dmdt @ b, rel=1e-9, abs=1e-12 * np.linalg.norm(e))


def test_meg_field_refuses_points_within():
    with pytest.raises(TargetError, match="outside the conductor"):
        meg_field([0.0, 0.0, 0.05], [1.0, 0.0, 0.0], [[0.0, 0.0, 0.04]])


# --- potential of a current dipole in layers


@pytest.mark.parametrize("r0", [0.004, 0.05, 0.07, 0.079, 0.085, 0.09])
def test_equal_layers_are_a_homogeneous_sphere(rng, r0):
    source = points_in_shell(rng, 1, r0, r0)[0]
    moment = rng.standard_normal(3)
    points = np.concatenate([points_in_shell(rng, 200, 0.0, 0.092), points_in_shell(rng, 20, 0.092, 0.092)])
    points = points[np.linalg.norm(points - source, axis=1) > 0.004]
    expected = dipole_in_homogeneous_sphere(source, moment, points, 0.092, 0.33)
    got = dipole_potential(source + CENTER, moment, points + CENTER, RADII, np.full(5, 0.33), CENTER)
    # The gauge differs by a constant, which the closed form's surface mean would give.
    got, expected = got - got.mean(), expected - expected.mean()
    np.testing.assert_allclose(got, expected, atol=2e-9 * np.abs(expected).max())


@pytest.mark.parametrize("r0", [0.03, 0.07, 0.079, 0.083, 0.089])
def test_potential_solves_the_layered_problem(rng, r0):
    source = points_in_shell(rng, 1, r0, r0)[0]
    moment = rng.standard_normal(3)
    axis = source / r0

    def potential(points):
        return dipole_potential(source, moment, points, RADII, SIGMA)

    # Directions near the source, where many degrees matter, and far ones.
    directions = np.concatenate([axis + 0.2 * rng.standard_normal((10, 3)), rng.standard_normal((10, 3))])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    h = 1e-6
    steps = np.array([-3, -2, -1, 1, 2, 3])
    radii = RADII[:, None] + h * steps
    points = np.minimum(radii, RADII[-1])[..., None, None] * directions
    v = potential(points.reshape(-1, 3)).reshape(*radii.shape, len(directions))
    flux_below = SIGMA[:, None] * (5 * v[:, 2] - 8 * v[:, 1] + 3 * v[:, 0]) / (2 * h)
    flux_above = SIGMA[1:, None] * (8 * v[:-1, 4] - 5 * v[:-1, 3] - 3 * v[:-1, 5]) / (2 * h)
    below = 3 * v[:, 2] - 3 * v[:, 1] + v[:, 0]
    above = 3 * v[:-1, 3] - 3 * v[:-1, 4] + v[:-1, 5]
    size = np.abs(below).max(axis=1)
    scale = SIGMA * size / np.abs(RADII - r0)
    assert np.all(np.abs(above - below[:-1]).max(axis=1) <= 1e-7 * size[:-1])
    assert np.all(np.abs(flux_above - flux_below[:-1]).max(axis=1) <= 1e-5 * scale[:-1])
    assert np.abs(flux_below[-1]).max() <= 1e-5 * scale[-1]

    h = 2e-5
    for point in points_in_shell(rng, 30, 0.01, 0.0915):
        near = min(np.abs(np.linalg.norm(point) - RADII).min(), np.linalg.norm(point - source))
        if near < 1e-3:
            continue
        stencil = np.concatenate([[point], point + h * np.eye(3), point - h * np.eye(3)])
        v = potential(stencil)
        second = v[1:4] + v[4:] - 2 * v[0]
        assert abs(second.sum()) <= 2e-3 * np.abs(second).max() + 1e-9 * np.abs(v).max()


def test_potential_is_reciprocal_between_layers(rng):
    """p1.E of dipole 2 equals p2.E of dipole 1, in different layers."""
    a, b = points_in_shell(rng, 1, 0.05, 0.05)[0], points_in_shell(rng, 1, 0.089, 0.089)[0]
    p, q = rng.standard_normal((2, 3))
    h = 1e-5

    def slope(source, moment, point, direction):
        ends = np.stack([point + h * direction, point - h * direction])
        ahead, behind = dipole_potential(source, moment, ends, RADII, SIGMA)
        return (ahead - behind) / (2 * h)

    assert slope(a, p, b, q) == pytest.approx(slope(b, q, a, p), rel=1e-6)


def test_surface_mean_of_the_potential_is_zero(rng):
    z, weight = np.polynomial.legendre.leggauss(60)
    phi = np.arange(120) * 2 * np.pi / 120
    rho = np.sqrt(1 - z**2)[:, None]
    unit = np.stack([rho * np.cos(phi), rho * np.sin(phi), z[:, None] + 0 * phi], axis=-1)
    v = dipole_potential([0.01, 0.02, 0.05], [1, 2, 3], 0.092 * unit.reshape(-1, 3), RADII, SIGMA)
    mean = (weight @ v.reshape(60, 120)).mean() / 2
    assert abs(mean) <= 1e-12 * np.abs(v).max()


def test_potential_turns_with_the_sphere(rng):
    turn = random_rotation(rng)
    source, moment = np.array([0.01, 0.03, 0.05]), np.array([1.0, -2.0, 0.5])
    points = points_in_shell(rng, 50, 0.0, 0.092)
    still = dipole_potential(source, moment, points, RADII, SIGMA)
    turned = dipole_potential(turn @ source, turn @ moment, points @ turn.T, RADII, SIGMA)
    np.testing.assert_allclose(turned, still, atol=1e-10 * np.abs(still).max())


@pytest.mark.parametrize(
    ("source", "points", "message"),
    [
        ([0, 0, 0], [[0, 0, 0.05]], "at the centre"),
        ([0, 0, 0.086], [[0, 0, 0.05]], "must lie inside"),
        ([0, 0, 0.1], [[0, 0, 0.05]], "must lie inside"),
        ([0, 0, 0.05], [[0, 0, 0.093]], "outside the sphere"),
        ([0, 0, 0.05], [[0, 0, 0.05]], "coincides"),
        ([0, 0, 0.0860003], [[0, 0, 0.0860001]], "more than 4000 terms"),
    ],
)
def test_potential_refuses(source, points, message):
    with pytest.raises(TargetError, match=message):
        dipole_potential(source, [1, 0, 0], points, RADII, SIGMA)


def test_potential_refuses_bad_layers():
    with pytest.raises(MeshError, match="must ascend"):
        dipole_potential([0, 0, 0.05], [1, 0, 0], [[0, 0, 0.05]], [0.09, 0.08], [1, 1])
    with pytest.raises(MeshError, match="must be positive"):
        dipole_potential([0, 0, 0.05], [1, 0, 0], [[0, 0, 0.05]], [0.08, 0.09], [1, -1])


# --- meshes


def assert_conforming(mesh):
    """Positive tetrahedra, all nodes used, inner faces shared by two, a closed boundary."""
    assert mesh.signed_volumes_mm3.min() > 0
    assert np.array_equal(np.unique(mesh.tets), np.arange(len(mesh.nodes_mm)))
    faces = np.sort(mesh.tets[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].reshape(-1, 3), axis=1)
    _, count = np.unique(faces, axis=0, return_counts=True)
    assert set(count.tolist()) == {1, 2}
    boundary = mesh.boundary_faces
    assert np.count_nonzero(count == 1) == len(boundary)
    edges = np.sort(boundary[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert np.all(count == 2)
    nodes = np.unique(boundary)
    assert len(nodes) - len(count) + len(boundary) == 2  # Euler: one closed surface


@pytest.mark.parametrize("build", [layered_sphere, random_layered_sphere])
@pytest.mark.parametrize(("radii", "tags"), [((90,), (5,)), ((60, 75, 90), (1, 4, 5))])
def test_sphere_meshes(build, radii, tags):
    mesh = build(radii, tags, 12.0)
    assert_conforming(mesh)
    depth = np.linalg.norm(mesh.nodes_mm[mesh.tets], axis=-1)
    inner = np.append(0.0, radii[:-1])
    for tag, low, high in zip(tags, inner, radii, strict=True):
        mine = depth[mesh.tags == tag]
        assert mine.min() >= low - 1e-9 and mine.max() <= high + 1e-9
        ball = mesh.volumes_mm3[mesh.tags == tag].sum() / (4 / 3 * np.pi * (high**3 - low**3))
        assert 0.95 < ball < 1.05
    np.testing.assert_allclose(
        np.linalg.norm(mesh.nodes_mm[np.unique(mesh.boundary_faces)], axis=1), radii[-1], rtol=1e-12
    )


def test_random_sphere_depends_on_its_seed_only():
    first, again, other = (random_layered_sphere((60, 90), (1, 5), 15.0, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.nodes_mm, again.nodes_mm)
    np.testing.assert_array_equal(first.tets, again.tets)
    assert len(first.nodes_mm) != len(other.nodes_mm) or not np.allclose(first.nodes_mm, other.nodes_mm)


def test_random_sphere_with_finer_facets():
    radii, tags = (50.0, 70.0, 90.0), (1, 4, 5)
    plain, same = (random_layered_sphere(radii, tags, 10.0, facet_mm=facet) for facet in (None, 20.0))
    np.testing.assert_array_equal(plain.nodes_mm, same.nodes_mm)
    fine = random_layered_sphere(radii, tags, 10.0, facet_mm=5.0)
    assert_conforming(fine)
    for shell, share in ((50.0, 4.0), (60.0, 1.0), (70.0, 4.0), (80.0, 1.0), (90.0, 4.0)):
        few, many = (
            np.count_nonzero(abs(np.linalg.norm(mesh.nodes_mm, axis=1) - shell) < 1e-9)
            for mesh in (plain, fine)
        )
        assert many == pytest.approx(share * few, rel=0.2)


@pytest.mark.parametrize("jitter", [0.0, 0.15])
def test_box_mesh(jitter):
    mesh = box((2, 3, 4), (20.0, 10.0, 30.0), jitter=jitter, seed=3)
    assert len(mesh.nodes_mm) == 3 * 4 * 5 and len(mesh.tets) == 6 * 24
    assert_conforming(mesh)
    assert mesh.volumes_mm3.sum() == pytest.approx(6000)
    np.testing.assert_array_equal(mesh.nodes_mm.max(axis=0), [20, 10, 30])


def test_shapes_refuse():
    with pytest.raises(MeshError, match="must ascend"):
        layered_sphere((90, 80), (1, 2), 10.0)
    with pytest.raises(MeshError, match="edge_mm must be positive"):
        random_layered_sphere((80, 90), (1, 2), 0.0)
    with pytest.raises(MeshError, match="facet_mm must be positive"):
        random_layered_sphere((80, 90), (1, 2), 10.0, facet_mm=-1.0)
    with pytest.raises(MeshError, match="a box needs"):
        box(0, 10.0)
