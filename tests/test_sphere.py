"""The field of a coil in layered spheres against its closed form (Heller and van Hulsteyn 1992)."""

import numpy as np
import pytest

from efield.analytic.shapes import layered_sphere, random_layered_sphere
from efield.analytic.sphere_tms import tms_field
from efield.fem.source import dipoles_in_head
from efield.forward import simulate
from efield.model.coil import Coil
from efield.model.head import HeadModel
from efield.model.placement import Placement

DIDT = 1e6


def figure_eight():
    """A small figure-8: two rings of dipoles of opposite sign, in the plane z = -5 mm."""
    angle = np.arange(12) * 2 * np.pi / 12
    ring = np.stack([20 * np.cos(angle), 20 * np.sin(angle), 0 * angle - 5], axis=-1)
    aside = np.array([25, 0, 0])
    positions = np.concatenate([ring + aside, ring - aside])
    moments = np.repeat([[0, 0, 1e-4], [0, 0, -1e-4]], 12, axis=0)
    return Coil(positions, moments, name="small figure-8")


def tilted_pose(radius_mm):
    """A pose on no axis of symmetry, its origin `radius_mm` from the centre."""
    z = -np.array([0.3, -0.5, 0.81])
    z /= np.linalg.norm(z)
    x = np.cross([0.2, 0.9, 0.1], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=-1)
    pose[:3, 3] = -radius_mm * z
    return Placement(pose)


def exact_field(head, coil, placement, where=slice(None)):
    positions, moments = dipoles_in_head(coil, placement)
    return tms_field(positions, DIDT * moments, head.mesh.barycentres_mm[where] * 1e-3)


def relative_error(got, exact, volumes):
    """Volume-weighted vector L2."""
    return np.sqrt((volumes @ np.sum((got - exact) ** 2, axis=1)) / (volumes @ np.sum(exact**2, axis=1)))


def mesh_size(mesh):
    """Cube root of the mean volume, mm."""
    return np.cbrt(mesh.volumes_mm3.mean())


@pytest.mark.parametrize("build", [layered_sphere, random_layered_sphere])
def test_error_falls_at_first_order(build):
    """Each layer is cut into whole steps at every edge length, so that the meshes are alike."""
    coil, placement = figure_eight(), tilted_pose(104.0)
    sizes, errors = [], []
    for edge in (15.0, 7.5, 5.0):
        mesh = build((60.0, 75.0, 90.0), (1, 4, 5), edge)
        head = HeadModel.from_mesh(mesh)
        field = simulate(head, coil, placement, didt=DIDT)
        exact = exact_field(head, coil, placement)
        sizes.append(mesh_size(mesh))
        errors.append(relative_error(field.E, exact, mesh.volumes_mm3))
    rates = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    assert np.all(rates > 0.95), (sizes, errors)
    assert errors[-1] < 0.045


LAYERINGS = {
    "one conductivity": dict.fromkeys((1, 2, 3, 4, 5), 0.33),
    "three": {1: 0.33, 2: 0.33, 3: 1.79, 4: 0.01, 5: 0.33},
    "five": {1: 0.126, 2: 0.275, 3: 1.654, 4: 0.01, 5: 0.465},
}


def test_field_does_not_depend_on_the_layering():
    """All layerings have the one closed form; what they differ by falls with the mesh."""
    coil, placement = figure_eight(), tilted_pose(104.0)
    spread = []
    for edge in (15.0, 7.5):
        mesh = random_layered_sphere((30.0, 45.0, 60.0, 75.0, 90.0), (1, 2, 3, 4, 5), edge)
        fields = []
        for conductivity in LAYERINGS.values():
            head = HeadModel.from_mesh(mesh, conductivity=conductivity)
            fields.append(simulate(head, coil, placement, didt=DIDT).E)
        exact = exact_field(head, coil, placement)
        errors = np.array([relative_error(e, exact, mesh.volumes_mm3) for e in fields])
        between = np.array([relative_error(e, fields[0], mesh.volumes_mm3) for e in fields[1:]])
        assert errors.max() <= 1.1 * errors.min()
        assert between.max() <= 0.35 * errors.min()
        spread.append(between.max())
    assert spread[1] < 0.5 * spread[0]


@pytest.fixture(scope="module")
def simnibs_sphere(shared):
    from efield.model.heads import load_head

    return load_head(shared("data/meshes/simnibs_sphere3.msh"))


def test_simnibs_sphere_reaches_first_order_accuracy(simnibs_sphere, shared):
    """The figures that first-order codes reach on this mesh, in the brain (tag 3)."""
    from efield.model.coils import load_coil

    coil = load_coil(shared("data/coils/Magstim_70mm_Fig8.ccd"))
    pose = np.diag([-1.0, 1.0, -1.0, 1.0])
    pose[2, 3] = 95.0 + 4.0
    field = simulate(simnibs_sphere, coil, Placement(pose), didt=DIDT)
    brain = simnibs_sphere.tags == 3
    exact = exact_field(simnibs_sphere, coil, Placement(pose), brain)
    got = field.E[brain]
    volumes = simnibs_sphere.mesh.volumes_mm3[brain]
    # Relative difference measure, of the list of values as it stands (the custom of the field).
    rdm = np.linalg.norm(got / np.linalg.norm(got) - exact / np.linalg.norm(exact))
    assert rdm <= 0.075
    assert relative_error(got, exact, volumes) <= 0.095
    assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(exact), rel=0.05)
