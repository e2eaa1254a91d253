"""Nodes and elements of Gmsh 2.2 and 4.1 files, text or binary alike.

Element parsers yield ``(type, numbers, regions, nodes)``: one Gmsh element type, number and region tag
of each element, and its node tags as the file numbers them, (n, nodes of the type).
"""

import numpy as np

from efield.errors import FormatError

NODES_OF_TYPE = {
    **{1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 13: 18, 14: 14},
    **{15: 1, 16: 8, 17: 20, 18: 15, 19: 13, 20: 9, 21: 10, 22: 12, 23: 15, 24: 15, 25: 21, 26: 4},
    **{27: 5, 28: 6, 29: 20, 30: 35, 31: 56, 92: 64, 93: 125},
}
"""Nodes of each element type, from the Gmsh reference manual, section "MSH file format"."""


def nodes_22(values, count):
    """Node tags (n,) and coordinates (n, 3) of a 2.2 file."""
    if values.ascii:
        table = values.doubles(4 * count, "node values").reshape(count, 4)
        return _whole(values, table[:, 0], "node numbers"), table[:, 1:]
    row = np.dtype([("tag", f"{values.order}i4"), ("xyz", f"{values.order}f8", 3)])
    table = values.take(row, count, "nodes")
    return table["tag"], table["xyz"]


def _whole(values, numbers, what):
    with np.errstate(invalid="ignore"):
        whole = numbers.astype(np.int64)
    if not np.array_equal(whole, numbers):
        raise values.fail(f"{what} must be integers, not {numbers[whole != numbers][0]}")
    return whole


def elements_22(values, count):
    """Elements of a 2.2 file; the region is the first tag, or the second where that is 0.

    Text has one header per element, ``number type n_tags``; binary has ``type n_follow n_tags``
    before each run of elements, which some writers make one element long. Equal headers at
    equal distances are therefore taken together.
    """
    done = 0
    while done < count:
        rest = values.remaining()
        if len(rest) < 3:
            raise values.fail(f"{count} elements announced, but the section ends after {done}")
        if values.ascii:
            _, kind, n_tags = rest[:3].tolist()
            follow, numbered = 1, 0
        else:
            kind, follow, n_tags = rest[:3].tolist()
            numbered = 1
        n_nodes = _node_count(values, kind, f"element {done + 1}")
        if not 0 <= n_tags <= 64 or not 1 <= follow <= count - done:
            raise values.fail(f"element {done + 1} has {n_tags} tags in a run of {follow} of {count - done}")
        width = numbered + n_tags + n_nodes
        length = 3 + follow * width
        if length > len(rest):
            raise values.fail(
                f"a run of {follow} elements of type {kind} from element {done + 1} on needs {length} "
                f"integers, but {len(rest)} are left; the file is truncated or a count is wrong"
            )
        repeats = _equal_headers(
            rest, length, slice(1, 3) if values.ascii else slice(0, 3), (count - done) // follow
        )
        blocks = rest[: repeats * length].reshape(repeats, length)
        rows = blocks[:, 3:].reshape(-1, width)
        numbers = rows[:, 0] if numbered else blocks[:, 0]
        yield kind, numbers, _region(rows[:, numbered : numbered + n_tags]), rows[:, numbered + n_tags :]
        values.skip_ints(repeats * length)
        done += repeats * follow


def _equal_headers(numbers, length, columns, most):
    """How many consecutive blocks of `length` have the header of the first one."""
    most = min(most, len(numbers) // length)
    blocks = numbers[: most * length].reshape(most, length)[:, columns]
    known, step = 1, 1
    while known < most:
        same = (blocks[known : known + step] == blocks[0]).all(axis=1)
        if not same.all():
            return known + int(np.argmin(same))
        known += len(same)
        step *= 2
    return known


def _region(tags):
    if tags.shape[1] == 0:
        return np.zeros(len(tags), np.int32)
    if tags.shape[1] == 1:
        return tags[:, 0]
    return np.where(tags[:, 0] == 0, tags[:, 1], tags[:, 0])


def _node_count(values, kind, where):
    if kind not in NODES_OF_TYPE:
        raise values.fail(
            f"{where} has the unknown type {kind}; a count before it is wrong, or the file is damaged"
        )
    return NODES_OF_TYPE[kind]


def entities_41(values):
    """Region of each entity of a 4.1 file: ``{(dimension, entity tag): physical tag}``."""
    regions = {}
    for dimension, count in enumerate(values.sizes(4, "entity counts").tolist()):
        for _ in range(count):
            tag = int(values.ints(1, "entity tag")[0])
            values.doubles(3 if dimension == 0 else 6, "bounds")
            physical = values.ints(int(values.sizes(1)[0]), "physical tags")
            if len(physical):
                regions[dimension, tag] = abs(int(physical[0]))  # negative: reversed orientation
            if dimension:
                values.ints(int(values.sizes(1)[0]), "bounding entities")
    return regions


def nodes_41(values):
    """Node tags (n,) and coordinates (n, 3) of a 4.1 file."""
    n_blocks, total = values.sizes(4, "node counts")[:2].tolist()
    tags, points = [np.empty(0, np.int64)], [np.empty((0, 3))]
    for _ in range(n_blocks):
        dimension, _, parametric = values.ints(3, "node block header").tolist()
        count = int(values.sizes(1)[0])
        if not 0 <= dimension <= 3:
            raise values.fail(f"a node block has dimension {dimension}; the file is damaged")
        width = 3 + (dimension if parametric else 0)
        tags.append(values.sizes(count, "node tags").astype(np.int64))
        points.append(values.doubles(width * count).reshape(count, width)[:, :3])
    tags, points = np.concatenate(tags), np.concatenate(points)
    if len(tags) != total:
        raise values.fail(f"{total} nodes announced, {len(tags)} found in the blocks")
    return tags, points


def elements_41(values, regions):
    """Elements of a 4.1 file; the region is the entity's physical tag, else the entity's own."""
    n_blocks, total = values.sizes(4, "element counts")[:2].tolist()
    done = 0
    for _ in range(n_blocks):
        dimension, entity, kind = values.ints(3, "element block header").tolist()
        count = int(values.sizes(1)[0])
        width = 1 + _node_count(values, kind, f"the block after element {done}")
        rows = values.sizes(width * count, "element values").reshape(count, width)
        region = np.full(count, regions.get((dimension, entity), entity), np.int32)
        yield kind, rows[:, 0], region, rows[:, 1:]
        done += count
    if done != total:
        raise values.fail(f"{total} elements announced, {done} found in the blocks")


class NodeIndex:
    """From the node tags of a file, sparse and in any order, to zero-based indices.

    Raises
    ------
    FormatError
        A tag is not positive, or occurs twice.
    """

    def __init__(self, path, tags):
        self.path = path
        tags = tags.astype(np.int64)
        self.order = np.argsort(tags, kind="stable")
        self.ordered = tags[self.order]
        if len(tags) and self.ordered[0] < 1:
            raise FormatError(f"{path}: $Nodes: node numbers must be positive, not {self.ordered[0]}")
        twice = np.flatnonzero(self.ordered[1:] == self.ordered[:-1])
        if len(twice):
            raise FormatError(f"{path}: $Nodes: node number {self.ordered[twice[0]]} occurs twice")
        self.last = int(self.ordered[-1]) if len(tags) else 0
        self.table = None
        if self.last <= 16 * len(tags) + 2**20:  # else the table would be larger than the search is slow
            self.table = np.full(self.last + 1, -1, np.int32)
            self.table[tags] = np.arange(len(tags), dtype=np.int32)

    def __call__(self, tags, what):
        """Indices (int32) of the nodes `tags` (n, k); FormatError names the first unknown node."""
        if tags.size == 0:
            return np.empty(tags.shape, np.int32)
        if tags.min() < 1 or tags.max() > self.last:
            raise self._unknown(tags, (tags >= 1) & (tags <= self.last), what)
        if self.table is not None:
            index = self.table[tags]
        else:
            place = np.searchsorted(self.ordered, tags)
            index = np.where(self.ordered[place] == tags, self.order[place], -1).astype(np.int32)
        if index.min() < 0:
            raise self._unknown(tags, index >= 0, what)
        return index

    def _unknown(self, tags, known, what):
        row = int(np.argmin(known.all(axis=1)))
        tag = tags[row][~known[row]][0]
        return FormatError(
            f"{self.path}: $Elements: {what} {row + 1} uses node {tag}, which $Nodes does not have"
        )
