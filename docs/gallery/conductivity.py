"""How much a target's field depends on the conductivity of bone, and on fibres in white matter."""

import numpy as np

import efield


def run():
    head = efield.load_head("mni152-small")
    coil = efield.load_coil("figure8-70mm")
    target = efield.Target.named("dlpfc-left")
    placement = efield.Placement.on_scalp(head, (-50, 55, 45), yaw_deg=45.0)
    fibres = 0.126 * np.diag([1.0, 1.0, 9.0]) / 9 ** (1 / 3)  # along z, the same geometric mean
    cases = {
        "default": None,
        "bone / 2": {"bone": 0.005},
        "bone x 2": {"bone": 0.02},
        "fibres along z": {"white_matter": fibres},
    }
    means = {}
    for name, conductivity in cases.items():
        model = efield.load_head(head, conductivity=conductivity)
        means[name] = efield.simulate(model, coil, placement).metrics(target)["mean"]
    return means


if __name__ == "__main__":
    for name, mean in run().items():
        print(f"{name}: {mean:.4f} V/m")
