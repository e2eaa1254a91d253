"""Planted slivers, as benchmarks/slivers.py plants them: the mesh, and what they do to peaks of |E|."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from small_heads import mni_small

from efield.analytic.shapes import box
from efield.model.mesh import TetMesh
from efield.model.placement import Placement

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "slivers.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("slivers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cut(script):
    """A box of two tissues before and after, the parents, and the tetrahedra that were cut."""
    mesh = box(4, 40.0, jitter=0.15, seed=2)
    mesh = TetMesh(mesh.nodes_mm, mesh.tets, np.where(mesh.barycentres_mm[:, 0] < 20, 2, 3))
    some = np.arange(3, len(mesh.tets), 17)
    after, parent = script.planted(mesh, some, np.random.default_rng(1), 1e-3)
    return mesh, after, parent, some


def test_the_mesh_still_conforms(cut):
    before, after, _, _ = cut
    corners = np.array(list(itertools.combinations(range(4), 3)))
    faces = np.sort(after.tets[:, corners].reshape(-1, 3), axis=1)
    _, count = np.unique(faces, axis=0, return_counts=True)
    outside = np.sort(before.boundary_faces, axis=1)
    assert set(count) == {1, 2} and np.count_nonzero(count == 1) == len(outside)
    np.testing.assert_array_equal(np.unique(np.sort(after.boundary_faces, axis=1), axis=0), np.unique(outside, axis=0))


def test_children_fill_their_parents_and_keep_their_tissue(cut):
    before, after, parent, some = cut
    assert after.signed_volumes_mm3.min() > 0
    filled = np.bincount(parent, after.signed_volumes_mm3, len(before.tets))
    np.testing.assert_allclose(filled, before.volumes_mm3, rtol=1e-12)
    np.testing.assert_array_equal(np.bincount(parent), np.where(np.isin(np.arange(len(before.tets)), some), 4, 1))
    np.testing.assert_array_equal(after.tags, before.tags[parent])
    centre = np.einsum("nc,n->nc", after.barycentres_mm, after.volumes_mm3)
    centre = np.stack([np.bincount(parent, column) for column in centre.T], axis=1)
    np.testing.assert_allclose(centre / before.volumes_mm3[:, None], before.barycentres_mm, atol=1e-10)


def test_one_child_or_two_are_flat(cut):
    before, after, parent, some = cut
    share = after.volumes_mm3 / before.volumes_mm3[parent]
    flat = np.bincount(parent[share < 2e-3], minlength=len(before.tets))[some]
    np.testing.assert_array_equal(flat, np.where(np.arange(len(some)) % 2, 1, 2))


def test_slivers_move_the_maximum_and_no_percentile(script):
    head, region = mni_small().head, mni_small().region
    on_scalp = head.scalp.closest(region.center_mm)[0][0]
    placements = [Placement.on_scalp(head, on_scalp, yaw_deg=yaw, distance_mm=4.0) for yaw in (-30.0, 60.0)]
    rows = script.moved_peaks(head, region.center_mm, placements, 1)
    change = {row["statistic"]: row["change"] for row in rows}
    assert rows[0]["slivers"] >= 20
    assert change["maximum"] > 0.05
    assert max(change["p50"], change["p95"], change["p99"]) < 0.005
