"""Tetrahedra: volumes, barycentres, shape, order, face neighbours, connected pieces."""

import numpy as np

from efield.kernels._jit import jit


@jit
def signed_volumes(begin, end, nodes, tets, out):
    """Volumes (node unit cubed), positive where node 3 sees 0, 1, 2 counter-clockwise from outside."""
    for t in range(begin, end):
        n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        ox, oy, oz = nodes[n0, 0], nodes[n0, 1], nodes[n0, 2]
        ax, ay, az = nodes[n1, 0] - ox, nodes[n1, 1] - oy, nodes[n1, 2] - oz
        bx, by, bz = nodes[n2, 0] - ox, nodes[n2, 1] - oy, nodes[n2, 2] - oz
        cx, cy, cz = nodes[n3, 0] - ox, nodes[n3, 1] - oy, nodes[n3, 2] - oz
        det = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        out[t] = det / 6.0


@jit
def barycentres(begin, end, nodes, tets, out):
    """Barycentres (n_tets, 3)."""
    for t in range(begin, end):
        n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        for c in range(3):
            out[t, c] = 0.25 * (nodes[n0, c] + nodes[n1, c] + nodes[n2, c] + nodes[n3, c])


@jit
def shapes(begin, end, nodes, tets, quality, mean_edge):
    """Radius ratio ``3 r_in / R`` (1 regular, 0 flat or with a double node) and mean edge length.

    ``r_in = 3 V / sum of areas``; ``R = |n| / (12 V)``, ``n = |a|^2 b x c + |b|^2 c x a + |c|^2 a x b``.
    """
    for t in range(begin, end):
        n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        ox, oy, oz = nodes[n0, 0], nodes[n0, 1], nodes[n0, 2]
        ax, ay, az = nodes[n1, 0] - ox, nodes[n1, 1] - oy, nodes[n1, 2] - oz
        bx, by, bz = nodes[n2, 0] - ox, nodes[n2, 1] - oy, nodes[n2, 2] - oz
        cx, cy, cz = nodes[n3, 0] - ox, nodes[n3, 1] - oy, nodes[n3, 2] - oz
        ux, uy, uz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        vx, vy, vz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
        wx, wy, wz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        sx, sy, sz = ux + vx + wx, uy + vy + wy, uz + vz + wz  # normal of the face 1, 2, 3
        twice_area = (
            np.sqrt(ux * ux + uy * uy + uz * uz)
            + np.sqrt(vx * vx + vy * vy + vz * vz)
            + np.sqrt(wx * wx + wy * wy + wz * wz)
            + np.sqrt(sx * sx + sy * sy + sz * sz)
        )
        aa, bb, cc = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz, cx * cx + cy * cy + cz * cz
        nx = aa * ux + bb * vx + cc * wx
        ny = aa * uy + bb * vy + cc * wy
        nz = aa * uz + bb * vz + cc * wz
        det = ax * ux + ay * uy + az * uz
        far = twice_area * np.sqrt(nx * nx + ny * ny + nz * nz)
        # r_in = |det| / twice_area, R = |n| / (2 |det|)
        quality[t] = 6.0 * det * det / far if far > 0.0 else 0.0
        ab = np.sqrt((ax - bx) ** 2 + (ay - by) ** 2 + (az - bz) ** 2)
        bc = np.sqrt((bx - cx) ** 2 + (by - cy) ** 2 + (bz - cz) ** 2)
        ca = np.sqrt((cx - ax) ** 2 + (cy - ay) ** 2 + (cz - az) ** 2)
        mean_edge[t] = (np.sqrt(aa) + np.sqrt(bb) + np.sqrt(cc) + ab + bc + ca) / 6.0


@jit
def relabel(begin, end, tets, position, out, smallest):
    """Node numbers of tetrahedra replaced by `position`, and the smallest of each."""
    for t in range(begin, end):
        low = position[tets[t, 0]]
        for a in range(4):
            n = position[tets[t, a]]
            out[t, a] = n
            low = min(low, n)
        smallest[t] = low


@jit
def sort_by_count(keys, start, order):
    """Indices of `keys` ascending, equal ones in their old order.

    `start` is a scratch copy of where each key's indices begin.
    """
    for i in range(keys.shape[0]):
        k = keys[i]
        order[start[k]] = i
        start[k] += 1


@jit
def take_tets(begin, end, tets, order, out):
    """``out[t] = tets[order[t]]``."""
    for t in range(begin, end):
        row, old = out[t], tets[order[t]]
        row[0], row[1], row[2], row[3] = old[0], old[1], old[2], old[3]


_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@jit
def _scatter_bits(n):
    """A node number spread over 64 bits; sums of these are hashes whatever the order of nodes."""
    x = np.uint64(n + 1) * _MIX
    x = (x ^ (x >> _HALF)) * _MIX
    return x ^ (x >> _HALF)


@jit
def count_parts(begin, end, edges, tets, shift, count):
    """Faces per part of the hash range, for chunks [begin, end) of the tetrahedra.

    Chunk c is ``edges[c]:edges[c + 1]``; `count` (n_chunks, n_parts) starts as zeros.
    """
    for c in range(begin, end):
        for t in range(edges[c], edges[c + 1]):
            total = np.uint64(0)
            for a in range(4):
                total += _scatter_bits(tets[t, a])
            for f in range(4):
                count[c, np.int64((total - _scatter_bits(tets[t, f])) >> shift)] += 1


@jit
def fill_parts(begin, end, edges, tets, shift, place, faces):
    """Sort faces into parts: rows (low, middle, high node, number).

    Face ``4 t + f`` of tetrahedron t is the one opposite its node f. `place` (n_chunks, n_parts) holds
    where each chunk starts in each part, and is used up.
    """
    for c in range(begin, end):
        for t in range(edges[c], edges[c + 1]):
            total = np.uint64(0)
            for a in range(4):
                total += _scatter_bits(tets[t, a])
            for f in range(4):
                x = tets[t, 1] if f == 0 else tets[t, 0]
                y = tets[t, 1] if f > 1 else tets[t, 2]
                z = tets[t, 2] if f == 3 else tets[t, 3]
                if y < x:
                    x, y = y, x
                if z < y:
                    y, z = z, y
                    if y < x:
                        x, y = y, x
                part = np.int64((total - _scatter_bits(tets[t, f])) >> shift)
                p = place[c, part]
                faces[p, 0], faces[p, 1], faces[p, 2], faces[p, 3] = x, y, z, 4 * t + f
                place[c, part] = p + 1


@jit
def match_parts(begin, end, start, faces, slots, neighbour):
    """Tetrahedron on the other side of each face, -2 with more than two at one face.

    Runs over parts [begin, end) with a hash table of `slots` (a power of two, more than any part
    has faces); `neighbour` (4 n_tets,) starts as -1, that is outside.
    """
    table = np.empty(slots, np.int32)
    partner = np.empty(slots, np.int32)
    mask = np.uint64(slots - 1)
    for part in range(begin, end):
        first = start[part]
        table[:] = -1
        for p in range(first, start[part + 1]):
            x, y, z, face = faces[p, 0], faces[p, 1], faces[p, 2], faces[p, 3]
            h = _scatter_bits(x) + _scatter_bits(y) + _scatter_bits(z)
            slot = np.int64(h & mask)
            q = table[slot]
            while q >= 0 and (
                faces[first + q, 0] != x or faces[first + q, 1] != y or faces[first + q, 2] != z
            ):
                slot = np.int64((np.uint64(slot) + np.uint64(1)) & mask)
                q = table[slot]
            if q < 0:
                table[slot] = p - first
                partner[slot] = -1
            elif partner[slot] < 0:
                twin = faces[first + q, 3]
                partner[slot] = face
                neighbour[face] = twin // 4
                neighbour[twin] = face // 4
            else:
                neighbour[face] = neighbour[partner[slot]] = neighbour[faces[first + q, 3]] = -2


@jit
def flood(neighbour, tags, piece):
    """Number the pieces of equal tag connected through faces; return how many there are.

    `neighbour` (n_tets, 4), `piece` (n_tets,) starts as -1. Pieces are numbered by their lowest
    tetrahedron.
    """
    stack = np.empty(tags.shape[0], np.int32)
    pieces = 0
    for seed in range(tags.shape[0]):
        if piece[seed] >= 0:
            continue
        piece[seed] = pieces
        stack[0] = seed
        depth = 1
        while depth > 0:
            depth -= 1
            t = stack[depth]
            for f in range(4):
                other = neighbour[t, f]
                if other >= 0 and piece[other] < 0 and tags[other] == tags[t]:
                    piece[other] = pieces
                    stack[depth] = other
                    depth += 1
        pieces += 1
    return pieces
