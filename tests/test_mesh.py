"""Volumes, shapes and neighbours of tetrahedra against plain NumPy and brute force."""

import itertools
import pickle

import numpy as np
import pytest
from boxes import box_record, outer_triangles, signed_volumes

from efield.errors import MeshError
from efield.kernels import topology
from efield.model.mesh import TetMesh


def mesh_of(record):
    return TetMesh(record.nodes, record.tets, record.tet_tags)


@pytest.fixture(scope="module")
def shuffled():
    """A distorted box with every third tetrahedron inverted, all in random order."""
    record = box_record(5, jitter=0.4, seed=1)
    rng = np.random.default_rng(2)
    tets = record.tets.copy()
    tets[::3] = tets[::3][:, [1, 0, 2, 3]]
    order = rng.permutation(len(tets))
    renumber = rng.permutation(len(record.nodes))
    nodes = np.empty_like(record.nodes)
    nodes[renumber] = record.nodes
    return TetMesh(nodes, renumber[tets[order]], record.tet_tags[order])


def test_volumes_and_barycentres(shuffled):
    expected = signed_volumes(shuffled.nodes_mm, shuffled.tets)
    np.testing.assert_allclose(shuffled.signed_volumes_mm3, expected, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(shuffled.volumes_mm3.sum(), 1e6, rtol=1e-12)
    np.testing.assert_allclose(
        shuffled.barycentres_mm, shuffled.nodes_mm[shuffled.tets].mean(axis=1), atol=1e-12
    )


def test_shapes_of_known_tetrahedra():
    regular = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    corner = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    flat = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    double = [[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
    nodes = np.array([*regular, *corner, *flat, *double], float)
    quality, edge = TetMesh(nodes, np.arange(16).reshape(4, 4), np.ones(4)).shapes
    # corner: r_in = 1 / (3 + sqrt 3), R = sqrt(3) / 2
    np.testing.assert_allclose(quality, [1, 3 / (3 + 3**0.5) / (3**0.5 / 2), 0, 0], atol=1e-14)
    np.testing.assert_allclose(edge[:2], [8**0.5, (3 + 3 * 2**0.5) / 6], rtol=1e-14)


def test_neighbours_by_brute_force(shuffled):
    faces = {}
    for t, tet in enumerate(shuffled.tets.tolist()):
        for f in range(4):
            faces.setdefault(tuple(sorted(tet[:f] + tet[f + 1 :])), []).append((t, f))
    expected = np.full((len(shuffled.tets), 4), -1)
    for owners in faces.values():
        for (t, f), (other, _) in itertools.permutations(owners, 2):
            expected[t, f] = other
    np.testing.assert_array_equal(shuffled.face_neighbours, expected)


def test_boundary_faces_are_those_that_occur_once_and_look_outwards(shuffled):
    faces = shuffled.boundary_faces
    record = box_record(5)
    assert len(faces) == len(outer_triangles(record)) == 2 * 6 * 25
    a, b, c = (shuffled.nodes_mm[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    assert np.all(np.einsum("ij,ij->i", normals, a + b + c) > 0)
    np.testing.assert_allclose(np.einsum("ij,ij->", normals, a) / 6, 1e6, rtol=1e-12)  # divergence theorem


@pytest.mark.parametrize("n_extra", [1, 2])
def test_a_face_of_more_than_two_tetrahedra_is_marked(n_extra):
    nodes = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 1, 1], [1, 1, 2]], float)
    tets = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 5], [0, 1, 2, 6]])[: 2 + n_extra]
    neighbours = TetMesh(nodes, tets, np.ones(len(tets))).face_neighbours
    np.testing.assert_array_equal(neighbours[:, 3], -2)
    np.testing.assert_array_equal(neighbours[:, :3], -1)


def test_neighbours_do_not_depend_on_threads(shuffled, monkeypatch):
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("EFIELD_NUM_THREADS", threads)
        mesh = TetMesh(shuffled.nodes_mm, shuffled.tets, shuffled.tags)
        results.append((mesh.face_neighbours, mesh.boundary_faces, mesh.signed_volumes_mm3, *mesh.shapes))
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


def test_flood_numbers_pieces_by_their_first_tetrahedron():
    #  0-1 tag 1, 2 tag 2, 3 tag 1 (a chain): pieces 0, 0, 1, 2
    neighbours = np.array([[1, -1, -1, -1], [0, 2, -1, -1], [1, 3, -1, -1], [2, -1, -1, -2]], np.int32)
    for flood in (topology.flood, topology.flood.py_func):
        piece = np.full(4, -1, np.int32)
        assert flood(neighbours, np.array([1, 1, 2, 1], np.int32), piece) == 3
        assert piece.tolist() == [0, 0, 1, 2]


def test_kernels_as_plain_python(shuffled):
    """The same rows from the interpreter, which checks every index."""
    nodes, tets, stop = shuffled.nodes_mm, shuffled.tets, 40
    volumes, centres = np.empty(stop), np.empty((stop, 3))
    quality, edge = np.empty(stop), np.empty(stop)
    topology.signed_volumes.py_func(0, stop, nodes, tets, volumes)
    topology.barycentres.py_func(0, stop, nodes, tets, centres)
    topology.shapes.py_func(0, stop, nodes, tets, quality, edge)
    np.testing.assert_allclose(volumes, shuffled.signed_volumes_mm3[:stop], rtol=1e-12)
    np.testing.assert_allclose(centres, shuffled.barycentres_mm[:stop], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(quality, shuffled.shapes[0][:stop], rtol=1e-12)
    np.testing.assert_allclose(edge, shuffled.shapes[1][:stop], rtol=1e-12)


def test_ordered_copy_is_the_same_mesh_by_smallest_node(shuffled):
    unused = TetMesh(np.vstack([np.zeros(3), shuffled.nodes_mm]), shuffled.tets + 1, shuffled.tags)
    ordered = unused.ordered
    assert 0 not in ordered.node_order
    assert sorted(ordered.tet_order) == list(range(len(unused.tets)))
    np.testing.assert_allclose(1e3 * ordered.nodes, unused.nodes_mm[ordered.node_order], rtol=1e-15)
    np.testing.assert_array_equal(ordered.node_order[ordered.tets], unused.tets[ordered.tet_order])
    smallest = ordered.tets.min(axis=1)
    assert np.all(np.diff(smallest) >= 0)
    same = np.diff(smallest) == 0
    assert np.all(np.diff(ordered.tet_order)[same] > 0)


def test_pickle_drops_what_can_be_computed(shuffled):
    assert len(shuffled.volumes_mm3) == len(shuffled.tets)
    copy = pickle.loads(pickle.dumps(shuffled))
    assert set(vars(copy)) == {"nodes_mm", "tets", "tags"}
    np.testing.assert_array_equal(copy.tets, shuffled.tets)
    with pytest.raises(ValueError, match="read-only"):
        copy.nodes_mm[0] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, t, g: (n[:, :2], t, g), r"nodes_mm must have shape"),
        (lambda n, t, g: (n, t[:, :3], g), r"tets must have shape"),
        (lambda n, t, g: (n, t[:0], g[:0]), "no tetrahedra"),
        (lambda n, t, g: (n, t, g[1:]), "tags must have shape"),
        (lambda n, t, g: (np.where(n == n[7], np.nan, n), t, g), "not finite"),
        (lambda n, t, g: (n[:-1], t, g), "refer to nodes"),
    ],
)
def test_unusable_meshes_are_refused(change, message):
    record = box_record(2)
    with pytest.raises(MeshError, match=message):
        TetMesh(*change(record.nodes, record.tets, record.tet_tags))
