"""A target as text, of the command line or a table: a name, a coordinate, or a mask."""

import math

from efield.errors import TargetError

FORMS = "a registry name, x,y,z (mm, subject space), mni:x,y,z, a NIfTI mask, or mni: and a mask"


def parse_vector(text, count=3):
    """(x, y, z) from ``"x,y,z"``, or another count; None where the text is anything else."""
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def parse_target(text, radius_mm=None):
    """A Target from what the user wrote.

    Raises
    ------
    TargetError
        None of the forms, or a radius for a mask.
    """
    from efield.model.named_targets import DEFAULT_RADIUS_MM, NAMED_TARGETS
    from efield.model.target import Target

    mni = text.startswith("mni:")
    body = text.removeprefix("mni:")
    point = parse_vector(body)
    if body.lower().endswith((".nii", ".nii.gz")):
        if radius_mm is not None:
            raise TargetError(f"a mask has its own extent; leave out --radius with the target {text!r}")
        return Target.mask(body, space="mni" if mni else "subject")
    if point is not None:
        make = Target.mni if mni else Target.sphere
        return make(point, DEFAULT_RADIUS_MM if radius_mm is None else radius_mm)
    if text not in NAMED_TARGETS:
        raise TargetError(f"unknown target {text!r}; give {FORMS}. Names: {', '.join(NAMED_TARGETS)}")
    return Target.named(text, radius_mm)
