"""A head of full size: the built-in one, refined around the left frontal lobe.

    python benchmarks/refine_head.py HEAD.msh [--tets 4100000]

Grey matter, CSF and white matter in a ball are refined by bisecting longest edges (Rivara 1984,
10.1002/nme.1620200412): an edge is split only where it is the longest of every tetrahedron around it,
in all of them at once, so the mesh conforms after every pass and any pass may be the last. A
tetrahedron whose longest edge may not be split yet hands its turn to the neighbours with longer ones.
The edge length sinks step by step to `FINEST_MM`; where the mesh is still too small then, the ball
grows. No node moves: the surfaces of the tissues and their volumes stay as they are.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from efield.errors import MeshError
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.kernels._jit import run_chunks
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.mesh import TetMesh

N_TETS = 4_100_000
BASE = "mni152"
TISSUES = (1, 2, 3)
CENTER_MM = (-36.0, 40.0, 24.0)
"""In the left frontal lobe, beside the built-in target."""

RADIUS_MM, RADIUS_STEP_MM = 55.0, 10.0
WHOLE_HEAD_MM = 300.0
FINEST_MM = 1.25
"""Longest edge aimed at in the ball; the built-in head has some 3 mm there."""

SHARED_AT_MOST = 60
"""Tetrahedra around one edge, at most: as near as this to the size wanted is near enough."""

STEP = 0.93
"""Factor by which the longest edge allowed sinks."""

WAITING = 0.005
"""Share of the tetrahedra that may wait for neighbours when it does."""


def refined_head(n_tets=N_TETS):
    """The built-in head with about `n_tets` tetrahedra.

    Returns
    -------
    HeadModel
        In MNI space, with at most `n_tets` tetrahedra and hardly fewer.

    Raises
    ------
    MeshError
        More tetrahedra than edges of `FINEST_MM` make.
    """
    base = load_head(BASE)
    mesh, radius = base.mesh, RADIUS_MM
    while len(mesh.tets) < n_tets - SHARED_AT_MOST:
        if radius > WHOLE_HEAD_MM:
            raise MeshError(f"{n_tets} tetrahedra need edges shorter than FINEST_MM = {FINEST_MM} mm")
        distance = np.linalg.norm(mesh.barycentres_mm - CENTER_MM, axis=1)
        inside = (distance <= radius) & np.isin(mesh.tags, TISSUES)
        mesh = refine(mesh, inside, FINEST_MM, n_tets)
        radius += RADIUS_STEP_MM
    return HeadModel(mesh, None, name=f"{BASE}-refined", space=base.space)


def refine(mesh, inside, edge_mm, n_tets=None):
    """Bisect until no tetrahedron of a region has an edge longer than `edge_mm`.

    Parameters
    ----------
    mesh : TetMesh
    inside : (n_tets,) bool array
        The region; halves belong to it as their parents do.
    edge_mm : float
    n_tets : int, optional
        Stop before the mesh has more tetrahedra than this.

    Returns
    -------
    TetMesh
        Conforming wherever `mesh` is; halves inherit orientation and tag.

    Raises
    ------
    MeshError
        An edge length that is not positive.
    """
    if not edge_mm > 0:
        raise MeshError(f"edge_mm must be positive, not {edge_mm!r}")
    state = _State.of(mesh, inside)
    limit = np.inf if n_tets is None else n_tets
    allowed = max(edge_mm, state.longest_inside())
    wanted, full = np.zeros(len(state.tets), bool), False
    while not full:
        wanted |= state.inside & (state.length > allowed)
        if wanted.any():
            state, wanted, full = _pass(state, wanted, limit)
        elif allowed == edge_mm:
            break
        if np.count_nonzero(wanted) <= WAITING * len(wanted):
            allowed = max(edge_mm, STEP * allowed)
    return TetMesh(state.nodes, state.tets, state.tags)


@dataclass(frozen=True)
class _State:
    """A mesh and the longest edge (low node, high node, length) of each tetrahedron."""

    nodes: np.ndarray
    tets: np.ndarray
    tags: np.ndarray
    inside: np.ndarray
    low: np.ndarray
    high: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, mesh, inside):
        tets = np.array(mesh.tets)
        return cls(mesh.nodes_mm, tets, mesh.tags, np.asarray(inside, bool), *_longest(mesh.nodes_mm, tets))

    def longest_inside(self):
        return float(self.length[self.inside].max(initial=0.0))


def _longest(nodes, tets):
    low, high, length = np.empty(len(tets), np.int32), np.empty(len(tets), np.int32), np.empty(len(tets))
    run_chunks(longest_edges, len(tets), nodes, tets, low, high, length)
    return low, high, length


def _pass(state, wanted, limit):
    """Split every edge that is wanted and may be split.

    Returns
    -------
    state : _State
    wanted : (n_tets,) bool array
        What is left to split, the neighbours that have to go first included.
    full : bool
        Whether `limit` kept an edge from being split.
    """
    n_nodes = len(state.nodes)
    key = np.unique(state.low[wanted].astype(np.int64) * n_nodes + state.high[wanted])
    ends = np.stack([key // n_nodes, key % n_nodes], axis=1)
    start = np.searchsorted(ends[:, 0], np.arange(n_nodes + 1))
    shared, blocked = np.zeros(len(key), np.int64), np.zeros(len(key), bool)
    own, wanted = np.full(len(state.tets), -1, np.int32), wanted.copy()
    survey(state.tets, state.low, state.high, start, ends[:, 1].copy(), shared, blocked, own, wanted)

    free = np.flatnonzero(~blocked)
    edge_length = np.linalg.norm(state.nodes[ends[free, 0]] - state.nodes[ends[free, 1]], axis=1)
    free = free[np.lexsort((key[free], -edge_length))]
    room = len(state.tets) + np.cumsum(shared[free]) <= limit
    chosen = free[room]  # a prefix: the sum only grows
    middle = np.full(len(key), -1, np.int32)
    middle[chosen] = n_nodes + np.arange(len(chosen), dtype=np.int32)
    nodes = np.concatenate([state.nodes, state.nodes[ends[chosen]].mean(axis=1)])
    state, split = _halved(state, nodes, np.where(own >= 0, middle[own], -1))
    wanted[split] = False
    wanted = np.concatenate([wanted, np.zeros(len(split), bool)])
    return state, wanted, not room.all()


def _halved(state, nodes, middle):
    """Halve the tetrahedra with a new node (`middle` >= 0) on their longest edge; which those were."""
    split = np.flatnonzero(middle >= 0)
    parent, new = state.tets[split], middle[split, None]
    at_low = np.where(parent == state.high[split, None], new, parent)
    at_high = np.where(parent == state.low[split, None], new, parent)
    state.tets[split] = at_low
    halves = [_longest(nodes, half) for half in (at_low, at_high)]
    columns = []
    for old, first, second in zip((state.low, state.high, state.length), *halves, strict=True):
        old[split] = first
        columns.append(np.concatenate([old, second]))
    tets = np.concatenate([state.tets, at_high])
    tags, inside = (np.concatenate([a, a[split]]) for a in (state.tags, state.inside))
    return _State(nodes, tets, tags, inside, *columns), split


@numba.njit(nogil=True)  # no disk cache: it is tied to how a script was imported
def longest_edges(begin, end, nodes, tets, low, high, length):
    """Longest edge of each tetrahedron; of equally long ones that with the larger node numbers.

    The length of an edge comes out the same in all its tetrahedra, so they agree on the order.
    """
    for t in range(begin, end):
        best, i_best, j_best = -1.0, -1, -1
        for a in range(4):
            for b in range(a):
                i, j = min(tets[t, a], tets[t, b]), max(tets[t, a], tets[t, b])
                dx, dy = nodes[i, 0] - nodes[j, 0], nodes[i, 1] - nodes[j, 1]
                dz = nodes[i, 2] - nodes[j, 2]
                d2 = dx * dx + dy * dy + dz * dz
                if d2 > best or (d2 == best and (i > i_best or (i == i_best and j > j_best))):
                    best, i_best, j_best = d2, i, j
        low[t], high[t], length[t] = i_best, j_best, np.sqrt(best)


@numba.njit(nogil=True)
def survey(tets, low, high, start, ends, shared, blocked, own, wanted):
    """What surrounds some edges (sorted by low node: rows of `start`, high nodes in `ends`).

    Counts the tetrahedra at each edge (`shared`); an edge that is not the longest of one of them is
    `blocked`, and that tetrahedron `wanted`. `own` gets the edge that is a tetrahedron's longest.
    """
    for t in range(tets.shape[0]):
        for a in range(4):
            for b in range(a):
                i, j = min(tets[t, a], tets[t, b]), max(tets[t, a], tets[t, b])
                for p in range(start[i], start[i + 1]):
                    if ends[p] == j:
                        shared[p] += 1
                        if low[t] == i and high[t] == j:
                            own[t] = p
                        else:
                            blocked[p] = True
                            wanted[t] = True


def cached_head(path, n_tets=N_TETS):
    """Write the refined head to `path` unless the file is there; returns the path."""
    path = Path(path)
    if not path.exists():
        write_head(path, refined_head(n_tets))
    return path


def write_head(path, head):
    """Write a head as a Gmsh file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_msh(path, MeshRecord(head.nodes_mm, head.tets, head.tags))


def tissue_volumes(mesh):
    """Volume per tag, mm^3."""
    return {int(tag): float(mesh.volumes_mm3[mesh.tags == tag].sum()) for tag in np.unique(mesh.tags)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, metavar="HEAD.msh")
    parser.add_argument("--tets", type=int, default=N_TETS)
    options = parser.parse_args()
    begin = time.perf_counter()
    head = refined_head(options.tets)
    seconds = time.perf_counter() - begin
    base = load_head(BASE).mesh
    before, after = tissue_volumes(base), tissue_volumes(head.mesh)
    change = max(abs(after[tag] / before[tag] - 1.0) for tag in before)
    print(f"{len(head.nodes_mm):,d} nodes, {len(head.tets):,d} tetrahedra in {seconds:.1f} s")
    print(f"largest relative change of a tissue's volume {change:.1e}")
    for name, mesh in ((BASE, base), (head.name, head.mesh)):
        quality = mesh.shapes[0]
        print(
            f"{name}: radius ratio min {quality.min():.4f}, 1st percentile {np.percentile(quality, 1):.3f}, "
            f"median {np.median(quality):.3f}; smallest volume {mesh.signed_volumes_mm3.min():.2e} mm^3"
        )
    write_head(options.path, head)


if __name__ == "__main__":
    main()
