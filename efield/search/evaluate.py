"""Values of every candidate: the yaw expansion, and the exact path it is held against."""

import numpy as np

from efield.adjoint.yaw import N_YAW, interpolate_yaw
from efield.search.candidates import yaw_rotations

BATCH = 1000
"""Positions evaluated at once."""

TRUSTED = 1e-3
"""Error of the yaw expansion, of the largest value, above which the exact path takes over."""

SAMPLES_DEG = 360.0 / N_YAW * np.arange(N_YAW)
"""Yaw angles at which the exact path sums every dipole: the curve between them is band-limited."""

N_CHECKED, CHECK_YAW_DEG = 12, 47.0
"""Positions and yaw step at which the expansion is compared with the exact path, off its samples."""


def functionals_at_yaw(field, coil, base_poses, yaw_deg, didt):
    """Target functionals by summing every dipole at every pose; the exact, slower path.

    Parameters
    ----------
    field : SplineField
    coil : Coil
    base_poses : (n, 4, 4) array
        Poses at yaw 0.
    yaw_deg : (n_yaw,) array
    didt : float, A/s

    Returns
    -------
    (n, n_yaw, k) array
    """
    poses = (base_poses[:, None] @ yaw_rotations(yaw_deg)).reshape(-1, 4, 4)
    return field.functionals(coil, poses, didt).reshape(len(base_poses), len(yaw_deg), -1)


def functionals_over_yaw(field, coil, expansion, base_poses, yaw_deg, didt, *, direct=None, progress):
    """Target functionals at every position and yaw, by the yaw expansion where it holds.

    Parameters
    ----------
    field, coil, base_poses, yaw_deg, didt
        As in :func:`functionals_at_yaw`.
    expansion : YawExpansion
        For this coil.
    direct : AdjointCurrents, optional
        Sum these at the expansion's points instead of reading `field` there: minutes, not
        seconds, for a `field` that cannot be trusted. Not used where the expansion errs.
    progress : callable
        Called with a fraction.

    Returns
    -------
    values : (n, n_yaw, k) array
    error : float
        Largest difference from the exact path at the positions compared, relative to the
        largest value there. Above `TRUSTED` the values are the exact path's.
    """
    picks = np.unique(np.linspace(0, len(base_poses) - 1, N_CHECKED).astype(int))
    checked = np.arange(-180.0, 180.0, CHECK_YAW_DEG)
    exact = functionals_at_yaw(field, coil, base_poses[picks], checked, didt)
    quick = expansion.functionals(field, base_poses[picks], checked, didt)
    error = float(np.abs(quick - exact).max() / np.linalg.norm(exact, axis=-1).max())

    values = np.empty((len(base_poses), field.n_functionals, len(yaw_deg))).swapaxes(1, 2)
    for start in range(0, len(base_poses), BATCH):
        batch = base_poses[start : start + BATCH]
        if error <= TRUSTED:
            part = expansion.functionals(direct or field, batch, yaw_deg, didt)
        else:
            samples = functionals_at_yaw(field, coil, batch, SAMPLES_DEG, didt)
            part = interpolate_yaw(samples, yaw_deg)
        values[start : start + BATCH] = part
        progress(min(1.0, (start + BATCH) / len(base_poses)))
    return values, error
