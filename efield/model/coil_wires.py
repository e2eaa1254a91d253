"""Line elements of a coil file as wires: where they start and end, and that their current is closed."""

import numpy as np

__all__ = ["closed_wires"]

MEETS = 0.05
"""Segments whose ends are nearer than this part of their length are one wire."""

SHORTEST_WIRE = 3
"""Fewer segments in a row are no wire that a lead back would close."""


def closed_wires(points_mm, values_mm):
    """Segments of a coil's line elements, each wire closed by a straight lead from its end to its start.

    The format's documentation calls the points starting points; the programs that write and evaluate it
    put them in the middle of the elements. So the reading is taken under which the elements join up.

    Parameters
    ----------
    points_mm, values_mm : (n, 3) arrays
        Where the elements are, and the vectors along which one ampere flows.

    Returns
    -------
    starts_mm, ends_mm : (m, 3) arrays
        Elements of length zero left out, leads added.
    leads_mm : float
        Total length of the leads: with 0 the file's own wires are closed. Leads of parts in series cancel.
    reading : {"middle", "start"}
    """
    length = np.linalg.norm(values_mm, axis=1)
    points, values, length = points_mm[length > 0], values_mm[length > 0], length[length > 0]
    readings = {"middle": points - values / 2, "start": points}
    gaps = {name: np.linalg.norm((s + values)[:-1] - s[1:], axis=1) for name, s in readings.items()}
    shorter = np.minimum(length[:-1], length[1:])
    joined = {name: np.count_nonzero(gap <= MEETS * shorter) for name, gap in gaps.items()}
    reading = "start" if joined["start"] > joined["middle"] else "middle"
    starts = readings[reading]
    ends = starts + values
    breaks = np.flatnonzero(gaps[reading] > MEETS * shorter) + 1
    first, last = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(starts)]]) - 1
    distance = np.linalg.norm(starts[first] - ends[last], axis=1)
    lead = (last - first + 1 >= SHORTEST_WIRE) & (distance > 1e-6)
    return (
        np.vstack([starts, ends[last[lead]]]),
        np.vstack([ends, starts[first[lead]]]),
        float(distance[lead].sum()),
        reading,
    )
