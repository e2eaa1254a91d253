"""Heads that several test modules share: made once, when first asked for."""

from functools import cache

import numpy as np

from efield.analytic.shapes import random_layered_sphere
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.search.candidates import Search
from efield.solve.prepared import prepare

RADIUS_MM = 85.0

TARGET_DIRECTION = np.array([-0.5, 0.5, 0.7]) / np.linalg.norm([-0.5, 0.5, 0.7])

TARGET_MM = 60.0 * TARGET_DIRECTION
"""A point in the sphere's grey matter."""

QUICK = Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=10.0)
"""A search of a second or two."""


@cache
def sphere():
    """Four tissues, 53,000 tetrahedra, in no way symmetric; prepared."""
    mesh = random_layered_sphere([66.0, 72.0, 78.0, RADIUS_MM], [2, 3, 4, 5], 8.0, seed=1)
    return prepare(HeadModel.from_mesh(mesh, name="sphere"))


@cache
def mni_small():
    """The small built-in head, prepared."""
    return prepare(load_head("mni152-small"))
