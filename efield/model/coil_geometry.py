"""Parametric coils: from the dimensions of a winding to magnetic dipoles.

A closed turn that carries current I has, by Stokes' theorem, exactly the vector potential of a
sheet of magnetic dipoles with moment density I over any surface the turn bounds,

    A(r) = mu0 I / 4 pi  oint dl' / |r - r'|
         = mu0 / 4 pi  int I n x (r - r') / |r - r'|^3 dS'.

A flat winding of concentric turns, each spread evenly over its wire's cross-section, is then a
stack of discs of moment density g(rho), the turns (and fractions of turns) that enclose the
radius rho. The field outside is an integral of a smooth function against g(rho) rho drho dphi dz;
the dipoles are the nodes of a product rule for it: Gauss in rho^2 with g as its weight (so the
edges of the turns cost nothing), equal angles, Gauss-Legendre in z.

The Gauss rule comes from a fine discretization of its weight (W. Gautschi, Orthogonal Polynomials:
Computation and Approximation, Oxford 2004, chapter 2) and the eigenvalues of its Jacobi matrix
(G. H. Golub and J. H. Welsch, Math. Comp. 23, 1969, 221). benchmarks/coil_discretization.py
compares the dipoles with the wires.

Frame: z into the head, z = 0 the casing's face, windings at negative z.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from efield.errors import CoilError
from efield.model.coil import Coil
from efield.units import to_m, to_mm

__all__ = [
    "MAGSTIM_70MM",
    "MAGSTIM_70MM_WING_SPACING_MM",
    "Casing",
    "Winding",
    "check_positive",
    "circular",
    "disc_points",
    "figure8",
    "magstim_figure8_70mm",
    "ring_rule",
]

CASING_SPACING_MM = 8.0
"""Spacing of casing points: a scalp of radius 80 mm bulges 0.1 mm between two of them."""


def check_positive(name, value):
    if not (np.isfinite(value) and value > 0):
        raise CoilError(f"{name} must be a positive number, not {value}")


@dataclass(frozen=True)
class Winding:
    """A flat winding of concentric circular turns of rectangular wire, millimetres.

    Parameters
    ----------
    inner_diameter_mm, outer_diameter_mm : float
        Of the innermost turn's inner and the outermost turn's outer edge.
    turns : int
    wire_width_mm, wire_height_mm : float
        The wire's cross-section, in the coil plane and across it.
    depth_mm : float
        From the casing's face to the face of the winding that is nearer the head.

    Raises
    ------
    CoilError
        A dimension that is not positive, or turns that do not fit between the two diameters.
    """

    inner_diameter_mm: float
    outer_diameter_mm: float
    turns: int
    wire_width_mm: float
    wire_height_mm: float
    depth_mm: float

    def __post_init__(self):
        for name in (f.name for f in fields(self)):
            check_positive(name, getattr(self, name))
        if self.turns != int(self.turns):
            raise CoilError(f"turns must be a whole number, not {self.turns}")
        band = (self.outer_diameter_mm - self.inner_diameter_mm) / 2
        # Published widths are rounded: touching turns may add up to a little more than the band.
        if self.turns * self.wire_width_mm > 1.05 * band:
            raise CoilError(
                f"{self.turns} turns of {self.wire_width_mm} mm wire do not fit between diameters "
                f"{self.inner_diameter_mm} and {self.outer_diameter_mm} mm ({band:g} mm wide)"
            )

    @property
    def turn_radii_mm(self):
        """(turns,) radii of the wires' centres."""
        inner = (self.inner_diameter_mm + self.wire_width_mm) / 2
        outer = (self.outer_diameter_mm - self.wire_width_mm) / 2
        return np.linspace(inner, outer, self.turns) if self.turns > 1 else np.array([(inner + outer) / 2])


MAGSTIM_70MM = Winding(
    inner_diameter_mm=56.0,
    outer_diameter_mm=87.0,
    turns=9,
    wire_width_mm=1.75,
    wire_height_mm=6.0,
    depth_mm=5.0,
)
"""One wing of the Magstim 70 mm figure-8; the depth is assumed, see `magstim_figure8_70mm`."""

MAGSTIM_70MM_WING_SPACING_MM = 90.0
"""Assumed, see `magstim_figure8_70mm`."""


@dataclass(frozen=True)
class Casing:
    """A flat casing that follows the winding's outline, millimetres.

    Parameters
    ----------
    thickness_mm : float
    margin_mm : float
        From the winding's outer edge to the casing's.
    """

    thickness_mm: float
    margin_mm: float

    def __post_init__(self):
        check_positive("thickness_mm", self.thickness_mm)
        check_positive("margin_mm", self.margin_mm)


def circular(winding, casing, *, spacing_mm=8.0, name="circular", max_didt=None, notes=()):
    """A flat circular coil centred on the origin.

    Positive didt: the current circulates anticlockwise seen from the head (moments along +z).

    Parameters
    ----------
    winding : Winding
    casing : Casing
    spacing_mm : float
        Widest gap between dipoles in the coil plane. A spacing equal to the depth of the winding's
        middle below the casing's face keeps A within 1 % even on that face.
    name, max_didt, notes
        As in `Coil`.

    Returns
    -------
    Coil

    Raises
    ------
    CoilError
        A winding that sticks out of its casing, or a spacing that is not positive.
    """
    positions, moments = _winding_dipoles(winding, spacing_mm)
    return Coil(
        positions_mm=to_mm(positions),
        moments=_along_z(moments),
        name=name,
        casing_mm=_casing_points(winding, casing),
        max_didt=max_didt,
        notes=(*notes, _discretization_note(len(moments), spacing_mm)),
    )


def figure8(winding, wing_spacing_mm, casing, *, spacing_mm=8.0, name="figure8", max_didt=None, notes=()):
    """A flat figure-8 coil: two equal windings side by side along x, in series.

    Positive didt: the current under the coil's centre runs along -y, so the induced field there is
    along +y. The dipoles are exactly antisymmetric: a yaw of 180 degrees reverses the field.

    Parameters
    ----------
    winding : Winding
        Of each wing.
    wing_spacing_mm : float
        Distance between the wings' centres.
    casing : Casing
    spacing_mm, name, max_didt, notes
        As in `circular`.

    Returns
    -------
    Coil

    Raises
    ------
    CoilError
        Windings that overlap or stick out of the casing, or a spacing that is not positive.
    """
    if not wing_spacing_mm >= winding.outer_diameter_mm:
        raise CoilError(
            f"wing_spacing_mm={wing_spacing_mm} is less than the windings' outer diameter "
            f"{winding.outer_diameter_mm} mm: the wings would overlap"
        )
    positions, moments = _winding_dipoles(winding, spacing_mm)
    # Right wing (x > 0) anticlockwise about +z, so that its wires at x = 0 carry current along -y.
    centre_mm, half_turn = np.array([wing_spacing_mm / 2, 0.0, 0.0]), np.array([-1.0, -1.0, 1.0])
    right_mm = to_mm(positions) + centre_mm
    casing_mm = _casing_points(winding, casing) + centre_mm
    return Coil(
        positions_mm=np.vstack([right_mm, right_mm * half_turn]),
        moments=_along_z(np.concatenate([moments, -moments])),
        name=name,
        casing_mm=np.vstack([np.zeros((1, 3)), casing_mm, casing_mm * half_turn]),
        max_didt=max_didt,
        notes=(*notes, _discretization_note(2 * len(moments), spacing_mm)),
    )


def magstim_figure8_70mm(spacing_mm=8.0):
    """The built-in ``figure8-70mm``: a Magstim 70 mm figure-8 from its published winding data."""
    return figure8(
        MAGSTIM_70MM,
        MAGSTIM_70MM_WING_SPACING_MM,
        Casing(thickness_mm=16.0, margin_mm=6.0),
        spacing_mm=spacing_mm,
        name="figure8-70mm",
        max_didt=114.7e6,
        notes=(
            "Source: per wing inner diameter 56 mm, outer 87 mm, 9 turns in one flat layer, wire "
            "1.75 x 6 mm (coil script of the BEM-FMM toolbox, MGH/WPI); not verified on a coil.",
            "ASSUMED: the winding's face lies 5 mm behind the casing's face (its middle 8 mm), midway "
            "between the depths that fit this winding best to a public X-ray-based model of this coil "
            "(middle 6.4 mm) and to one fitted to measurements (9.4 mm). One mm is worth 4 % of the field.",
            "ASSUMED: wing centres 90 mm apart, 3 mm between the windings; 90.3 and 92.1 mm fit the same "
            "two models best. One mm is worth 1 % of the field 1 cm from the casing, 0.2 % at 3 cm.",
            "ASSUMED: casing 16 mm thick and 6 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            "max_didt: 114.7 A/us measured with a Magstim D70 on a Magstim Rapid (Drakaki et al. 2022, "
            "doi 10.1016/j.brs.2022.04.017); what that device displays is not known.",
            "Not modelled: the spiral's radial step, the connecting leads, current crowding in the wire "
            "(an even current density is assumed).",
        ),
    )


def _winding_dipoles(winding, spacing_mm):
    """Positions (n, 3), m, and axial moments (n,), m^2, of one winding centred on the z axis.

    The set is mirror symmetric in x and in y; no two layers or neighbouring rings line up.
    """
    check_positive("spacing_mm", spacing_mm)
    spacing, height = to_m(spacing_mm), to_m(winding.wire_height_mm)
    outer = to_m(winding.outer_diameter_mm) / 2
    # n Gauss nodes in rho^2 lie pi R / 2 n apart at the centre, where they are sparsest.
    turns, width = to_m(winding.turn_radii_mm), to_m(winding.wire_width_mm)
    radii, ring_moments = ring_rule(turns, width, math.ceil(math.pi * outer / (2 * spacing)))
    z_nodes, z_weights = np.polynomial.legendre.leggauss(max(2, math.ceil(height / spacing)))
    middle = -to_m(winding.depth_mm) - height / 2
    positions, moments = [], []
    for layer, (z, share) in enumerate(zip(middle + height / 2 * z_nodes, z_weights / 2, strict=True)):
        for ring, (radius, moment) in enumerate(zip(radii, ring_moments, strict=True)):
            count = 2 * math.ceil(math.pi * radius / spacing)
            angle = 2 * np.pi / count * (np.arange(count) + 0.5 * ((ring + layer) % 2))
            ring_points = [radius * np.cos(angle), radius * np.sin(angle), np.full(count, z)]
            positions.append(np.stack(ring_points, axis=1))
            moments.append(np.full(count, moment * share / count))
    return np.vstack(positions), np.concatenate(moments)


def ring_rule(turns, width, n_rings, currents=1.0):
    """Radii, m, and moments, m^2, of `n_rings` rings that integrate g(rho) 2 pi rho drho.

    Exact for polynomials in rho^2 of degree 2 `n_rings` - 1.

    Parameters
    ----------
    turns : (n,) array
        Radii of the wires' centres, m.
    width : float or (n,) array
        Of the wire, m.
    n_rings : int
    currents : float or (n,) array
        Of the wires; those beyond any radius may not add up to less than nothing.
    """
    edges = np.unique(np.concatenate([[0.0], turns - width / 2, turns + width / 2]))
    nodes, weights = np.polynomial.legendre.leggauss(2 * n_rings + 2)
    half = np.diff(edges)[:, None] / 2
    rho = (edges[:-1, None] + half * (1 + nodes)).ravel()
    beyond = np.clip((turns + width / 2 - rho[:, None]) / width, 0.0, 1.0)
    enclosing = (currents * beyond).sum(axis=1)
    measure = (half * weights).ravel() * enclosing * 2 * np.pi * rho
    scaled = 2 * (rho / edges[-1]) ** 2 - 1
    basis = np.polynomial.legendre.legvander(scaled, n_rings - 1) * np.sqrt(measure)[:, None]
    orthonormal, _ = np.linalg.qr(basis)
    # The Jacobi matrix of the measure; its eigenvalues are the Gauss nodes (Golub and Welsch).
    eigenvalues, vectors = np.linalg.eigh(orthonormal.T @ (scaled[:, None] * orthonormal))
    return edges[-1] * np.sqrt((eigenvalues + 1) / 2), measure.sum() * vectors[0] ** 2


def _casing_points(winding, casing):
    """(n, 3) points of a disc-shaped casing, mm: the whole face, and the outline of its back."""
    behind = winding.depth_mm + winding.wire_height_mm
    if casing.thickness_mm < behind:
        raise CoilError(
            f"the winding reaches {behind:g} mm behind the casing's face, but the casing is only "
            f"{casing.thickness_mm:g} mm thick"
        )
    return disc_points(winding.outer_diameter_mm / 2 + casing.margin_mm, casing.thickness_mm)


def disc_points(radius, thickness):
    """(n, 3) points of a disc-shaped casing round the z axis, mm: its face at z = 0, its back's outline."""
    rings = np.linspace(0.0, radius, math.ceil(radius / CASING_SPACING_MM) + 1)
    face = np.vstack([_circle(r, 0.0) for r in rings])
    return np.vstack([face, _circle(radius, -thickness)])


def _circle(radius_mm, z_mm):
    count = max(1, 2 * math.ceil(math.pi * radius_mm / CASING_SPACING_MM))
    angle = 2 * np.pi / count * np.arange(count)
    return np.stack([radius_mm * np.cos(angle), radius_mm * np.sin(angle), np.full(count, z_mm)], axis=1)


def _along_z(moments):
    return moments[:, None] * np.array([0.0, 0.0, 1.0])


def _discretization_note(count, spacing_mm):
    return f"{count} dipoles at most {spacing_mm:g} mm apart stand for the winding."
