"""The field of a coil at given placements."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from efield.errors import EfieldError, PlacementError
from efield.fem.recover import recover
from efield.fem.source import coil_dadt, dipoles_in_head, element_field, gradient_inside
from efield.io.sampling import locate, spread
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.coils import load_coil
from efield.model.cortex import named_surface
from efield.model.coverage import coverage_gap
from efield.model.heads import load_head
from efield.model.placement import Placement
from efield.solve.prepared import checked_order, prepare
from efield.units import to_m, to_mm

DEFAULT_RTOL = 1e-6
"""Relative residual of a forward solve: far below the discretization error."""


EVERY = 16
"""Of the nodes one in so many tells whether the dA/dt of two placements differ in size and sign alone."""

SAME = 1e-6
"""Relative difference that rounding may make."""

OUTSIDE = 1e-6
"""Barycentric coordinate below minus which a point is not inside a tetrahedron."""


class _Values:
    """What follows from ``head`` and ``E`` alone."""

    @cached_property
    def magnitude(self):
        """(n_tets,) |E|, V/m."""
        return read_only(np.linalg.norm(self.E, axis=1))

    def metrics(self, region):
        """Summary of |E| in a target and over grey matter, see :mod:`efield.metrics`.

        Parameters
        ----------
        region : Target, TargetRegion or (n,) int array
            Where to summarise.
        """
        from efield.metrics import field_metrics

        if hasattr(region, "resolve"):
            region = region.resolve(self.head)
        return field_metrics(self.head, self.magnitude, getattr(region, "elements", region))

    def at(self, points_mm, *, tissue=None, outside="raise"):
        """E at points, raw: of the tetrahedron that holds each point.

        Parameters
        ----------
        points_mm : (n, 3) array
            In the head's own space.
        tissue : str or int, optional
            Name or tag. Only tetrahedra of this tissue; a point that none of them holds takes the one
            with the nearest barycentre, up to 3 mm.
        outside : {"raise", "nan"}
            What becomes of other points.

        Returns
        -------
        (n, 3) array, V/m

        Raises
        ------
        TargetError
            Points outside, the first with index and position; points that are not (n, 3) finite numbers;
            a tissue that the head does not have.
        """
        tets, held = locate(self.head, np.asarray(points_mm, np.float64), tissue=tissue, outside=outside)
        return spread(self.E[tets], held)

    def save(self, path, *, recovered=False, **options):
        """Write the field by its suffix: ``.vtu``, ``.msh``, ``.nii.gz`` with ``image=``, ``.gii`` with
        ``surface=`` (a file, or "mid-layer"), ``.csv``; see :func:`efield.io.fields.write_field`.

        With `recovered` the values are those of :meth:`recovered`: interpolated in images and on
        surfaces, means per tetrahedron elsewhere.
        """
        from efield.io.fields import write_field

        if recovered:
            options["recovered"] = self.recovered()
        if "surface" in options:
            options["surface"] = named_surface(self.head, options["surface"])
        pose = None if self.placement is None else self.placement.matsimnibs.tolist()
        facts = {"didt_A_per_s": self.didt, "coil": self.coil_name, "matsimnibs": pose}
        write_field(path, self.head, self.E, facts=facts, **options)


@dataclass(frozen=True, eq=False)
class Field(_Values, FieldsOnlyPickle):
    """Electric field of one placement, one value per tetrahedron, formed when it is first asked for.

    Attributes
    ----------
    head : HeadModel
    node_potential : (n,) array, V
        v at the nodes of ``head.mesh.ordered``, up to a constant; at second order followed by how much
        its midpoint exceeds the mean of its ends on each edge.
    node_dadt : (n, 3) array, V/m
        dA/dt at the nodes; at second order followed by the edges' midpoints.
    placement : Placement
    didt : float, A/s
    coil_name : str
    residual : float
        True relative residual of the linear solve.
    """

    head: object = field(repr=False)
    node_potential: np.ndarray = field(repr=False)
    node_dadt: np.ndarray = field(repr=False)
    placement: Placement
    didt: float
    coil_name: str
    residual: float

    @cached_property
    def E(self):
        """(n_tets, 3) ``-dA/dt - grad v`` in the head's frame, V/m, raw: one value per tetrahedron.

        At first order E is constant there; at second order this is its mean over the tetrahedron.
        """
        mesh = self.head.mesh.ordered
        everywhere = slice(None)
        e_field = element_field(mesh, self.node_potential, self.node_dadt, everywhere, mesh.tet_order)
        return read_only(e_field)

    def recovered(self):
        """E with one value per node and tissue, linear in each tetrahedron, by patch recovery.

        The gradient of the potential is recovered, see :mod:`efield.fem.recover`; dA/dt is known at the
        nodes. docs/recovery.md says where this helps and where it does not.

        Returns
        -------
        RecoveredField
        """
        mesh = self.head.mesh.ordered
        nothing, place = np.zeros_like(self.node_dadt), np.arange(len(mesh.tets))
        minus_gradient = element_field(mesh, self.node_potential, nothing, slice(None), place)
        return recover(self.head, minus_gradient, -self.node_dadt[: len(mesh.nodes)])

    @property
    def element_order(self):
        """Order of the finite elements, 1 or 2."""
        return 1 if len(self.node_potential) == len(self.head.mesh.ordered.nodes) else 2

    def inside(self, elements, points_mm, coil):
        """E at points inside tetrahedra, dA/dt being that of the coil at the point itself.

        Parameters
        ----------
        elements : (n,) int array
            The tetrahedron of each point, as of ``head.tets_at``; E jumps where conductivities do.
        points_mm : (n, 3) array
        coil : Coil, str or path
            That of the field.

        Returns
        -------
        (n, 3) array, V/m

        Raises
        ------
        PlacementError
            A point outside its tetrahedron; points and elements of other shapes.
        """
        points_mm, elements = np.asarray(points_mm, dtype=np.float64), np.asarray(elements)
        self._check_inside(elements, points_mm)
        mesh = self.head.mesh.ordered
        where = np.argsort(mesh.tet_order)[elements]
        gradient, shares = gradient_inside(mesh, self.node_potential, where, to_m(points_mm))
        outside = np.flatnonzero(shares.min(axis=1) < -OUTSIDE)
        if len(outside):
            raise PlacementError(
                f"point {outside[0]} at {points_mm[outside[0]].tolist()} mm lies outside tetrahedron "
                f"{elements[outside[0]]}"
            )
        return -gradient - coil_dadt(to_m(points_mm), load_coil(coil), [self.placement], self.didt)[:, :, 0]

    def _check_inside(self, elements, points_mm):
        if points_mm.ndim != 2 or points_mm.shape[1] != 3:
            raise PlacementError(f"points_mm must have shape (n, 3), not {points_mm.shape}")
        count, n_tets = len(points_mm), len(self.head.tets)
        known = np.issubdtype(elements.dtype, np.integer) and elements.shape == (count,)
        if not known or not np.all((elements >= 0) & (elements < n_tets)):
            raise PlacementError(
                f"elements must be {count} tetrahedron indices, one a point, from 0 to {n_tets - 1}; "
                "head.tets_at finds them"
            )


@dataclass(frozen=True, eq=False)
class StoredField(_Values, FieldsOnlyPickle):
    """Electric field that a file holds or another program computed.

    Attributes
    ----------
    head : HeadModel
    E : (n_tets, 3) array, V/m
    placement, didt, residual
        As in `Field`; None where the source does not state them.
    coil_name : str
        Of the coil, or of the file.
    """

    head: object = field(repr=False)
    E: np.ndarray = field(repr=False)
    placement: Placement | None
    didt: float | None
    coil_name: str
    residual: float | None = None

    def recovered(self):
        """As :meth:`Field.recovered`, but E itself is recovered: a file holds neither of its two parts."""
        return recover(self.head, self.E[self.head.mesh.ordered.tet_order])


def simulate(
    head, coil, placements, *, didt=1e6, element_order=None, solver="efield", rtol=DEFAULT_RTOL, progress=None
):
    """Solve for the electric field a coil induces.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
    coil : Coil, str or path
    placements : Placement, (4, 4) array or a sequence of them
    didt : float
        Rate of change of the coil current, A/s.
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.
    solver : {"efield", "simnibs"}
        "simnibs" runs the same placements through SimNIBS, where that is installed, for comparison.
    rtol : float
        Relative residual of the linear solves.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    Field, or a tuple of Field for a sequence of placements

    Warns
    -----
    UserWarning
        The coil's field was sampled in a box that does not cover the head; names the uncovered share.

    Raises
    ------
    PlacementError
        A pose that is not rigid, or a dipole of the coil inside the head.
    ConvergenceError
        The solver stalled.
    """
    if solver != "efield":
        if checked_order(1 if element_order is None else element_order) != 1:
            raise EfieldError(f"element_order={element_order} is for solver 'efield', not {solver!r}")
        return _simulate_elsewhere(solver, head, load_coil(coil), placements, check_didt(didt))
    report = progress or (lambda stage, fraction: None)
    report("setup", 0.0)
    prepared = prepare(head, element_order=element_order)
    coil = load_coil(coil)
    didt = check_didt(didt)
    report("forward", 0.0)
    poses, single = _as_placements(placements)
    gaps = (coverage_gap(prepared.head, coil, pose) for pose in poses)
    if gap := next(filter(None, gaps), None):
        warnings.warn(gap, UserWarning, stacklevel=2)
    fields = []
    for start in range(0, len(poses), prepared.block):
        batch = poses[start : start + prepared.block]
        fields.extend(_solve_batch(prepared, coil, batch, didt, rtol))
        report("forward", len(fields) / len(poses))
    return fields[0] if single else tuple(fields)


def _simulate_elsewhere(solver, head, coil, placements, didt):
    """Fields of placements by another program, as `StoredField`."""
    if solver != "simnibs":
        raise EfieldError(f"unknown solver {solver!r}; known: 'efield', 'simnibs'")
    from efield.solve.simnibs import simnibs_fields

    head = load_head(getattr(head, "head", head))
    poses, single = _as_placements(placements)
    solved = simnibs_fields(head, coil, [one.matsimnibs for one in poses], didt)
    fields = tuple(
        StoredField(head, read_only(e_field), one, didt, coil.name)
        for e_field, one in zip(solved, poses, strict=True)
    )
    return fields[0] if single else fields


def require_outside(head, coil, placement):
    """Raise PlacementError where a dipole of the coil lies inside the head."""
    positions, _ = dipoles_in_head(coil, placement)
    inside = head.boundary.contains(to_mm(positions))
    if inside.any():
        raise PlacementError(
            f"{np.count_nonzero(inside)} of {len(inside)} dipoles of coil {coil.name!r} lie inside head "
            f"{head.name!r} at centre {np.round(placement.center_mm, 1).tolist()} mm; move the coil "
            "outwards along its -z axis, or check that z points into the head"
        )


def _solve_batch(prepared, coil, placements, didt, rtol):
    solved = solve_potentials(prepared, coil, placements, didt, rtol)
    return [solved.field(k, placement) for k, placement in enumerate(placements)]


@dataclass(frozen=True, eq=False)
class SolvedBatch:
    """Potentials of some placements, from which fields are formed where they are wanted.

    Attributes
    ----------
    prepared : PreparedHead
    potential : (n, k) array, V
    node_dadt : (n, 3, k) array, V/m
    residual : (k,) array
    didt : float, A/s
    coil_name : str
    """

    prepared: object
    potential: np.ndarray
    node_dadt: np.ndarray
    residual: np.ndarray
    didt: float
    coil_name: str

    @property
    def columns(self):
        """Indices of the placements."""
        return range(self.potential.shape[1])

    def on_elements(self, k, elements):
        """E of placement `k` on some tetrahedra; (n, 3), V/m."""
        return self.prepared.element_field(self.potential[:, k], self.node_dadt[:, :, k], elements)

    def field(self, k, placement, share=1.0):
        """The whole :class:`Field` of placement `k`, or of one whose field is `share` times that."""
        return Field(
            head=self.prepared.head,
            node_potential=read_only(share * self.potential[:, k]),
            node_dadt=read_only(np.float32(share) * self.node_dadt[:, :, k]),
            placement=placement,
            didt=self.didt,
            coil_name=self.coil_name,
            residual=float(self.residual[k]),
        )


def solve_potentials(prepared, coil, placements, didt, rtol=DEFAULT_RTOL):
    """Solve up to a block of placements without forming their fields.

    Parameters
    ----------
    prepared, coil, placements, didt, rtol
        As in :func:`simulate`, all of them resolved.

    Returns
    -------
    SolvedBatch
    """
    node_dadt = checked_dadt(prepared, coil, placements, didt)
    solution = prepared.solve(prepared.source_load(node_dadt), rtol=rtol)
    return SolvedBatch(prepared, solution.x, node_dadt, solution.residual, didt, coil.name)


@dataclass(frozen=True, eq=False)
class KnownBatch:
    """Placements whose fields are those of solved ones times a number.

    Attributes
    ----------
    parts : tuple of (SolvedBatch, int, float)
        The batch, the column and the number of each placement.
    """

    parts: tuple

    def on_elements(self, k, elements):
        """E of placement `k` on some tetrahedra; (n, 3), V/m."""
        batch, column, share = self.parts[k]
        return share * batch.on_elements(column, elements)

    def field(self, k, placement):
        """The whole :class:`Field` of placement `k`."""
        batch, column, share = self.parts[k]
        return batch.field(column, placement, share)


def known_fields(batches, coil, placements):
    """Placements whose dA/dt is that of a solved one times a number; nothing is solved.

    A figure-8 of two equal wings turned by half a turn is such a placement: its current is reversed.

    Parameters
    ----------
    batches : sequence of SolvedBatch
        Of this coil on one head.
    coil, placements
        As of :func:`solve_potentials`.

    Returns
    -------
    KnownBatch or None
        None where there are no batches, or one of the placements is no such.
    """
    if not batches:
        return None
    one = batches[0]
    for placement in placements:
        require_outside(one.prepared.head, coil, placement)
    wanted = _flat(coil_dadt(one.prepared.nodes[::EVERY], coil, placements, one.didt))
    seen = np.concatenate([_flat(batch.node_dadt[::EVERY]) for batch in batches], axis=1)
    size, known_size = np.linalg.norm(wanted, axis=0), np.linalg.norm(seen, axis=0)
    cosine = (seen.T @ wanted) / (known_size[:, None] * size)
    nearest, columns = np.abs(cosine).argmax(axis=0), np.arange(len(placements))
    if not np.all(1 - cosine[nearest, columns] ** 2 <= SAME**2):
        return None
    share = cosine[nearest, columns] * size / known_size[nearest]
    share = np.where(np.abs(np.abs(share) - 1) <= SAME, np.sign(share), share)  # dA/dt is rounded
    of_batch = [(batch, k) for batch in batches for k in batch.columns]
    return KnownBatch(tuple((*of_batch[i], float(f)) for i, f in zip(nearest, share, strict=True)))


def _flat(dadt):
    """(3 n, k) float64 of dA/dt (n, 3, k)."""
    return dadt.reshape(-1, dadt.shape[2]).astype(np.float64)


def checked_dadt(prepared, coil, placements, didt):
    """dA/dt at the nodes (n, 3, k), V/m, of placements that all lie outside the head.

    Raises
    ------
    PlacementError
        A dipole of the coil lies inside the head.
    """
    for placement in placements:
        require_outside(prepared.head, coil, placement)
    return coil_dadt(prepared.nodes, coil, placements, didt)


def _as_placements(placements):
    """List of placements, and whether a single one was given."""
    if isinstance(placements, Placement):
        return [placements], True
    if isinstance(placements, np.ndarray) and placements.ndim == 2:
        return [Placement(placements)], True
    poses = [p if isinstance(p, Placement) else Placement(p) for p in placements]
    if not poses:
        raise PlacementError("no placements given")
    return poses, False


def check_didt(didt):
    """`didt` as a float; an error where it is not a finite number."""
    try:
        value = float(didt)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise EfieldError(f"didt must be a finite number of A/s, not {didt!r}")
    return value
