"""Figure-8 coils of flat wire paths: from published centrelines to magnetic dipoles.

In the direction phi from a wing's centre a flat winding encloses the radius rho as often as turns lie
beyond it, so along each of equally spaced directions the rule of
:func:`efield.model.coil_geometry.ring_rule` for the turns' radii there gives the dipoles (Stokes' theorem,
see that module). A spiral r = a + b theta is open; a straight lead from its outer to its inner end closes it.
After whole turns that lead lies along one direction and is met in no other. After others it is met between
the two ends' directions, as a turn more or, where it runs against the wire, one less.

Frame: z into the head, z = 0 the casing's face under the coil's centre, windings at negative z there; the
wings lie along x.
"""

import math
from dataclasses import dataclass

import numpy as np

from efield.model.coil import Coil
from efield.model.coil_geometry import check_positive, disc_points, ring_rule
from efield.units import to_m, to_mm

__all__ = ["HALF_TURN", "MIRROR", "EllipticTurns", "Layer", "SpiralTurns", "Wings", "figure8_of_wings"]

HALF_TURN = (-1.0, -1.0, 1.0)
"""The wing at x < 0 is the one at x > 0 turned by 180 degrees about z."""

MIRROR = (-1.0, 1.0, 1.0)
"""The wing at x < 0 is the mirror image in x of the one at x > 0."""


@dataclass(frozen=True)
class Ray:
    """The wires that one direction from a wing's centre meets.

    Parameters
    ----------
    angle : float
        From +x towards +y, rad.
    share : float
        Part of the circle that the direction stands for.
    radii_mm : (n,) array
        Of the wires' middles.
    widths_mm : float or (n,) array
        Of the wires along the ray.
    currents : (n,) array
        1, or -1 where a wire runs against the winding.
    """

    angle: float
    share: float
    radii_mm: np.ndarray
    widths_mm: float | np.ndarray
    currents: np.ndarray


@dataclass(frozen=True)
class SpiralTurns:
    """A wire along r = `start_mm` + `pitch_mm` theta about a wing's centre.

    Parameters
    ----------
    start_mm, pitch_mm : float
        r at theta = 0, and its growth per radian.
    first_turn, last_turn : float
        theta / 2 pi at the inner and the outer end.
    sense : {1, -1}
        Of theta in the wing at x > 0: 1 if the wire opens anticlockwise about +z.
    end_deg : float
        Direction of the outer end from the centre of the wing at x > 0, from +x towards +y; 180: at the fold.
    """

    start_mm: float
    pitch_mm: float
    first_turn: float
    last_turn: float
    sense: int
    end_deg: float = 180.0

    @property
    def outer_mm(self):
        """Radius of the outer end."""
        return float(self.radius_mm(self.last_turn))

    def radius_mm(self, turns):
        """Radius at theta = 2 pi `turns`."""
        return self.start_mm + self.pitch_mm * 2 * math.pi * turns

    def rays(self, count, width_mm):
        """About `count` directions, each a `Ray`; `width_mm` is the wire's.

        The turns met change at the inner end: each side of it has directions of its own.
        """
        inner_end = (self.first_turn - self.last_turn) % 1.0  # along the wire from the outer end's direction
        rays = []
        for low, high in ((0.0, inner_end), (inner_end, 1.0)):
            n = math.ceil(count * (high - low))
            for k in range(n):
                along = low + (high - low) * (k + 0.5) / n
                turns = self.radius_mm(np.arange(self.last_turn - 1 + along, self.first_turn, -1.0))
                lead, current = self._lead(along, inner_end)
                rays.append(
                    Ray(
                        np.radians(self.end_deg) + self.sense * 2 * math.pi * along,
                        (high - low) / n,
                        np.append(turns, lead),
                        width_mm,
                        np.append(np.ones(len(turns)), current),
                    )
                )
        return rays

    def _lead(self, along, inner_end):
        """([radius], [current]) of the straight lead in a direction, empty where it does not pass.

        Directions are parts of a turn along the wire from the outer end's.
        """
        current = 1.0 if inner_end < 0.5 else -1.0
        between, to_inner = (along, inner_end) if current > 0 else (1 - along, 1 - inner_end)
        if between >= to_inner or inner_end == 0:
            return [], []
        outer, inner = self.radius_mm(self.last_turn), self.radius_mm(self.first_turn)
        a, whole = 2 * math.pi * between, 2 * math.pi * to_inner
        radius = outer * inner * math.sin(whole) / (outer * math.sin(a) + inner * math.sin(whole - a))
        return [radius], [current]


@dataclass(frozen=True)
class EllipticTurns:
    """Closed elliptical turns about a wing's centre.

    Parameters
    ----------
    half_axes_mm : tuple of (float, float)
        Along x and y, of each turn's centreline.
    """

    half_axes_mm: tuple

    @property
    def outer_mm(self):
        """Largest half-axis."""
        return float(np.max(self.half_axes_mm))

    def rays(self, count, width_mm):
        """`count` directions, each a `Ray`; `width_mm` is the wire's.

        A wire that a ray meets obliquely is wider along it: 1 / cos of the angle to the ellipse's normal.
        """
        x, y = np.array(self.half_axes_mm).T
        rays = []
        for angle in 2 * np.pi / count * (np.arange(count) + 0.5):
            toward = np.array([np.cos(angle), np.sin(angle)])
            radii = 1 / np.hypot(toward[0] / x, toward[1] / y)
            normal = np.stack([toward[0] / x**2, toward[1] / y**2])
            widths = width_mm * np.linalg.norm(normal, axis=0) / (toward @ normal)
            rays.append(Ray(angle, 1 / count, radii, widths, np.ones(len(radii))))
        return rays


@dataclass(frozen=True)
class Layer:
    """One flat layer of a wing.

    Parameters
    ----------
    turns : SpiralTurns or EllipticTurns
    centre_mm, middle_mm : float
        x of the centre of the wing at x > 0, before it is bent, and z of the wire's middle there.
    """

    turns: SpiralTurns | EllipticTurns
    centre_mm: float
    middle_mm: float


@dataclass(frozen=True)
class Wings:
    """Two wings in series whose current under the coil's centre adds up.

    Parameters
    ----------
    layers : tuple of Layer
        Of the wing at x > 0; the first lies nearest the head.
    wire_mm : (float, float)
        Width in the layer and height across it; an even current density is assumed.
    other : tuple
        Signs of x, y, z that lead to the other wing: `HALF_TURN` or `MIRROR`.
    casing_mm : (float, float, float)
        Half-axes of each wing's casing along x and y, and its thickness.
    bend_deg : float
        Of each wing towards the head, out of the plane.
    turned_rad : float
        The finished coil's angle about z, from +x towards +y.
    """

    layers: tuple
    wire_mm: tuple
    other: tuple
    casing_mm: tuple
    bend_deg: float = 0.0
    turned_rad: float = 0.0


def figure8_of_wings(wings, *, spacing_mm, name, notes, max_didt=None, stimulators=()):
    """Magnetic dipoles of two wings.

    Positive didt: the current under the coil's centre runs along -y, so the induced field there is along +y.

    Parameters
    ----------
    wings : Wings
    spacing_mm : float
        Between the dipoles of the first layer; farther ones need less detail and get less.
    name, notes, max_didt, stimulators
        As in `Coil`.

    Returns
    -------
    Coil

    Raises
    ------
    CoilError
        A spacing that is not positive.
    """
    check_positive("spacing_mm", spacing_mm)
    nearest_mm = wings.layers[0].middle_mm
    pieces = [_right_wing(a, wings.wire_mm, spacing_mm * a.middle_mm / nearest_mm) for a in wings.layers]
    right_mm, right = np.vstack([p for p, _ in pieces]), np.concatenate([m for _, m in pieces])
    positions_mm = np.vstack([right_mm, right_mm * wings.other])
    side = np.repeat([1.0, -1.0], len(right_mm))  # also of a wire's edge that reaches over the fold
    bend = np.radians(wings.bend_deg)
    normals = np.stack([-np.sin(bend) * side, 0 * side, np.full(len(side), np.cos(bend))], axis=1)
    casing_mm = _casing_points(wings)
    return Coil(
        positions_mm=_placed(positions_mm, side, wings),
        moments=_turned(np.concatenate([right, -right])[:, None] * normals, wings.turned_rad),
        name=name,
        casing_mm=_placed(casing_mm, np.sign(casing_mm[:, 0]), wings),
        max_didt=max_didt,
        notes=(*notes, f"{len(positions_mm)} dipoles stand for the windings."),
        stimulators=stimulators,
    )


def _right_wing(layer, wire_mm, spacing_mm):
    """Positions (n, 3), mm, and moments (n,), m^2, of a layer of the wing at x > 0 before it is bent."""
    width_mm, height_mm = wire_mm
    count = math.ceil(2 * math.pi * layer.turns.outer_mm / spacing_mm)
    n_rings = math.ceil(math.pi * layer.turns.outer_mm / (2 * spacing_mm))
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(height_mm / spacing_mm))
    positions, moments = [], []
    for ray in layer.turns.rays(count, width_mm):
        radii, ring_moments = ring_rule(to_m(ray.radii_mm), to_m(ray.widths_mm), n_rings, ray.currents)
        for node, weight in zip(nodes, weights / 2, strict=True):
            x = layer.centre_mm + to_mm(radii) * np.cos(ray.angle)
            y = to_mm(radii) * np.sin(ray.angle)
            z = np.full(n_rings, layer.middle_mm + node * height_mm / 2)
            positions.append(np.stack([x, y, z], axis=1))
            moments.append(ring_moments * ray.share * weight)
    return np.vstack(positions), np.concatenate(moments)


def _casing_points(wings):
    """(n, 3) points of the casing before it is bent, mm, the coil's centre first."""
    *half_axes, thickness = wings.casing_mm
    widest = max(half_axes)
    right = disc_points(widest, thickness) * [half_axes[0] / widest, half_axes[1] / widest, 1]
    right = right + [wings.layers[0].centre_mm, 0, 0]
    return np.vstack([np.zeros((1, 3)), right, right * wings.other])


def _placed(points_mm, side, wings):
    """Points moved with their wing, at x > 0 or x < 0; heights stay along z, as in the source."""
    bend = np.radians(wings.bend_deg)
    x, y, z = points_mm.T
    bent = np.stack([np.cos(bend) * x, y, z + np.sin(bend) * side * x], axis=1)
    return _turned(bent, wings.turned_rad)


def _turned(vectors, angle):
    """Vectors (n, 3) turned about z by `angle`, rad."""
    x, y, z = vectors.T
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z], axis=1)
