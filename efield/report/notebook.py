"""A head to turn in a notebook or a window, by pyvista."""

import numpy as np

from efield.errors import FormatError
from efield.report.extra import need
from efield.report.surfaces import Shell, cortex
from efield.report.theme import FIELD_MAP, ORANGE

SCALARS = "magnitude of E, V/m"
"""VTK takes the bars of |E| for borders of columns."""


def view(what, *, plotter=None):
    """Show |E| on the cortex under a translucent scalp, with the coil's pose where it is known.

    Parameters
    ----------
    what : OptimizeResult, SimulateResult, Field or StoredField
        A result needs its field: one that was just computed, not one read from a folder (for that,
        ``efield.load_field("result/field.msh")``).
    plotter : pyvista.Plotter, optional
        To draw into; by default a new one.

    Returns
    -------
    pyvista.Plotter
        Call its ``show()``.

    Raises
    ------
    MissingExtraError
        pyvista is not installed: ``pip install 'efield[view]'``.
    FormatError
        No field.
    """
    pyvista = need("pyvista", "view")
    field = getattr(what, "field", what)
    if field is None or not hasattr(field, "magnitude"):
        raise FormatError("view needs a field: a result that was just computed, or efield.load_field(...)")
    plotter = pyvista.Plotter() if plotter is None else plotter
    scalp = field.head.scalp
    shell = cortex(field.head, np.asarray(field.magnitude))
    if shell is not None:
        surface = _poly(pyvista, shell)
        surface[SCALARS] = shell.values
        limits = 0.0, float(shell.values.max())
        plotter.add_mesh(surface, scalars=SCALARS, clim=limits, cmap=FIELD_MAP.lower(), smooth_shading=True)
    plotter.add_mesh(_poly(pyvista, Shell(scalp.vertices_mm, scalp.triangles)), color="tan", opacity=0.2)
    if field.placement is not None:
        pose = np.asarray(field.placement.matsimnibs)
        plotter.add_arrows(pose[:3, 3], pose[:3, 1], mag=80.0, color=ORANGE, label="handle (coil +y)")
    return plotter


def _poly(pyvista, shell):
    return pyvista.PolyData.from_regular_faces(shell.vertices_mm, shell.triangles)
