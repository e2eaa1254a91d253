"""Whether the sampled field of a coil file covers the head at a placement."""

import numpy as np

__all__ = ["coverage_gap"]


def coverage_gap(head, coil, placement):
    """What to warn of where part of the head lies outside the box in which a coil's field was sampled.

    Parameters
    ----------
    head : HeadModel
    coil : Coil
    placement : Placement

    Returns
    -------
    str or None
    """
    if not coil.sampled_boxes:
        return None
    pose = placement.matsimnibs
    outside = coil.not_sampled((head.nodes_mm - pose[:3, 3]) @ pose[:3, :3])
    if not outside.any():
        return None
    return (
        f"{100 * np.mean(outside):.2g} % of the head's nodes lie outside the box where the field of coil "
        f"{coil.name!r} was sampled; there it is the equivalent dipoles' own"
    )
