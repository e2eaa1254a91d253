"""A field of three functionals over a quick search on the sphere, for tests of what reads it."""

from functools import cache

import numpy as np
from small_heads import QUICK, TARGET_MM, sphere

from efield.adjoint.current import adjoint_currents
from efield.adjoint.exterior import fit_harmonic
from efield.adjoint.spline import CoilExtent, SplineField
from efield.model.target import Target
from efield.search.candidates import scalp_grid
from efield.search.objectives import make_objective

DISTANCE_MM, DIDT = 4.0, 1e6

GOAL = make_objective("magnitude_of_mean")


@cache
def sphere_search(radius_mm=QUICK.radius_mm):
    """Scalp grid and harmonic model of the mean field of a target in the sphere."""
    head = sphere().head
    region = Target.sphere(TARGET_MM, 8.0).resolve(head)
    currents = adjoint_currents(sphere(), region.elements, GOAL.weights(region.volumes_mm3 * 1e-9))
    grid = scalp_grid(head.scalp, TARGET_MM, radius_mm, QUICK.spacing_mm)
    return grid, fit_harmonic(currents, head.scalp, grid.center_mm, radius_mm, check_height_mm=10)


def field_over(coil, poses):
    """Spline of that model over poses, 3 mm fine."""
    _, model = sphere_search()
    return SplineField.over(model, CoilExtent.of(coil), poses[:, :3, 3], poses[:, :3, 2], spacing_mm=3.0)


def values(field, coil, poses):
    """|mean E| at poses, V/m."""
    return np.linalg.norm(field.functionals(coil, poses, DIDT), axis=-1)
