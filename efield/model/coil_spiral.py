"""Bent figure-8 coils of spiral layers: from a published centreline to magnetic dipoles.

A flat Archimedean spiral r = a + b theta of whole turns, closed by a straight lead between its ends,
bounds the area that its radius sweeps. In the direction phi from its centre it encloses the radius rho
as often as turns lie beyond it, so along each of equally spaced directions the rule of
:func:`efield.model.coil_geometry.ring_rule` for the turns' radii there gives the dipoles (Stokes' theorem,
see that module). The leads of layers in series run against one another and nearly cancel.

Frame: z into the head, z = 0 the casing's face in the fold, windings at negative z there; the wings lie
along x and bend towards the head.
"""

import math
from dataclasses import dataclass

import numpy as np

from efield.model.coil import Coil
from efield.model.coil_geometry import check_positive, disc_points, ring_rule
from efield.units import to_m, to_mm

__all__ = ["D_B80_BEND_DEG", "D_B80_LAYERS", "SpiralLayer", "magventure_d_b80"]


@dataclass(frozen=True)
class SpiralLayer:
    """One flat layer of a wing: a wire along r = `start_mm` + `pitch_mm` theta that ends at the fold.

    Parameters
    ----------
    start_mm, pitch_mm : float
        r at theta = 0, and its growth per radian.
    first_turn, last_turn : int
        theta / 2 pi at the inner and the outer end.
    sense : {1, -1}
        Of theta in the wing at x > 0: 1 if the wire opens anticlockwise about +z.
    middle_mm : float
        z of the wire's middle in the fold.
    """

    start_mm: float
    pitch_mm: float
    first_turn: int
    last_turn: int
    sense: int
    middle_mm: float

    @property
    def outer_mm(self):
        """Radius of the outer end, which is the distance of the wing's centre from the fold."""
        return self.start_mm + self.pitch_mm * 2 * math.pi * self.last_turn

    def radii_mm(self, angle):
        """Radii of the turns in a direction, `angle` from the outer end along the wire, 0 to 2 pi."""
        turns = np.arange(self.first_turn, self.last_turn)
        return self.start_mm + self.pitch_mm * (angle + 2 * math.pi * turns)


D_B80_WIRE_WIDTH_MM = 2.0
"""In the layer; it is 6 mm high, but stands for its middle: that changes A by 0.3 %."""

D_B80_DEPTH_MM = 5.0
"""Assumed, see `magventure_d_b80`."""

D_B80_LAYERS = (
    SpiralLayer(24.0, 0.61, 2, 6, -1, -D_B80_DEPTH_MM - 3.0),
    SpiralLayer(27.0, 0.61, 2, 5, 1, -D_B80_DEPTH_MM - 9.0),
)
"""Four turns on the head's side, three behind them."""

D_B80_BEND_DEG = 30.0
"""Of each wing out of the plane, so that 120 degrees lie between them."""

D_B80_CASING_MM = (55.0, 22.0)
"""Radius and thickness, assumed."""


def magventure_d_b80(spacing_mm=8.0):
    """The built-in ``bent-d-b80``: MagVenture's D-B80, wings bent towards the head, from a published winding.

    Positive didt: the current under the fold runs along -y, so the induced field there is along +y.
    """
    check_positive("spacing_mm", spacing_mm)
    pieces = [_right_wing(layer, spacing_mm) for layer in D_B80_LAYERS]
    right_mm, right = np.vstack([p for p, _ in pieces]), np.concatenate([m for _, m in pieces])
    positions_mm = np.vstack([right_mm, right_mm * [-1, -1, 1]])
    angle = np.radians(D_B80_BEND_DEG)
    side = np.repeat([1.0, -1.0], len(right_mm))  # also of a wire's edge that reaches over the fold
    normals = np.stack([-np.sin(angle) * side, 0 * side, np.full(len(side), np.cos(angle))], axis=1)
    casing_mm = disc_points(*D_B80_CASING_MM) + [D_B80_LAYERS[0].outer_mm, 0, 0]
    casing_mm = np.vstack([np.zeros((1, 3)), casing_mm, casing_mm * [-1, -1, 1]])
    return Coil(
        positions_mm=_bent(positions_mm, side),
        moments=np.concatenate([right, -right])[:, None] * normals,
        name="bent-d-b80",
        casing_mm=_bent(casing_mm, np.sign(casing_mm[:, 0])),
        notes=(
            "Source: MagVenture D-B80 in the coil scripts of the BEM-FMM toolbox (TMS Base Package, "
            "2020): spirals r = 24 + 0.61 theta mm over 4 turns and 27 + 0.61 theta mm over 3 turns, "
            "wire 2 x 6 mm, wings bent by 30 degrees; not verified on a coil.",
            "ASSUMED: the four-turn layer lies nearer the head (the script's z points away from it), and its "
            f"face {D_B80_DEPTH_MM:g} mm behind the casing's face along z; the source states no casing.",
            "ASSUMED: casing 22 mm thick and 7 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            "max_didt: not known for this coil, measured or displayed. Its cooled relative Cool-D-B80 was "
            "measured at 146.4 A/us, displayed 151 (Drakaki et al. 2022).",
            "Not modelled: the connecting leads (straight ones between the spirals' ends, which nearly "
            "cancel, stand for them), the height of the wire, current crowding in it (an even current "
            "density is assumed; the source puts the current on the wire's surface).",
            f"{len(positions_mm)} dipoles stand for the windings; from 10 mm before the casing on, A is that "
            "of the wires to 0.5 %.",
        ),
    )


def _right_wing(layer, spacing_mm):
    """Positions (n, 3), mm, and moments (n,), m^2, of a layer of the wing at x > 0 before it is bent."""
    spacing_mm = spacing_mm * layer.middle_mm / D_B80_LAYERS[0].middle_mm  # farther off, less detail is left
    directions = math.ceil(2 * math.pi * layer.outer_mm / spacing_mm)
    n_rings = math.ceil(math.pi * layer.outer_mm / (2 * spacing_mm))
    angles = 2 * np.pi / directions * (np.arange(directions) + 0.5)
    rules = [ring_rule(to_m(layer.radii_mm(a)), to_m(D_B80_WIRE_WIDTH_MM), n_rings) for a in angles]
    radii = to_mm(np.array([r for r, _ in rules]))
    # The outer end is at the fold, where the direction from the wing's centre is -x.
    x = layer.outer_mm - radii * np.cos(angles)[:, None]
    y = -layer.sense * radii * np.sin(angles)[:, None]
    positions = np.stack([x.ravel(), y.ravel(), np.full(x.size, layer.middle_mm)], axis=1)
    return positions, np.array([m for _, m in rules]).ravel() / directions


def _bent(points_mm, side):
    """Points moved with their wing, at x > 0 or x < 0, as in the source: heights stay along z."""
    angle = np.radians(D_B80_BEND_DEG)
    x, y, z = points_mm.T
    return np.stack([np.cos(angle) * x, y, z + np.sin(angle) * side * x], axis=1)
