"""The mean |E| of a target at twelve angles of the coil over one point of the scalp."""

import efield


def run():
    head = efield.prepare("mni152-small")
    coil = efield.load_coil("figure8-70mm")
    target = efield.Target.named("dlpfc-left").resolve(head.head)
    angles = range(-180, 180, 30)
    over = [efield.Placement.on_scalp(head.head, (-50, 55, 45), yaw_deg=yaw) for yaw in angles]
    fields = efield.simulate(head, coil, over)
    return {yaw: field.metrics(target)["mean"] for yaw, field in zip(angles, fields, strict=True)}


if __name__ == "__main__":
    for yaw, mean in run().items():
        print(f"{yaw:5d} degrees: {mean:.4f} V/m")
