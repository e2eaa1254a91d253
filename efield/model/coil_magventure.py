"""MagVenture's figure-8 coils whose windings are published, as built-in coils.

The windings are those of the coil scripts of the BEM-FMM toolbox: GitHub repository
TMSCoreLab/TMS-Base-Package-040120, folder TMS_Master_Fall_2020/Coil. Its authors call their coil models
approximate, and none was verified on a coil. The scripts' z points away from the head where a bend tells;
theirs x, y, z is x, -y, -z here.
"""

import math

from efield.io.stimulator import Stimulator
from efield.model.coil_wings import (
    HALF_TURN,
    MIRROR,
    EllipticTurns,
    Layer,
    SpiralTurns,
    Wings,
    figure8_of_wings,
)

__all__ = [
    "COOL_B35",
    "C_B60",
    "D_B80",
    "MRI_B91",
    "magventure_c_b60",
    "magventure_cool_b35",
    "magventure_d_b80",
    "magventure_mri_b91",
]

DEPTH_MM = 5.0
"""Assumed where nothing is known: from the casing's face to the face of the windings."""


def _spiral_at_fold(spiral, middle_mm):
    """A layer whose spiral ends at the fold."""
    return Layer(spiral, spiral.outer_mm, middle_mm)


D_B80 = Wings(
    layers=(
        _spiral_at_fold(SpiralTurns(24.0, 0.61, 2, 6, -1), -DEPTH_MM - 3.0),
        _spiral_at_fold(SpiralTurns(27.0, 0.61, 2, 5, 1), -DEPTH_MM - 9.0),
    ),
    wire_mm=(2.0, 6.0),
    other=HALF_TURN,
    casing_mm=(55.0, 55.0, 22.0),
    bend_deg=30.0,
)
"""Four turns on the head's side, three behind them, see `magventure_d_b80`."""

C_B60_DEPTH_MM = 4.0
"""Assumed, see `magventure_c_b60`."""

C_B60 = Wings(
    layers=tuple(
        _spiral_at_fold(SpiralTurns(17.0, 0.6, 0.75, 6, -1), -C_B60_DEPTH_MM - behind)
        for behind in (1.8, 11.0)
    ),
    wire_mm=(2.61, 3.6),
    other=HALF_TURN,
    casing_mm=(46.0, 46.0, 21.0),
    turned_rad=-0.04,
)
"""Two equal layers of 5.25 turns, see `magventure_c_b60`."""

MRI_B91_TURNS = EllipticTurns(((20.25, 28.75), (25.75, 34.25), (31.25, 39.75), (36.75, 45.25)))

MRI_B91 = Wings(
    layers=tuple(Layer(MRI_B91_TURNS, 39.5, -DEPTH_MM - behind) for behind in (1.75, 10.95)),
    wire_mm=(2.2, 3.5),
    other=HALF_TURN,
    casing_mm=(44.0, 53.0, 22.0),
)
"""Two equal layers of four ellipses, see `magventure_mri_b91`."""

COOL_B35_TURNS = 31.75

COOL_B35 = Wings(
    layers=(
        Layer(
            SpiralTurns(11.5, 11.5 / (2 * math.pi * COOL_B35_TURNS), 0, COOL_B35_TURNS, -1, 90.0),
            23.0,
            -DEPTH_MM - 7.5,
        ),
    ),
    wire_mm=(0.2, 15.0),
    other=MIRROR,
    casing_mm=(30.0, 30.0, 25.0),
)
"""One layer of a ribbon on edge, see `magventure_cool_b35`."""

SCRIPT = "in the coil scripts of the BEM-FMM toolbox (TMS Base Package, 2020)"

EVEN_CURRENT = (
    "current crowding in the wire (an even current density is assumed; the source puts the current on the "
    "wire's surface)"
)

BEHIND_THE_FACE = (
    f"ASSUMED: the windings' face lies {DEPTH_MM:g} mm behind the casing's face; the source states no casing."
)

WITHIN = "From 10 mm before the casing on, A is that of the wires to 0.2 %."


def magventure_d_b80(spacing_mm=8.0):
    """The built-in ``bent-d-b80``: MagVenture's D-B80, wings bent towards the head."""
    return figure8_of_wings(
        D_B80,
        spacing_mm=spacing_mm,
        name="bent-d-b80",
        notes=(
            f"Source: MagVenture D-B80 {SCRIPT}: spirals r = 24 + 0.61 theta mm over 4 turns and 27 + 0.61 "
            "theta mm over 3 turns, wire 2 x 6 mm, wings bent by 30 degrees; not verified on a coil.",
            "ASSUMED: the four-turn layer lies nearer the head (the script's z points away from it), and its "
            f"face {DEPTH_MM:g} mm behind the casing's face along z; the source states no casing.",
            "ASSUMED: casing 22 mm thick and 7 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            "max_didt: not known for this coil, measured or displayed. Its cooled relative Cool-D-B80 was "
            "measured at 146.4 A/us, displayed 151 (Drakaki et al. 2022).",
            "Not modelled: the connecting leads (straight ones between the spirals' ends, which nearly "
            f"cancel, stand for them), the height of the wire, {EVEN_CURRENT}.",
            "From 10 mm before the casing on, A is that of the wires to 0.5 %.",
        ),
    )


def magventure_c_b60(spacing_mm=8.0):
    """The built-in ``figure8-c-b60``: MagVenture's flat C-B60."""
    return figure8_of_wings(
        C_B60,
        spacing_mm=spacing_mm,
        name="figure8-c-b60",
        **_measured_by_drakaki(155.4e6, 161e6),
        notes=(
            f"Source: MagVenture C-B60 {SCRIPT}: two equal layers 9.2 mm apart, each a spiral r = 17 + 0.6 "
            "theta mm over 5.25 turns, wire 2.61 x 3.6 mm, the coil turned by 0.04 rad about z; not "
            "verified on a coil.",
            f"ASSUMED: the windings' face lies {C_B60_DEPTH_MM:g} mm behind the casing's face, where the "
            "dipoles of a model of this coil fitted to measurements begin (Drakaki et al. 2022); the source "
            "states no casing.",
            "ASSUMED: casing 21 mm thick and 5 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            "ASSUMED: in each layer a straight lead joins the spirals' inner ends; the source leaves them "
            "open. Without it, B would differ by up to 15 % of its largest value, 10 to 30 mm before the "
            "casing.",
            _didt_note(155.4, 161),
            f"Not modelled: the height of the wire, {EVEN_CURRENT}.",
            WITHIN,
        ),
    )


def magventure_mri_b91(spacing_mm=8.0):
    """The built-in ``figure8-mri-b91``: MagVenture's MRi-B91, for use in a scanner."""
    return figure8_of_wings(
        MRI_B91,
        spacing_mm=spacing_mm,
        name="figure8-mri-b91",
        **_measured_by_drakaki(194.3e6, 203e6),
        notes=(
            f"Source: MagVenture MRi-B91 {SCRIPT}: two equal layers 9.2 mm apart of four closed ellipses "
            "with half-axes 20.25 to 36.75 mm along x and 28.75 to 45.25 mm along y, 5.5 mm apart, wire "
            "2.2 x 3.5 mm, wing centres 79 mm apart; not verified on a coil.",
            BEHIND_THE_FACE,
            "ASSUMED: casing 22 mm thick and 6 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            _didt_note(194.3, 203),
            f"Not modelled: the connecting leads, the height of the wire, {EVEN_CURRENT}.",
            WITHIN,
        ),
    )


def magventure_cool_b35(spacing_mm=8.0):
    """The built-in ``figure8-cool-b35``: MagVenture's small cooled Cool-B35."""
    return figure8_of_wings(
        COOL_B35,
        spacing_mm=spacing_mm,
        name="figure8-cool-b35",
        **_measured_by_drakaki(141.3e6, 145e6),
        notes=(
            f"Source: MagVenture Cool-B35 {SCRIPT}: in each wing one spiral of 31.75 turns from radius 11.5 "
            "to 23 mm, a ribbon of 0.2 x 15 mm on edge, wing centres 46 mm apart; not verified on a coil.",
            BEHIND_THE_FACE,
            "ASSUMED: casing 25 mm thick and 7 mm wider than the windings; only clearance depends on it. "
            "Handle and cable are left out.",
            "ASSUMED: in each wing a straight lead joins the spiral's ends; the source leaves them open. "
            "Without it B would differ by up to 3 % of its largest value, 10 to 30 mm before the casing.",
            _didt_note(141.3, 145),
            "Not modelled: current crowding in the wire (an even current density, as in the source).",
            WITHIN,
        ),
    )


def _measured_by_drakaki(measured, displayed):
    """Largest dI/dt, A/s, of a coil on a MagPro X100."""
    stimulator = Stimulator("MagPro X100", "MagVenture", measured, displayed_max_didt=displayed)
    return {"max_didt": measured, "stimulators": (stimulator,)}


def _didt_note(measured, displayed):
    return (
        f"max_didt: {measured:g} A/us measured with this coil on a MagPro X100, which displays {displayed:g} "
        "(Drakaki et al. 2022, doi 10.1016/j.brs.2022.04.017)."
    )
