"""Where the handle and the current point, in words, for every exported file."""

import numpy as np

from efield.frames import direction_words

CONVENTION = (
    "Coil axes as in SimNIBS matsimnibs: z points into the head, y is pos_ydir, which efield calls the "
    "handle side; SimNIBS's own figure-8 coils, NaviNIBS and InVesalius have the handle on the -y side. With "
    "efield's built-in figure-8 coils and a positive dI/dt the current under the coil's centre runs along -y "
    "and the induced E along +y; `efield coil info` says where that of another coil runs. Compare with the "
    "coil before use."
)
"""What holds for every pose. Which end of y the handle is on is disputed, so both are named."""


def ydir_words(matsimnibs):
    """``"posterior and left"``: where +y of a pose points."""
    return direction_words(np.asarray(matsimnibs)[:3, 1])


def current_words(matsimnibs):
    """Where the current under the centre runs, with a built-in coil and a positive dI/dt."""
    return direction_words(-np.asarray(matsimnibs)[:3, 1])


def pose_words(matsimnibs):
    """One sentence about one pose."""
    return (
        f"+y, the handle in efield, points {ydir_words(matsimnibs)}; -y, the handle of SimNIBS's figure-8 "
        f"coils and the current of efield's under their centre, points {current_words(matsimnibs)}"
    )


def statement(records):
    """Text about a whole file: the convention, then one line a pose."""
    lines = [CONVENTION, *(f"{record.name}: {pose_words(record.matsimnibs)}" for record in records)]
    return "\n".join(lines) + "\n"
