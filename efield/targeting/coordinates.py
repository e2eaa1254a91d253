"""Published MNI coordinates: the coil over the scalp point nearest to each."""

from efield.model.named_targets import NAMED_TARGETS
from efield.model.target import Target
from efield.targeting.noise import NAVIGATED
from efield.targeting.registry import Aim, targeting_method


def over_target(case, target):
    """The coil over the scalp point nearest to a target, and words for it."""
    region = target.resolve(case.model)
    closest, depth, _ = case.model.scalp.closest(region.center_mm)
    moved = f", moved {region.moved_mm:.1f} mm to reach grey matter" if region.moved_mm else ""
    return Aim(case.place(closest[0]), f"scalp point nearest to {target.name}{moved}; {depth[0]:.1f} mm away")


def _over(stem):
    def find(case):
        return over_target(case, Target.named(f"{stem}-{case.side}"))

    source = NAMED_TARGETS[f"{stem}-left"].source
    find.__doc__ = f"""Scalp point nearest to the MNI coordinate {stem}, or to its mirror image.

    Source: {source}.
    """
    return find


for _name, _target in NAMED_TARGETS.items():
    if _target.dlpfc and _name.endswith("-left") and _name != "dlpfc-left":
        _stem = _name.removesuffix("-left")
        targeting_method(f"mni-{_stem}", noise=NAVIGATED)(_over(_stem))
