"""Rigid poses and the angles that describe them."""

import warnings

import numpy as np

from efield.errors import PlacementError

POSTERIOR = np.array([0.0, -1.0, 0.0])
"""Subject's posterior direction in RAS."""

ROUNDING = 1e-6
"""Deviation from a rotation that is taken as rounding in a file."""

_AXES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))

REPAIRABLE = 1e-2
"""Deviation up to which a pose is made rigid again, with a warning."""


def as_rigid(matrix):
    """Check a 4x4 coil-to-head matrix (mm) and return it with an exact rotation.

    Raises
    ------
    PlacementError
        As :func:`nearest_rigid`.
    """
    pose, deviation = nearest_rigid(matrix)
    if deviation > ROUNDING:
        warnings.warn(
            f"matsimnibs deviates by {deviation:.2g} from a rigid pose; its axes were made orthonormal",
            RuntimeWarning,
            stacklevel=4,
        )
    return pose


def nearest_rigid(matrix):
    """The rigid pose nearest to a 4x4 coil-to-head matrix (mm), and how far the matrix was from it.

    Returns
    -------
    pose : (4, 4) array
        With an exact rotation.
    deviation : float
        Largest entry of R^T R - 1 before.

    Raises
    ------
    PlacementError
        Wrong shape, values that are not finite, a last row other than (0, 0, 0, 1), a
        mirrored (left-handed) frame, or axes more than `REPAIRABLE` from orthonormal.
    """
    pose = np.array(matrix, dtype=np.float64)
    if pose.shape != (4, 4):
        raise PlacementError(f"matsimnibs must be a 4x4 matrix, not of shape {pose.shape}")
    if not np.all(np.isfinite(pose)):
        raise PlacementError(f"matsimnibs has values that are not finite: {pose.tolist()}")
    if not np.allclose(pose[3], (0, 0, 0, 1)):
        raise PlacementError(f"the last row of matsimnibs must be 0 0 0 1, not {pose[3].tolist()}")
    rotation = pose[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):  # absurd numbers end in inf or nan, refused below
        deviation = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if not deviation <= REPAIRABLE:
        raise PlacementError(
            f"the axes of matsimnibs are not orthonormal (deviation {deviation:.2g}): the pose is "
            "scaled or sheared; export it again as a rigid pose"
        )
    if np.linalg.det(rotation) < 0:
        raise PlacementError(
            "matsimnibs is left-handed (determinant -1): an axis is flipped; check the "
            "navigation system's axes (x = y cross z)"
        )
    u, _, vt = np.linalg.svd(rotation)
    pose[:3, :3] = u @ vt
    pose[3] = (0, 0, 0, 1)
    return pose, deviation


def tangent_axes(inward):
    """Tangent directions from which yaw is measured.

    Parameters
    ----------
    inward : (..., 3) array
        Unit z axes of the coil, into the head.

    Returns
    -------
    zero, quarter : (..., 3) arrays
        Unit directions of yaw 0 (the projected posterior direction) and 90 degrees (towards
        the subject's left at the vertex). Where the coil faces straight forwards or
        backwards the superior direction takes the posterior one's place.
    """
    inward = np.asarray(inward, dtype=np.float64)
    along = np.broadcast_to(POSTERIOR, inward.shape)
    facing = np.abs(inward @ POSTERIOR) > 1 - 1e-9
    along = np.where(facing[..., None], np.array([0.0, 0.0, 1.0]), along)
    zero = along - np.sum(along * inward, axis=-1, keepdims=True) * inward
    zero = zero / np.linalg.norm(zero, axis=-1, keepdims=True)
    return zero, np.cross(inward, zero)


def pose_from_yaw(centre_mm, inward, yaw_deg):
    """matsimnibs of a coil at `centre_mm` facing `inward`, +y at `yaw_deg` from posterior."""
    zero, quarter = tangent_axes(inward)
    angle = np.radians(yaw_deg)
    y = np.cos(angle) * zero + np.sin(angle) * quarter
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = np.cross(y, inward), y, inward, centre_mm
    return pose


def yaw_to_midline(pose):
    """Angle in degrees, (-180, 180], from the projected posterior direction to the coil's +y.

    Positive towards the subject's left.
    """
    zero, quarter = tangent_axes(pose[:3, 2])
    yaw = np.degrees(np.arctan2(pose[:3, 1] @ quarter, pose[:3, 1] @ zero))
    return float(180.0 if yaw <= -180.0 else yaw)


def direction_words(vector):
    """Name a direction in RAS: ``"anterior and left"``.

    Components below a third of the largest are left out; the largest comes first.
    """
    vector = np.asarray(vector, dtype=np.float64)
    order = np.argsort(-np.abs(vector), kind="stable")
    kept = [int(i) for i in order if abs(vector[i]) >= abs(vector[order[0]]) / 3]
    words = [_AXES[i][int(vector[i] > 0)] for i in kept]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
