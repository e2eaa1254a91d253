"""The finite elements against solutions that do see the conductivity.

The field of a coil in a sphere is blind to it. So here: the potential of a current dipole in
layers (the adjoint problem), its magnetic field outside (the exterior field), and manufactured
solutions with tensors on a box.
"""

import numpy as np
import pytest
from oracles import biot_savart, random_rotation

from efield.adjoint.current import adjoint_currents
from efield.analytic.shapes import box, random_layered_sphere
from efield.analytic.sphere_dipole import dipole_potential
from efield.analytic.sphere_meg import meg_field
from efield.kernels import fem as kernel
from efield.model.head import HeadModel
from efield.solve.prepared import prepare

RADII = np.array([0.06, 0.075, 0.09])
SIGMA = {1: 0.33, 4: 0.02, 5: 0.4}
SOURCE_MM = np.array([8.0, -16.0, 25.0])
MOMENTS = np.array([[1.0, 0.4, -0.7], [-0.5, 1.0, 0.2], [0.3, 0.6, 1.0]])
BALL_MM = 20.0
RTOL = 1e-8


@pytest.fixture(scope="module")
def spheres():
    """Three prepared spheres, coarse to fine, and three current densities in each.

    The densities are smooth and fall to zero over a ball. By the mean value property of
    harmonic functions their far field is that of a point dipole at its centre, exactly.
    Each layer is cut into whole steps at every edge length, so that the meshes are alike.
    """
    prepared = []
    for edge in (15.0, 7.5, 5.0):
        mesh = random_layered_sphere(1e3 * RADII, tuple(SIGMA), edge)
        head = HeadModel.from_mesh(mesh, conductivity=SIGMA)
        radius = np.linalg.norm(mesh.barycentres_mm - SOURCE_MM, axis=1) / BALL_MM
        source = np.flatnonzero(radius < 1)
        density = MOMENTS[:, None] * (1 - radius[source, None] ** 2) ** 2
        prepared.append((prepare(head), source, density))
    return prepared


BALL_VOLUME = 4 * np.pi * (1 / 3 - 2 / 5 + 1 / 7) * (BALL_MM * 1e-3) ** 3
"""Integral of (1 - r^2)^2 over the ball, m^3."""


def rates(sizes, errors):
    return np.diff(np.log(errors)) / np.diff(np.log(sizes))


def mesh_size(head):
    return np.cbrt(head.mesh.volumes_mm3.mean())


def relative_rms(differences, exact):
    """Root mean square over the three sources of their relative errors."""
    return np.sqrt(np.mean([np.mean(d**2) / np.mean(e**2) for d, e in zip(differences, exact, strict=True)]))


def test_potential_of_a_current_dipole_in_layers(spheres):
    sizes, errors = [], []
    for prepared, source, densities in spheres:
        geo, head = prepared.geometry, prepared.head
        where = np.argsort(geo.tet_order)[source]
        loads = np.zeros((3, len(geo.nodes)))
        for density, load in zip(densities, loads, strict=True):
            kernel.functional_load(geo.nodes, geo.tets, where, density, load)
        psi = prepared.solve(np.ascontiguousarray(loads.T), rtol=RTOL).x
        surface = np.argsort(geo.node_order)[np.unique(head.mesh.boundary_faces)]
        points = geo.nodes[surface]
        exact = [
            dipole_potential(1e-3 * SOURCE_MM, BALL_VOLUME * moment, points, RADII, list(SIGMA.values()))
            for moment in MOMENTS
        ]
        difference = psi[surface].T - exact
        sizes.append(mesh_size(head))
        errors.append(relative_rms(difference - difference.mean(axis=1, keepdims=True), exact))

    assert np.all(rates(sizes, errors) > 1.5), (sizes, errors)  # second order, not first
    assert errors[-1] < 0.01


def test_magnetic_field_outside_a_sphere(spheres):
    rng = np.random.default_rng(5)
    points = rng.standard_normal((200, 3)) + np.array([0.5, -0.5, 1.0])
    points *= rng.uniform(0.1, 0.14, (200, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    exact = [meg_field(1e-3 * SOURCE_MM, BALL_VOLUME * moment, points) for moment in MOMENTS]
    sizes, errors = [], []
    for prepared, source, densities in spheres:
        got = adjoint_currents(prepared, source, densities, rtol=RTOL).field(points)
        sizes.append(mesh_size(prepared.head))
        errors.append(relative_rms(got.swapaxes(0, 1) - exact, exact))

    assert np.all(rates(sizes, errors) > 1.5), (sizes, errors)  # second order, not first
    assert errors[-1] < 0.01


def test_exterior_field_is_the_biot_savart_sum_of_the_node_currents(spheres):
    prepared, source, _ = spheres[0]
    weights = np.random.default_rng(1).standard_normal((4, len(source), 3))
    currents = adjoint_currents(prepared, source, weights)
    points = np.array([[0.0, 0.03, 0.11], [-0.1, 0.05, 0.02]])
    field = currents.field(points)
    for k in range(4):
        expected = biot_savart(currents.nodes, currents.currents[:, k], points)
        np.testing.assert_allclose(field[:, k], expected, atol=1e-12 * np.abs(expected).max())
    coarse = currents.field(points, dtype=np.float32)
    np.testing.assert_allclose(coarse, field, atol=1e-5 * np.abs(field).max())


# --- manufactured solutions with tensors on a box

SIZE = np.array([0.03, 0.02, 0.04])


def tensor_at(x):
    """A smooth symmetric positive definite tensor, anisotropic 1 : 9."""
    turn = random_rotation(np.random.default_rng(9))
    stretch = 1 + 0.5 * np.sin(2 * np.pi * x[:, 0] / SIZE[0]) * np.cos(np.pi * x[:, 2] / SIZE[2])
    sigma = np.einsum(
        "ij,tj,kj->tik", turn, np.stack([0.1 * stretch, 0.3 / stretch, 0.9 + 0 * stretch], 1), turn
    )
    return 0.5 * (sigma + sigma.swapaxes(1, 2))


def closed_current(x):
    """J = curl of (0, 0, psi): no divergence, and none of it crosses the faces of the box."""
    s, c = np.sin(np.pi * x / SIZE), np.cos(np.pi * x / SIZE)
    along = np.cos(np.pi * x[:, 2] / SIZE[2])
    dx = 2 * s[:, 0] * c[:, 0] * np.pi / SIZE[0] * s[:, 1] ** 2
    dy = 2 * s[:, 1] * c[:, 1] * np.pi / SIZE[1] * s[:, 0] ** 2
    return np.stack([dy * along, -dx * along, 0 * along], axis=-1)


def exact_e(x):
    return np.linalg.solve(tensor_at(x), closed_current(x)[..., None])[..., 0]


def exact_v(x):
    return np.sin(2 * x[:, 0] / SIZE[0]) * (x[:, 1] / SIZE[1]) ** 2 + np.exp(-x[:, 2] / SIZE[2])


def exact_grad_v(x):
    u = x / SIZE
    grad = np.stack(
        [2 * np.cos(2 * u[:, 0]) * u[:, 1] ** 2, 2 * np.sin(2 * u[:, 0]) * u[:, 1], -np.exp(-u[:, 2])],
        axis=-1,
    )
    return grad / SIZE


def solve_with_dadt(prepared, dadt):
    """Potential in solver order and E in the mesh's own, for dA/dt at the solver's nodes."""
    load = prepared.source_load(np.ascontiguousarray(dadt[:, :, None]))
    v = np.ascontiguousarray(prepared.solve(load, rtol=1e-10).x[:, 0])
    everywhere = np.arange(len(prepared.head.tets))
    return v, prepared.element_field(v, np.ascontiguousarray(dadt), everywhere)


def test_manufactured_solution_with_tensors():
    """dA/dt := -grad v - E for a chosen v and a chosen closed current J = sigma E."""
    sizes, field_errors, potential_errors = [], [], []
    for n in (8, 12, 18):
        mesh = box((3 * n // 2, n, 2 * n), 1e3 * SIZE, jitter=0.15, seed=n)
        prepared = prepare(HeadModel(mesh, tensor_at(mesh.barycentres_mm * 1e-3)))
        x = prepared.nodes
        v, e = solve_with_dadt(prepared, -exact_grad_v(x) - exact_e(x))
        wanted = exact_e(mesh.barycentres_mm * 1e-3)
        volumes = mesh.volumes_mm3
        difference = v - exact_v(x)
        sizes.append(1 / n)
        field_errors.append(
            np.sqrt(volumes @ np.sum((e - wanted) ** 2, 1) / (volumes @ np.sum(wanted**2, 1)))
        )
        potential_errors.append(difference.std() / exact_v(x).std())

    assert np.all(rates(sizes, field_errors) > 0.95)
    assert np.all(rates(sizes, potential_errors) > 1.8)


def test_a_constant_dadt_in_a_box_is_cancelled_exactly():
    """E = 0 whatever the tensors and the mesh: the patch test."""
    rng = np.random.default_rng(2)
    mesh = box((4, 5, 6), 1e3 * SIZE, jitter=0.15)
    tensors = []
    for values in rng.uniform(0.1, 2.0, (len(mesh.tets), 3)):
        turn = random_rotation(rng)
        tensors.append(turn @ np.diag(values) @ turn.T)
    tensors = np.array(tensors)
    prepared = prepare(HeadModel(mesh, 0.5 * (tensors + tensors.swapaxes(1, 2))))
    constant = np.array([3.0, -1.0, 2.0])
    v, e = solve_with_dadt(prepared, np.tile(constant, (len(prepared.nodes), 1)))
    assert np.abs(e).max() <= 1e-7
    expected = -prepared.nodes @ constant
    np.testing.assert_allclose(v - v.mean(), expected - expected.mean(), atol=1e-9)
