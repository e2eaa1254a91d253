"""Which tetrahedron holds a point: for a field at points, in images and on surfaces.

One rule everywhere. A point takes the field of the tetrahedron that holds it: the raw field is constant
there, a recovered one linear. A point on a face takes the tetrahedron that comes first in the mesh. Where
a tissue is asked for, a point that no tetrahedron of it holds takes the one with the nearest
barycentre, up to `NEAR_MM`: surfaces of a tissue and its tetrahedra differ by that much.
"""

import numpy as np

from efield.errors import TargetError
from efield.tissues import TISSUE_NAMES, TISSUE_TAGS

NEAR_MM = 3.0
"""A point outside the tissue asked for takes the nearest of it up to this distance."""

ON_FACE = 1e-9
"""Barycentric coordinate down to which a point counts as inside."""

PAIRS = 1 << 19
"""Points times tetrahedra looked at in one go."""

CELL_EDGES = 2.0
"""Edge of the cells that points are looked up in, in mean sizes of a tetrahedron's box."""


def tets_at_voxels(nodes_mm, tets, affine, shape):
    """The tetrahedron that holds each voxel centre of an image.

    Parameters
    ----------
    nodes_mm : (n_nodes, 3) array
    tets : (n_tets, 4) int array
    affine : (4, 4) array
        Voxel indices to mm.
    shape : (nx, ny, nz)

    Returns
    -------
    shape int array
        -1 where no tetrahedron holds the centre.
    """
    to_voxel = np.linalg.inv(affine)
    corners = (nodes_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3])[tets]
    low = np.maximum(np.ceil(corners.min(axis=1) - ON_FACE), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1) + ON_FACE), np.array(shape) - 1).astype(np.int64)
    found = np.full(int(np.prod(shape)), len(tets), np.int64)
    for part, row, voxel in _boxes(low, high):
        inside = _inside(corners[part], row, voxel)
        flat = np.ravel_multi_index(tuple(voxel[inside].T), shape)
        np.minimum.at(found, flat, part[row[inside]])
    return np.where(found < len(tets), found, -1).reshape(shape)


def tets_at_points(nodes_mm, tets, points_mm):
    """The tetrahedron that holds each point; -1 where none does.

    Parameters
    ----------
    nodes_mm : (n_nodes, 3) array
    tets : (n_tets, 4) int array
    points_mm : (n, 3) array

    Returns
    -------
    (n,) int array
    """
    points = np.asarray(points_mm, dtype=np.float64)
    corners = nodes_mm[tets]
    low, high = corners.min(axis=1), corners.max(axis=1)
    near = ((high >= points.min(axis=0) - ON_FACE) & (low <= points.max(axis=0) + ON_FACE)).all(axis=1)
    wanted = np.flatnonzero(near)
    found = np.full(len(points), len(tets), np.int64)
    if not len(wanted):
        return np.full(len(points), -1)
    size = CELL_EDGES * float(np.mean(high[wanted] - low[wanted]))
    origin = points.min(axis=0)
    cells, starts, order = _cells(points, origin, size)
    first = np.floor((low[wanted] - ON_FACE - origin) / size).astype(np.int64)
    last = np.floor((high[wanted] + ON_FACE - origin) / size).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, cells - 1)
    for part, row, cell in _boxes(first, last):
        flat = np.ravel_multi_index(tuple(cell.T), tuple(cells))
        begin, count = starts[flat], starts[flat + 1] - starts[flat]
        owner = wanted[part]
        for some in _parts(count):
            pair = np.repeat(some, count[some])
            point = order[begin[pair] + _ranks(count[some])]
            inside = _inside(corners[owner], row[pair], points[point])
            np.minimum.at(found, point[inside], owner[row[pair[inside]]])
    return np.where(found < len(tets), found, -1)


def tets_of_tissue_at(head, points_mm, tissue):
    """The tetrahedron of a tissue for each point: that which holds it, else the nearest up to `NEAR_MM`.

    Parameters
    ----------
    head : object with ``nodes_mm``, ``tets``, ``tags``
    points_mm : (n, 3) array
    tissue : str or int
        Name or tag.

    Returns
    -------
    owner : (n,) int array
        -1 where there is none.
    held : (n,) bool array
        Whether it holds the point.

    Raises
    ------
    TargetError
        The head has no such tissue.
    """
    from scipy.spatial import cKDTree

    tag = TISSUE_TAGS.get(tissue, -1) if isinstance(tissue, str) else tissue
    some = np.flatnonzero(head.tags == tag)
    if not len(some):
        present = ", ".join(TISSUE_NAMES.get(t, str(t)) for t in np.unique(head.tags).tolist())
        raise TargetError(f"the head has no tissue {tissue!r}; it has {present}")
    tets = head.tets[some]
    owner = tets_at_points(head.nodes_mm, tets, points_mm)
    held = owner >= 0
    if not held.all():
        distance, nearest = cKDTree(head.nodes_mm[tets].mean(axis=1)).query(points_mm[~held])
        owner[~held] = np.where(distance <= NEAR_MM, nearest, -1)
    return np.where(owner >= 0, some[owner], -1), held


def locate(head, points_mm, *, tissue=None, outside="raise"):
    """The tetrahedron of each point by the rule of this module.

    Parameters
    ----------
    head : object with ``nodes_mm``, ``tets``, ``tags``
    points_mm : (n, 3) array
    tissue : str or int, optional
        Only tetrahedra of this tissue.
    outside : {"raise", "nan"}
        What becomes of points without a tetrahedron.

    Returns
    -------
    tets : (k,) int array
        Of the points that have one.
    held : (n,) bool array
        Which these are: all of them with "raise".

    Raises
    ------
    TargetError
        Points that are not (n, 3) finite numbers; a point without a tetrahedron.
    """
    if outside not in ("raise", "nan"):
        raise TargetError(f"outside must be 'raise' or 'nan', not {outside!r}")
    _check_points(points_mm)
    if not len(points_mm):
        owner = np.empty(0, np.int64)
    elif tissue is None:
        owner = tets_at_points(head.nodes_mm, head.tets, points_mm)
    else:
        owner, _ = tets_of_tissue_at(head, points_mm, tissue)
    held = owner >= 0
    if outside == "raise" and not held.all():
        bad = int(np.argmin(held))
        where = "the head" if tissue is None else f"{tissue!r} or within {NEAR_MM:g} mm of a barycentre"
        raise TargetError(
            f"{np.count_nonzero(~held)} of {len(held)} points do not lie in {where}; the first is point "
            f"{bad} at {np.round(points_mm[bad], 3).tolist()} mm; leave them out, or take nan there by "
            "outside='nan'"
        )
    return owner[held], held


def holding(head, points_mm, tissue=None):
    """(n,) tetrahedra that hold points (n, 3), of one tissue alone if that is given; -1 where none does.

    Raises
    ------
    TargetError
        Points that are not (n, 3) finite numbers; a tissue that the head does not have.
    """
    _check_points(points_mm)
    if not len(points_mm):
        return np.empty(0, np.int64)
    if tissue is None:
        return tets_at_points(head.nodes_mm, head.tets, points_mm)
    owner, held = tets_of_tissue_at(head, points_mm, tissue)
    return np.where(held, owner, -1)


def _check_points(points_mm):
    if points_mm.ndim != 2 or points_mm.shape[1] != 3:
        raise TargetError(f"points_mm must have shape (n, 3), not {points_mm.shape}")
    finite = np.isfinite(points_mm).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise TargetError(f"point {bad} is {points_mm[bad].tolist()}; coordinates must be finite, in mm")


def spread(values, held):
    """`values` (k, 3) of the points that are `held` (n,); NaN at the others."""
    out = np.full((len(held), values.shape[1]), np.nan)
    out[held] = values
    return out


def corner_weights(nodes_mm, tets, points_mm):
    """Barycentric coordinates of points in their tetrahedra, cut at 0 where a point lies outside.

    Parameters
    ----------
    nodes_mm : (n_nodes, 3) array
    tets : (n, 4) int array
        The tetrahedron of each point.
    points_mm : (n, 3) array

    Returns
    -------
    (n, 4) array
        They sum to 1.
    """
    corners = nodes_mm[tets]
    edges = (corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1)
    rest = np.linalg.solve(edges, (points_mm - corners[:, 0])[:, :, None])[:, :, 0]
    weights = np.maximum(np.column_stack([1.0 - rest.sum(axis=1), rest]), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _cells(points, origin, size):
    """Points sorted into cubic cells: number of cells, row pointers, order."""
    index = np.floor((points - origin) / size).astype(np.int64)
    cells = index.max(axis=0) + 1
    flat = np.ravel_multi_index(tuple(index.T), tuple(cells))
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=int(cells.prod())))])
    return cells, starts, np.argsort(flat, kind="stable")


def _boxes(low, high):
    """Every integer point of boxes [low, high], in portions.

    Yields the indices of some boxes, and for each of their points its box among these and itself.
    """
    size = np.maximum(high - low + 1, 0)
    count = size.prod(axis=1)
    for part in _parts(count):
        row = np.repeat(np.arange(len(part)), count[part])
        sizes = size[part][row]
        rank, z = np.divmod(_ranks(count[part]), sizes[:, 2])
        x, y = np.divmod(rank, sizes[:, 1])
        yield part, row, low[part][row] + np.stack([x, y, z], axis=1)


def _parts(count):
    """Indices with a count above 0, in portions of at most `PAIRS` together (or of one)."""
    some = np.flatnonzero(count)
    portion = np.cumsum(count[some]) // PAIRS
    return np.split(some, np.flatnonzero(np.diff(portion)) + 1) if len(some) else []


def _ranks(count):
    """0 ... count[0] - 1, 0 ... count[1] - 1, ..."""
    ends = np.cumsum(count)
    return np.arange(ends[-1]) - np.repeat(ends - count, count)


def _inside(corners, row, points):
    """Whether each point lies in the tetrahedron `row` of `corners`, (n, 4, 3), beside it."""
    edges = corners[:, 1:] - corners[:, :1]
    solid = np.abs(np.linalg.det(edges)) > 0
    edges[~solid] = np.eye(3)  # a flat tetrahedron holds nothing
    # Rows of the inverse's transpose: the weight of a corner is one product with the offset.
    toward = np.linalg.inv(edges).transpose(0, 2, 1)
    offset = points - corners[row, 0]
    inside, rest = solid[row], 1.0 + ON_FACE
    for k in range(3):
        weight = np.einsum("ni,ni->n", offset, toward[row, k])
        inside, rest = inside & (weight >= -ON_FACE), rest - weight
    return inside & (rest >= 0)
