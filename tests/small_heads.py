"""Heads that several test modules share: made once, when first asked for."""

from functools import cache

import numpy as np

from efield.analytic.shapes import box, random_layered_sphere
from efield.io.stimulator import Stimulator
from efield.io.tcd import LINES, Element, TcdRecord, write_tcd
from efield.model.coil import Coil
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.placement import Placement
from efield.search.candidates import Search
from efield.solve.prepared import prepare

RADIUS_MM = 85.0

TARGET_DIRECTION = np.array([-0.5, 0.5, 0.7]) / np.linalg.norm([-0.5, 0.5, 0.7])

TARGET_MM = 60.0 * TARGET_DIRECTION
"""A point in the sphere's grey matter."""

QUICK = Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=10.0)
"""A search of a second or two."""


@cache
def few_dipoles():
    """A figure-8 of 26 dipoles: half turns change nothing but its sign."""
    angle = np.arange(12) * (2 * np.pi / 12)
    ring = np.stack([30 * np.cos(angle), 30 * np.sin(angle), np.full(12, -6.0)], axis=1)
    wing = np.concatenate([ring, [[0.0, 0, -6]]]) + [32.0, 0, 0]
    return Coil(
        np.concatenate([wing, -wing * [1, 1, -1]]),
        2e-3 * np.repeat([[0.0, 0, 1], [0, 0, -1]], 13, axis=0),
        name="few dipoles",
    )


@cache
def sphere():
    """Four tissues, 53,000 tetrahedra, in no way symmetric; prepared."""
    mesh = random_layered_sphere([66.0, 72.0, 78.0, RADIUS_MM], [2, 3, 4, 5], 8.0, seed=1)
    return prepare(HeadModel.from_mesh(mesh, name="sphere"))


@cache
def mni_small():
    """The small built-in head, prepared."""
    return prepare(load_head("mni152-small"))


def tensors(rng, n):
    """Random conductivity tensors (n, 3, 3), S/m."""
    factor = np.eye(3) + rng.uniform(-0.4, 0.4, (n, 3, 3))
    return rng.uniform(0.1, 2.0, (n, 1, 1)) * factor @ factor.swapaxes(1, 2)


@cache
def small_cube():
    """A jittered box with a random tensor in each of its 162 tetrahedra, at second order."""
    mesh = box(3, 60.0, jitter=0.15, seed=3)
    return prepare(HeadModel(mesh, tensors(np.random.default_rng(5), len(mesh.tets))), element_order=2)


def over_the_target(head, count):
    """Placements over the built-in heads' left DLPFC, at any angle."""
    rng, points = np.random.default_rng(4), []
    center = head.scalp.closest(np.array([-42.0, 44.0, 30.0]))[0][0]
    while len(points) < count:
        point = head.scalp.closest(center + rng.uniform(-15, 15, 3))[0][0]
        points.append(Placement.on_scalp(head, point, yaw_deg=rng.uniform(-180, 180), distance_mm=8.0))
    return points


def write_wire_loop(path, copies=1):
    """A small loop of wire as a .tcd file; all copies lie in the same place."""
    angle = np.linspace(0, 2 * np.pi, 101)
    points = np.stack([25 * np.cos(angle), 25 * np.sin(angle), np.full(101, -6.0)], axis=1)
    element = Element(LINES, 0, (points[:-1] + points[1:]) / 2, np.diff(points, axis=0))
    write_tcd(path, TcdRecord((element,) * copies, (Stimulator("Pulse X", "Maker", 1.2e8),)))
