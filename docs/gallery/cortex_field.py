"""The field on the mid-layer of the cortex, raw and recovered."""

import numpy as np

import efield


def run():
    head = efield.load_head("mni152-small")
    coil = efield.load_coil("figure8-70mm")
    placement = efield.Placement.on_scalp(head, (-50, 55, 45), yaw_deg=45.0)
    field = efield.simulate(head, coil, placement)
    cortex = efield.mid_layer(head)
    found = {}
    for name, source in (("raw", field), ("recovered", field.recovered())):
        e = source.at(cortex.vertices_mm, tissue="grey_matter", outside="nan")
        magnitude = np.linalg.norm(e[np.isfinite(e).all(axis=1)], axis=1)
        found[name] = np.percentile(magnitude, [50, 99]).tolist()
    return found


if __name__ == "__main__":
    for name, (median, high) in run().items():
        print(f"{name}: median {median:.4f}, 99 % {high:.4f} V/m")
