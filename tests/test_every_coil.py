"""Every kind of coil in `simulate`, `optimize_coil` and `compare_targeting`, from files the test writes."""

import nibabel
import numpy as np
import pytest
from small_heads import TARGET_MM, few_dipoles

import efield
from efield.analytic.shapes import random_layered_sphere
from efield.io.stimulator import Stimulator
from efield.io.tcd import DIPOLES, GRID, LINES, Deformation, DeformRange, Element, TcdRecord, write_tcd
from efield.model import coil_few, coil_fit
from efield.model.coil_files import save_coil
from efield.model.coils import load_coil
from efield.model.head import HeadModel

SEARCH = efield.Search(radius_mm=8.0, spacing_mm=5.0, yaw_step_deg=30.0)
"""Its points but the outer ones lie farther than their spacing from the edge: it is searched once."""
TARGET = efield.Target.sphere(TARGET_MM, 8.0)
METHODS = ["closest-scalp", "optimised"]


@pytest.fixture(scope="module")
def head():
    """Four tissues, coarse."""
    mesh = random_layered_sphere([66.0, 72.0, 78.0, 85.0], [2, 3, 4, 5], 14.0, seed=1)
    return efield.prepare(HeadModel.from_mesh(mesh, name="ball"))


def tcd(path, *elements, stimulators=1, **more):
    write_tcd(path, TcdRecord(elements, tuple(Stimulator(f"S{k}") for k in range(stimulators)), **more))
    return path


def dipole_element(stimulator=0, rows=slice(None), **more):
    coil = few_dipoles()
    return Element(DIPOLES, stimulator, coil.positions_mm[rows], coil.moments[rows], **more)


def ccd(folder):
    path = folder / "coil.ccd"
    save_coil(few_dipoles(), path)
    return path


def tcd_dipoles(folder):
    return tcd(folder / "coil.tcd", dipole_element())


def two_stimulators(folder):
    wings = dipole_element(0, slice(13)), dipole_element(1, slice(13, None))
    return tcd(folder / "coil.tcd", *wings, stimulators=2)


def lines(folder):
    """Two loops side by side, 24 segments each; their current runs along -y between them."""
    angle = np.linspace(0, 2 * np.pi, 25)
    ring = np.stack([30 * np.cos(angle), 30 * np.sin(angle), np.full(25, -6.0)], axis=1) + [32, 0, 0]
    wings = ring, ring * [-1, 1, 1]
    middles, steps = (
        np.vstack(w) for w in ([(r[1:] + r[:-1]) / 2 for r in wings], [np.diff(r, axis=0) for r in wings])
    )
    return tcd(folder / "coil.tcd", Element(LINES, 0, middles, steps))


def samples():
    """Affine and A of the dipoles on a grid of 8 mm that holds them and the head."""
    low, counts, step = np.array([-172.0, -172, -42]), (44, 44, 33), 8.0
    points = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1) * step + low
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return affine, few_dipoles().a_field(points.reshape(-1, 3)).reshape(points.shape).astype(np.float32)


def grid(folder):
    affine, data = samples()
    return tcd(folder / "coil.tcd", Element(GRID, 0, data=data, affine=affine))


def nifti(folder):
    affine, data = samples()
    nibabel.save(nibabel.Nifti1Image(data, affine), folder / "coil.nii.gz")
    return folder / "coil.nii.gz"


def deformable(folder):
    """The wing at x < 0 bends by up to 10 degrees towards the head."""
    fold = Deformation("rot2p", 0, np.array([0.0, 0, -6]), np.array([0.0, 1, -6]))
    wings = dipole_element(0, slice(13)), dipole_element(0, slice(13, None), deformations=(0,))
    return tcd(folder / "coil.tcd", *wings, deformations=(fold,), ranges=(DeformRange(0.0, 0.0, 10.0),))


def built_in(folder):
    return "bent-d-b80"


SAME = {ccd: 1e-6, tcd_dipoles: 1e-6, two_stimulators: 1e-6, deformable: 1e-6, grid: 0.02, nifti: 0.02}
"""How far the field may be off that of the dipoles the file was made of."""


@pytest.mark.filterwarnings("ignore:.* equivalent dipoles reproduce its field")
@pytest.mark.filterwarnings("ignore:.* of the head's nodes lie outside")
@pytest.mark.parametrize("kind", [*SAME, lines, built_in])
def test_a_coil_works_in_every_call(kind, head, tmp_path, monkeypatch):
    monkeypatch.setattr(coil_fit, "FEWEST", 50)
    monkeypatch.setattr(coil_fit, "MOST", 150)
    monkeypatch.setattr(coil_few, "MOST", 1)
    coil = load_coil(kind(tmp_path))
    deform = {"deform": 2} if coil.deformations else {}
    found = efield.optimize_coil(
        head, coil, TARGET, objective="magnitude_of_mean", search=SEARCH, n_best=1, **deform
    )
    assert found.check.relative_difference < 1e-3
    if deform:
        coil = coil.deformed(found.search["deformations"])
    field = efield.simulate(head, coil, found.placement)
    region = TARGET.resolve(head.head)
    weights = region.volumes_mm3 / region.volumes_mm3.sum()
    of_mean = np.linalg.norm(weights @ field.E[region.elements])
    assert found.objective.value == pytest.approx(of_mean, rel=1e-6)

    compared = efield.compare_targeting(head, coil, TARGET, METHODS, search=SEARCH)
    assert [row["error"] for row in compared.rows] == [None, None]
    assert compared["closest-scalp"]["mean"] > 0
    assert compared["closest-scalp"]["percent_of_optimum"] < 101
    if kind in SAME:
        exact = (
            load_coil(deformable(tmp_path)).deformed(found.search["deformations"])
            if deform
            else few_dipoles()
        )
        expected = efield.simulate(head, exact, found.placement)
        apart = np.abs(field.E - expected.E)[region.elements].max()
        assert apart <= SAME[kind] * np.abs(expected.E[region.elements]).max()
