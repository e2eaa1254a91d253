"""Bisection of longest edges, as benchmarks/refine_head.py refines the built-in head."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from boxes import box_record, signed_volumes

from efield.errors import MeshError
from efield.model.mesh import TetMesh

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "refine_head.py"
HALF_MM = 50.0


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("refine_head", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def box(jitter=0.4):
    record = box_record(6, 2 * HALF_MM, jitter=jitter, seed=3)
    return TetMesh(record.nodes, record.tets, record.tet_tags)


def core(mesh):
    return mesh.tags == 2


def longest_edges(mesh):
    corners = mesh.nodes_mm[mesh.tets]
    pairs = itertools.combinations(range(4), 2)
    return np.max([np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in pairs], axis=0)


def assert_conforming(mesh):
    """Faces of one tetrahedron lie on the box, all others have exactly two."""
    corners = np.array(list(itertools.combinations(range(4), 3)))
    faces, count = np.unique(
        np.sort(mesh.tets[:, corners].reshape(-1, 3), axis=1), axis=0, return_counts=True
    )
    assert count.max() == 2
    outer = mesh.nodes_mm[faces[count == 1]]
    on_side = np.all(np.abs(np.abs(outer) - HALF_MM) < 1e-9, axis=1)
    assert np.all(on_side.any(axis=1))
    area = 0.5 * np.linalg.norm(np.cross(outer[:, 1] - outer[:, 0], outer[:, 2] - outer[:, 0]), axis=1)
    assert area.sum() == pytest.approx(6 * (2 * HALF_MM) ** 2, rel=1e-12)


def volumes_per_tag(mesh):
    volumes = signed_volumes(mesh.nodes_mm, mesh.tets)
    assert volumes.min() > 0
    return [volumes[mesh.tags == tag].sum() for tag in (2, 3, 5)]


def test_refines_the_region_and_conforms(script):
    before = box()
    after = script.refine(before, core(before), 5.0)
    assert longest_edges(before)[core(before)].max() > 20.0
    assert longest_edges(after)[core(after)].max() <= 5.0
    assert_conforming(after)


def test_keeps_the_volume_of_every_tissue(script):
    before = box()
    after = script.refine(before, core(before), 5.0)
    assert volumes_per_tag(after) == pytest.approx(volumes_per_tag(before), rel=1e-9)


def test_halves_inherit_the_tag_of_the_place_they_lie_in(script):
    before = box(jitter=0.0)
    after = script.refine(before, core(before), 8.0)
    cell = 2 * HALF_MM / 6
    depth = np.floor((HALF_MM - np.abs(after.barycentres_mm).max(axis=1)) / cell).astype(int)
    np.testing.assert_array_equal(after.tags, np.array([5, 3, 2])[depth])


def test_no_node_moves_and_shapes_do_not_collapse(script):
    before = box()
    after = script.refine(before, core(before), 3.0)
    np.testing.assert_array_equal(after.nodes_mm[: len(before.nodes_mm)], before.nodes_mm)
    assert after.shapes[0].min() > 0.3 * before.shapes[0].min()
    assert np.median(after.shapes[0]) > 0.6 * np.median(before.shapes[0])


def test_stops_at_the_size_asked_for_and_conforms_there(script):
    before = box()
    after = script.refine(before, core(before), 1.0, n_tets=20_000)
    assert 20_000 - script.SHARED_AT_MOST <= len(after.tets) <= 20_000
    assert_conforming(after)
    assert volumes_per_tag(after) == pytest.approx(volumes_per_tag(before), rel=1e-9)


def test_is_deterministic(script):
    before = box(jitter=0.0)  # many edges are equally long
    first, second = (script.refine(before, core(before), 6.0) for _ in range(2))
    np.testing.assert_array_equal(first.tets, second.tets)
    np.testing.assert_array_equal(first.nodes_mm, second.nodes_mm)


def test_nothing_to_do_changes_nothing(script):
    before = box()
    after = script.refine(before, core(before), 1000.0)
    np.testing.assert_array_equal(after.tets, before.tets)
    none = script.refine(before, np.zeros(len(before.tets), bool), 1.0)
    np.testing.assert_array_equal(none.tets, before.tets)


def test_an_edge_length_must_be_positive(script):
    with pytest.raises(MeshError, match="edge_mm must be positive"):
        script.refine(box(), core(box()), 0.0)


def test_the_head_has_the_size_asked_for_and_its_tissues(script):
    base = script.load_head(script.BASE)
    head = script.refined_head(1_650_000)
    assert 1_650_000 - script.SHARED_AT_MOST <= len(head.tets) <= 1_650_000
    assert head.mesh.signed_volumes_mm3.min() > 0
    assert np.count_nonzero(head.mesh.face_neighbours == -1) == np.count_nonzero(
        base.mesh.face_neighbours == -1
    )
    before, after = script.tissue_volumes(base.mesh), script.tissue_volumes(head.mesh)
    assert after == pytest.approx(before, rel=1e-9)
