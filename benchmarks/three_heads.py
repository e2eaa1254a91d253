"""The three heads on which optima are judged, and forward solutions on their targets."""

import numpy as np

import efield
from efield.analytic.shapes import random_layered_sphere
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.objectives import make_objective
from efield.search.operator import fields_on_target
from efield.search.run import Run

DIDT = 1e6
DIRECTION = np.array([-0.5, 0.5, 0.7]) / np.linalg.norm([-0.5, 0.5, 0.7])

COLIN_TARGET_MM = (-39.7, 60.0, 16.7)
"""Grey matter of Colin27 nearest to the head's own F3."""

COLIN_CONDUCTIVITY = {5: 0.05}
"""S/m: its scalp and skull are one tissue."""


def add_options(parser):
    """Which heads to run on, for every benchmark alike."""
    parser.add_argument("--heads", nargs="*", default=["sphere", "mni152"], choices=["sphere", "mni152"])
    parser.add_argument("--colin", help="the Colin27 mesh; the head is left out, and said to be, without it")
    parser.add_argument("--radius", type=float, default=5.0, help="of the target, mm")
    parser.add_argument("--sphere-edge-mm", type=float, default=5.0)
    parser.add_argument("--json")


def heads(options):
    """Name, head and target of each head asked for."""
    if "sphere" in options.heads:
        mesh = random_layered_sphere([66.0, 72.0, 78.0, 85.0], [2, 3, 4, 5], options.sphere_edge_mm, seed=1)
        target = efield.Target.sphere(60.0 * DIRECTION, options.radius)
        yield "sphere", efield.HeadModel.from_mesh(mesh, name="sphere"), target
    if "mni152" in options.heads:
        target = efield.Target.mni((-42.0, 44.0, 30.0), options.radius)
        yield "mni152", efield.load_head("mni152"), target
    if options.colin:
        head = efield.load_head(options.colin, conductivity=COLIN_CONDUCTIVITY)
        yield "colin27", head, efield.Target.sphere(COLIN_TARGET_MM, options.radius)
    else:
        print("colin27 left out: no --colin")


def new_run(prepared, coil, region, objective, search, constraints=None):
    """The stages of a search, to be looked at one by one."""
    limits = constraints or Constraints()
    return Run(prepared, coil, region, make_objective(objective), search, limits, DIDT, Clock(None))


def forward_values(run, poses):
    """The objective (n,) at poses (n, 4, 4), each solved forward."""
    fields = fields_on_target(run.prepared, run.coil, poses, run.region.elements, DIDT)
    return np.array([run.value_of(e_field) for e_field in fields])
