"""The best distinct placements of a grid, and their order."""

import numpy as np

DISTINCT_MM, DISTINCT_DEG = 8.0, 30.0
"""Placements closer than both of these count as one."""

HALF_TURN_MM, HALF_TURN = 1e-3, 1e-5
"""Centres and x axes that differ by less than this, but for the axes' sign, are a half turn."""

TIE = 1e-5
"""Relative difference under which two placements tie; the handle-posterior one wins."""


def turned(base, yaw_deg):
    """A base pose turned by a yaw angle about the coil's axis."""
    angle = np.radians(yaw_deg)
    pose = base.copy()
    pose[:3, 0] = np.cos(angle) * base[:3, 0] + np.sin(angle) * base[:3, 1]
    pose[:3, 1] = np.cos(angle) * base[:3, 1] - np.sin(angle) * base[:3, 0]
    return pose


def distinct_maxima(found, count):
    """Indices (position, yaw) of the best placements, each distinct from the ones before."""
    values = found.values.copy()
    picks = []
    while len(picks) < count:
        i, j = np.unravel_index(np.argmax(values), values.shape)
        if not np.isfinite(values[i, j]):
            break
        picks.append((int(i), int(j)))
        near = np.linalg.norm(found.grid.points_mm - found.grid.points_mm[i], axis=1) < DISTINCT_MM
        turn = np.abs((found.yaw_deg - found.yaw_deg[j] + 180.0) % 360.0 - 180.0) < DISTINCT_DEG
        values[np.ix_(near, turn)] = -np.inf
    return picks


def is_local_maximum(found, i, j):
    """Whether no neighbour on the grid, in position or yaw, has a larger value."""
    near = np.linalg.norm(found.grid.points_mm - found.grid.points_mm[i], axis=1)
    near = near < 1.6 * found.grid.spacing_mm
    around = found.values[near][:, [j - 1, j, (j + 1) % found.values.shape[1]]]
    return bool(around.max() <= found.values[i, j])


def distinct(chosen):
    """Drop polished placements that ran into one already kept, best first."""
    kept = []
    for pose, value in sorted(chosen, key=lambda item: -item[1]):
        if all(not _same(pose, other) for other, _ in kept):
            kept.append((pose, value))
    return kept


def _same(pose, other):
    apart = np.linalg.norm(pose[:3, 3] - other[:3, 3])
    return apart < 0.25 * DISTINCT_MM and pose[:3, 1] @ other[:3, 1] > np.cos(np.radians(DISTINCT_DEG / 4))


def ranked(values, placements):
    """Indices by falling value; of those that tie with the best, handle-posterior first."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    top = values[order[0]]
    tied = [i for i in order if top - values[i] <= TIE * abs(top)]
    tied.sort(key=lambda i: (abs(placements[i].yaw_to_midline_deg) > 90.0, order.index(i)))
    return tied + [i for i in order if i not in tied]


def blocks_of_turns(placements, size):
    """Indices in blocks of up to `size`; half turns of an earlier placement come last, by themselves."""
    poses = np.array([placement.matsimnibs for placement in placements])
    centres, axes = poses[:, :3, 3], poses[:, :3, 0]
    near = np.linalg.norm(centres[:, None] - centres, axis=2) < HALF_TURN_MM
    turned = np.linalg.norm(axes[:, None] + axes, axis=2) < HALF_TURN
    again = np.tril(near & turned, -1).any(axis=1)
    for rows in (np.flatnonzero(~again), np.flatnonzero(again)):
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
