"""A figure-8 of one's own, from its dimensions and from its wires, saved, loaded and placed."""

import tempfile
from pathlib import Path

import numpy as np

import efield
from efield.io.tcd import LINES, Element, Stimulator, TcdRecord, write_tcd
from efield.model.coil_files import save_coil
from efield.model.coil_geometry import Casing, Winding, figure8

WINDING = Winding(
    inner_diameter_mm=40.0,
    outer_diameter_mm=80.0,
    turns=10,
    wire_width_mm=1.8,
    wire_height_mm=6.0,
    depth_mm=5.0,  # from the casing's face to the wire
)
APART_MM = 84.0
"""Between the centres of the two wings."""


def from_dimensions(path):
    """Dipoles of two flat windings in series, as a .ccd."""
    casing = Casing(thickness_mm=18.0, margin_mm=6.0)
    save_coil(figure8(WINDING, APART_MM, casing, name="own", max_didt=120e6), path)


def from_wires(path):
    """The same turns as straight pieces of wire, as a .tcd: any path of a wire is written so.

    Coil axes: x to the right wing, y to the handle, z into the head; the face of the casing is z = 0.
    """
    angle = np.linspace(0.0, 2 * np.pi, 49)
    height = -(WINDING.depth_mm + WINDING.wire_height_mm / 2)
    middles, pieces = [], []
    for side in (1.0, -1.0):  # the current turns the other way in the left wing
        for radius in WINDING.turn_radii_mm:
            x = side * APART_MM / 2 + radius * np.cos(angle)
            y = side * radius * np.sin(angle)
            turn = np.stack([x, y, np.full_like(x, height)], axis=1)
            middles.append((turn[:-1] + turn[1:]) / 2)
            pieces.append(turn[1:] - turn[:-1])
    wire = Element(LINES, 0, points_mm=np.concatenate(middles), values=np.concatenate(pieces))
    write_tcd(path, TcdRecord((wire,), (Stimulator(max_didt=120e6),), name="own"))


def run():
    head, target = efield.prepare("mni152-small"), efield.Target.named("dlpfc-left")
    with tempfile.TemporaryDirectory() as folder:
        from_dimensions(Path(folder, "own.ccd"))
        from_wires(Path(folder, "own.tcd"))
        coils = [efield.load_coil(Path(folder, name)) for name in ("own.ccd", "own.tcd")]
    search = efield.Search(radius_mm=10.0, spacing_mm=5.0, yaw_step_deg=10.0)
    settings = {"objective": "magnitude_of_mean", "search": search, "error_bar": False, "n_best": 1}
    best = efield.optimize_coil(head, coils[0], target, **settings)
    region = target.resolve(head.head)
    wires = efield.simulate(head, coils[1], best.placement)
    return {"dipoles": best.metrics["mean"], "wires": wires.metrics(region)["mean"]}


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: mean |E| {value:.4f} V/m at 1 A/us")
