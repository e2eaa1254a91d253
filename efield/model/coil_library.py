"""The built-in coils, by name. Each states its source and what is not modelled in its notes."""

from types import MappingProxyType

from efield.model.coil_geometry import Casing, Winding, circular, magstim_figure8_70mm
from efield.model.coil_magventure import (
    magventure_c_b60,
    magventure_cool_b35,
    magventure_d_b80,
    magventure_mri_b91,
)

__all__ = ["BUILTIN_COILS", "UNVERIFIED", "round_90mm"]

UNVERIFIED = "NOT VERIFIED"
"""Begins the note of a built-in coil whose dimensions could not be read in a source."""

ROUND_90MM = Winding(
    inner_diameter_mm=66.0,
    outer_diameter_mm=123.0,
    turns=14,
    wire_width_mm=1.75,
    wire_height_mm=6.0,
    depth_mm=5.0,
)
"""Not verified, see `round_90mm`."""


def round_90mm(spacing_mm=8.0):
    """The built-in ``round-90mm``: a circular coil of the size of Magstim's 90 mm coil; not verified."""
    return circular(
        ROUND_90MM,
        Casing(thickness_mm=16.0, margin_mm=6.0),
        spacing_mm=spacing_mm,
        name="round-90mm",
        notes=(
            f"{UNVERIFIED}: inner diameter 66 mm, outer 123 mm, 14 turns, as commonly given for the Magstim "
            "90 mm coil; no source could be read. Use it for the shape of a round coil's field; for V/m of a "
            "coil in the room take a measured coil file.",
            "ASSUMED: one flat layer of wire 1.75 x 6 mm and a winding 5 mm behind the casing's face, as in "
            "figure8-70mm.",
            "ASSUMED: casing 16 mm thick and 6 mm wider than the winding; only clearance depends on it. "
            "Handle and cable are left out.",
            "max_didt: not known for this coil.",
            "Not modelled: the spiral's radial step, the connecting leads, current crowding in the wire "
            "(an even current density is assumed).",
        ),
    )


BUILTIN_COILS = MappingProxyType(
    {
        "figure8-70mm": magstim_figure8_70mm,
        "round-90mm": round_90mm,
        "bent-d-b80": magventure_d_b80,
        "figure8-c-b60": magventure_c_b60,
        "figure8-mri-b91": magventure_mri_b91,
        "figure8-cool-b35": magventure_cool_b35,
    }
)
"""Names of the built-in coils and the functions that build them."""
