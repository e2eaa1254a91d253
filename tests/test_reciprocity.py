"""The adjoint value of a coil equals the functional of its forward field.

Both by direct summation, with both solves at a relative residual of 1e-8, for random functionals,
coils and poses: ``|adjoint - forward| <= 1e-6 sum V |w| |E|``.
"""

import numpy as np
import pytest
from oracles import random_rotation
from small_heads import mni_small

from efield.adjoint.current import adjoint_currents, mean_field_weights
from efield.analytic.shapes import random_layered_sphere
from efield.fem.source import dipoles_in_head
from efield.forward import simulate
from efield.frames import pose_from_yaw
from efield.model.coil import Coil
from efield.model.head import HeadModel
from efield.model.placement import Placement
from efield.solve.prepared import prepare

RTOL = 1e-8
DIDT = 67e6


def random_coil(rng):
    n = int(rng.integers(1, 40))
    positions = rng.uniform([-30, -30, -25], [30, 30, -5], (n, 3))
    return Coil(positions, 1e-4 * rng.standard_normal((n, 3)), name="random")


def random_placement(rng, head):
    """Over a random scalp point of the upper half, tilted by up to 10 degrees."""
    scalp = head.scalp
    middle = scalp.vertices_mm.mean(axis=0)
    upper = np.flatnonzero(scalp.centroids_mm[:, 2] > middle[2] + 20)
    point = scalp.centroids_mm[rng.choice(upper)]
    inward = -scalp.smooth_normal(point)[0]
    z = inward + 0.17 * rng.uniform(-1, 1, 3)
    return Placement(pose_from_yaw(point - 18 * inward, z / np.linalg.norm(z), rng.uniform(-180, 180)))


def random_target(rng, head, tag, radius_mm):
    centres = head.mesh.barycentres_mm
    centre = centres[rng.choice(np.flatnonzero(head.tags == tag))]
    near = np.linalg.norm(centres - centre, axis=1) < radius_mm
    return np.flatnonzero(near & (head.tags == tag))


def anisotropic(head, rng):
    """The same head with a random tensor in every tetrahedron of grey matter."""
    n = len(head.tets)
    sigma = head.conductivity[:, None, None] * np.eye(3)
    skew = rng.uniform(-0.3, 0.3, (n, 3, 3))
    factor = np.eye(3) + np.where((head.tags == 2)[:, None, None], skew, 0)
    tensor = factor @ sigma @ factor.swapaxes(1, 2)
    return HeadModel(head.mesh, 0.5 * (tensor + tensor.swapaxes(1, 2)), name=head.name)


@pytest.fixture(scope="module")
def sphere():
    mesh = random_layered_sphere((60.0, 70.0, 80.0, 90.0), (1, 2, 4, 5), 9.0)
    return prepare(HeadModel.from_mesh(mesh))


@pytest.fixture(scope="module")
def tensor_sphere(sphere):
    return prepare(anisotropic(sphere.head, np.random.default_rng(4)))


@pytest.fixture(scope="module")
def real_head():
    return mni_small()


@pytest.fixture(scope="module")
def tensor_head(real_head):
    """The real head with tensors of up to 1 : 9 all over its brain."""
    head, rng = real_head.head, np.random.default_rng(6)
    brain = np.isin(head.tags, (1, 2))
    turns = np.array([random_rotation(rng) for _ in range(50)])[rng.integers(0, 50, len(head.tets))]
    stretch = np.where(brain[:, None], [3.0, 1.0, 1 / 3], 1.0)
    tensor = turns @ (head.conductivity[:, None, None] * stretch[:, :, None] * turns.swapaxes(1, 2))
    return prepare(HeadModel(head.mesh, 0.5 * (tensor + tensor.swapaxes(1, 2)), name="tensors"))


@pytest.mark.parametrize("name", ["sphere", "tensor_sphere", "real_head", "tensor_head"])
def test_adjoint_equals_forward(name, request):
    prepared = request.getfixturevalue(name)
    head = prepared.head
    rng = np.random.default_rng(11)
    target = random_target(rng, head, 2, 12.0)
    volumes = head.mesh.volumes_mm3[target] * 1e-9
    weights = np.concatenate([mean_field_weights(volumes), rng.standard_normal((2, len(target), 3))])
    currents = adjoint_currents(prepared, target, weights, rtol=RTOL)
    assert currents.residual.max() <= RTOL
    for _ in range(3):
        coil = random_coil(rng)
        placements = [random_placement(rng, head) for _ in range(2)]
        for field in simulate(prepared, coil, placements, didt=DIDT, rtol=RTOL):
            assert field.residual <= RTOL
            e = field.E[target]
            forward = np.einsum("t,kti,ti->k", volumes, weights, e)
            size = np.einsum("t,kt,t->k", volumes, np.linalg.norm(weights, axis=2), np.linalg.norm(e, axis=1))
            positions, moments = dipoles_in_head(coil, field.placement)
            adjoint = currents.coil_functionals(positions, DIDT * moments)
            assert np.all(np.abs(adjoint - forward) <= 1e-6 * size), np.abs(adjoint - forward) / size


def test_mean_field_weights_give_the_volume_weighted_mean():
    rng = np.random.default_rng(0)
    volumes, e = rng.uniform(1, 3, 20), rng.standard_normal((20, 3))
    value = np.einsum("t,kti,ti->k", volumes, mean_field_weights(volumes), e)
    np.testing.assert_allclose(value, np.average(e, axis=0, weights=volumes), rtol=1e-13)
