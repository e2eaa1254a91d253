"""Each stage of the engine as one call.

A change of an interface inside efield is followed here, and nowhere else in the benchmark.
"""

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse

from efield.adjoint.current import ADJOINT_RTOL, AdjointCurrents, adjoint_currents
from efield.adjoint.exterior import fit_harmonic
from efield.adjoint.spline import SPACING_MM, CoilExtent, SplineField, closeness
from efield.adjoint.yaw import YawExpansion
from efield.fem.assemble import assemble, geometry
from efield.fem.source import dipoles_in_head
from efield.forward import DEFAULT_RTOL, checked_dadt, simulate
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.model.target import Target
from efield.search.candidates import Search, scalp_grid, yaw_rotations
from efield.search.constraints import Constraints, Places
from efield.search.evaluate import functionals_at_yaw, functionals_over_yaw
from efield.search.objectives import make_objective
from efield.search.optimize import optimize_coil
from efield.search.polish import ScalpChart, polish
from efield.search.run import EXTERIOR_TRUSTED
from efield.solve.multigrid import Multigrid
from efield.solve.prepared import BLOCK, prepare
from efield.units import to_mm

__all__ = ["ADJOINT_RTOL", "BLOCK", "DEFAULT_RTOL", "load_coil", "load_head", "optimize_coil"]

TARGET = Target.sphere((-42.0, 44.0, 30.0))
DISTANCE_MM = 4.0
DIDT = 1e6
GOAL = make_objective("magnitude_of_mean")

NORMAL = Search()
DENSE = Search(radius_mm=25.0, spacing_mm=0.572)
"""5900 positions x 360 angles in the default radius."""

WIDE = Search(radius_mm=44.5, spacing_mm=1.0)
"""As many placements in three times the area."""


def fresh(head):
    """The head without anything that was computed from it before."""
    mesh = head.mesh
    return HeadModel(
        TetMesh(mesh.nodes_mm, mesh.tets, mesh.tags),
        head.conductivity,
        name=head.name,
        space=head.space,
        scalp_triangles=head.scalp_triangles,
    )


def assembled(head):
    """Ordered mesh and its operators."""
    geo = geometry(head.mesh, head.conductivity)
    return geo, assemble(geo)


def stiffness(geo, operators):
    """K as a scipy matrix."""
    n = len(geo.nodes)
    return scipy.sparse.csr_matrix((operators.stiffness, operators.indices, operators.indptr), shape=(n, n))


def hierarchy(matrix):
    """The solver of a matrix."""
    return Multigrid.build(matrix)


def set_up(head):
    """Assembly and solver together, as a user calls it."""
    return prepare(head)


def prepared_stiffness(prepared):
    """K of a prepared head as a scipy matrix, float64."""
    return stiffness(prepared.geometry, prepared.operators)


def adjoints(prepared, region, rtol=None):
    """The three adjoint currents of a target's mean field."""
    weights = GOAL.weights(region.volumes_mm3 * 1e-9)
    return adjoint_currents(prepared, region.elements, weights, rtol=rtol)


class ObservedCurrents(AdjointCurrents):
    """Adjoint currents that keep what their direct sums cost and where they were taken."""

    @classmethod
    def of(cls, currents):
        return cls(**{name: getattr(currents, name) for name in currents.__dataclass_fields__})

    @cached_property
    def spent(self):
        """Wall and CPU seconds."""
        return np.zeros(2)

    @cached_property
    def points(self):
        """List of the point arrays, m."""
        return []

    def field(self, points, **options):
        begin = np.array([time.perf_counter(), time.process_time()])
        value = super().field(points, **options)
        self.spent[:] += np.array([time.perf_counter(), time.process_time()]) - begin
        self.points.append(points)
        return value


@dataclass(frozen=True)
class Positions:
    """Where a coil is tried: the scalp grid and the poses at yaw 0."""

    grid: object
    poses: np.ndarray
    distance_mm: float

    def at(self, picks):
        """Some of the positions."""
        grid = replace(self.grid, points_mm=self.grid.points_mm[picks], normals=self.grid.normals[picks])
        return Positions(grid, self.poses[picks], self.distance_mm)


def positions(head, search, distance_mm=DISTANCE_MM):
    """Scalp points of a search and the coil's poses there."""
    grid = scalp_grid(
        head.scalp, np.asarray(TARGET.resolve(head).center_mm), search.radius_mm, search.spacing_mm
    )
    return Positions(grid, grid.base_poses(distance_mm), distance_mm)


def exterior(currents, head, coil, where):
    """Harmonic model of the exterior field, fitted for a region."""
    lowest_mm = where.distance_mm - to_mm(CoilExtent.of(coil).high)
    return fit_harmonic(
        currents, head.scalp, where.grid.center_mm, where.grid.radius_mm, check_height_mm=lowest_mm
    )


def spline(model, coil, where):
    """Spline of a harmonic model for a coil at some positions."""
    extent = CoilExtent.of(coil)
    return SplineField.over(
        model,
        extent,
        where.poses[:, :3, 3],
        where.poses[:, :3, 2],
        spacing_mm=SPACING_MM[closeness(extent.height_mm(where.distance_mm))],
    )


def clear(head, coil, where, yaw_deg):
    """Which placements keep off the scalp."""
    limits = Constraints(distance_mm=where.distance_mm)
    places = Places.over(head, coil, where.poses, yaw_deg, limits)
    feasible = np.zeros((len(where.poses), len(yaw_deg)), bool)
    feasible[places.index[places.lift_mm == 0]] = places.feasible[places.lift_mm == 0]
    return feasible


def over_yaw(model, field, coil, where, yaw_deg, *, direct=None):
    """Functionals (n, n_yaw, 3) of all placements, V/m, and the engine's own estimate of their error.

    With `direct` (adjoint currents) these are summed over the mesh, as the engine does where it does not
    trust the exterior model.
    """
    return functionals_over_yaw(
        field,
        coil,
        YawExpansion.of(coil, model.charges, where.poses),
        where.poses,
        yaw_deg,
        DIDT,
        direct=direct,
        progress=lambda fraction: None,
    )


def at_yaw(field, coil, where, yaw_deg):
    """The same by summing every dipole of every placement on the spline."""
    return functionals_at_yaw(field, coil, where.poses, yaw_deg, DIDT)


def values(functionals):
    """|mean E| of all placements."""
    return GOAL.of_functionals(functionals)


def polished(field, coil, head, where, start, yaw_deg):
    """Best value near the position `start` and a yaw, V/m."""
    return polish(
        field,
        coil,
        GOAL,
        ScalpChart.at(head.scalp, where.grid.points_mm[start], where.distance_mm),
        np.radians(yaw_deg),
        didt=DIDT,
        reach_mm=4.0,
        yaw_reach=np.radians(10.0),
        allowed=lambda pose, point: True,
    )[1]


def spread(where, count):
    """Placements spread over the positions and all yaw angles."""
    picks = np.linspace(0, len(where.poses) - 1, count).astype(int)
    return turned(where.poses[picks], 137.0 * np.arange(count))


def turned(poses, yaw_deg):
    """Placements of poses (n, 4, 4), each turned by one of yaw (n,)."""
    return [Placement(pose) for pose in poses @ yaw_rotations(np.asarray(yaw_deg))]


def loads(prepared, coil, placements):
    """Right-hand sides (n, k) and the dA/dt they come from."""
    rates = checked_dadt(prepared, coil, placements, DIDT)
    return prepared.source_load(rates), rates


def load_rows(prepared, rows, rates_at):
    """Right-hand side at some nodes in float64; `rates_at(points)` gives dA/dt (n, 3)."""
    operators = prepared.operators
    value = np.empty(len(rows))
    for i, row in enumerate(rows):
        part = slice(operators.indptr[row], operators.indptr[row + 1])
        rates = rates_at(prepared.nodes[operators.indices[part]])
        value[i] = -np.sum(np.asarray(operators.source[part], np.float64) * rates)
    return value


def solved(prepared, b, rtol):
    """Potentials (n, k)."""
    return prepared.solve(b, rtol=rtol).x


def element_field(prepared, potential, rates, elements):
    """E on some tetrahedra, V/m."""
    return prepared.element_field(potential, rates, elements)


def forward(prepared, coil, placement, rtol):
    """One field as a user asks for it, E formed."""
    field = simulate(prepared, coil, placement, didt=DIDT, rtol=rtol)
    field.E  # noqa: B018 - formed when it is asked for
    return field


def forward_many(prepared, coil, placements, rtol):
    """Fields of a batch; E of each is formed and let go again."""
    fields = list(simulate(prepared, coil, placements, didt=DIDT, rtol=rtol))
    while fields:
        fields.pop().E  # noqa: B018


def grid_optimum(source, coil, search):
    """From a file to the largest |mean E| of a grid, V/m, the number of placements, the model's error."""
    head = load_head(source)
    prepared = prepare(head)
    currents = adjoints(prepared, TARGET.resolve(head))
    where = positions(head, search)
    model = exterior(currents, head, coil, where)
    field = spline(model, coil, where)
    allowed = clear(head, coil, where, search.yaw_deg)
    direct = None if model.error <= EXTERIOR_TRUSTED else currents
    value = values(over_yaw(model, field, coil, where, search.yaw_deg, direct=direct)[0])
    return float(np.where(allowed, value, -np.inf).max()), value.size, model.error


def optimum(source, coil, search, objective="mean_magnitude"):
    """The whole run of a user, from the file."""
    options = {"search": search, "objective": objective, "didt": DIDT}
    return optimize_coil(source, coil, TARGET, **options)


def dipoles(coil, pose):
    """Positions (n, 3), m, and moments times dI/dt (n, 3) in the head's frame."""
    where, moments = dipoles_in_head(coil, Placement(pose))
    return where, moments * DIDT


def casing_gap_mm(head, coil, pose, yaw_deg):
    """Smallest signed distance from the scalp to a coil's casing over some yaw angles."""
    poses = pose @ yaw_rotations(yaw_deg)
    points = coil.extent_mm @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3]
    return float(head.scalp.signed_distance(points.reshape(-1, 3)).min())


def scalp_distance_mm(head, points):
    """Height above the scalp of points in metres."""
    return head.scalp.signed_distance(to_mm(points))
