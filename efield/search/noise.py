"""Placement noise: how far coils lie from where they were meant to, as data."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import norm, qmc

from efield.errors import SearchError

N_SAMPLES = 64
"""Placements drawn from a noise; a power of two, as Sobol points want."""

CHAIN = "navigation chain 5-6 mm (Richter, Robotized TMS, citing Ruohonen and Karhu)"


@dataclass(frozen=True)
class PoseNoise:
    """Independent normal errors of a placement, as rigid motions in the coil's own frame.

    Parameters
    ----------
    position_sd_mm : float
        Along each of the coil's x and y axes.
    angle_sd_deg : float or (3,) tuple
        About the coil's x (pitch), y (roll) and z (yaw) axes; one number stands for all.
    distance_sd_mm : float
        Along the coil's z axis. The coil is moved as if nothing stopped it: a large one pushes
        it under the scalp.
    measure : str
        What of the noisy values is maximised: "mean"; "percentile:Q", which a share Q % falls
        short of; "cvar:Q", the mean over the worst Q %.
    source : str
        Where the numbers come from.

    Raises
    ------
    SearchError
        A deviation that is negative or not finite, or an unknown measure.
    """

    position_sd_mm: float
    angle_sd_deg: float | tuple
    distance_sd_mm: float
    measure: str = "mean"
    source: str = "given"

    def __post_init__(self):
        angles = np.asarray(self.angle_sd_deg, dtype=np.float64)
        if angles.shape not in ((), (3,)):
            raise SearchError(
                f"angle_sd_deg must be one number or (pitch, roll, yaw), not {self.angle_sd_deg!r}"
            )
        deviations = np.array([self.position_sd_mm, self.distance_sd_mm, *np.broadcast_to(angles, 3)])
        if not np.all(np.isfinite(deviations)) or np.any(deviations < 0):
            raise SearchError(f"deviations of the noise must be finite and >= 0: {deviations.tolist()}")
        object.__setattr__(self, "angle_sd_deg", tuple(np.broadcast_to(angles, 3).tolist()))
        _ = self.worst_share

    @classmethod
    def neuronavigation(cls, measure="mean"):
        """Navigated by hand.

        Position: 5-6 mm of the whole chain of registration and tracking (Richter, Robotized
        TMS, citing Ruohonen and Karhu). Angles: 0.34 and 0.22 degrees of the hold (Caulfield
        2022, Brain Stimul 15:1192). Of the distance the sources state nothing: 0.
        """
        source = f"{CHAIN}; hold 0.34, 0.22 deg (Caulfield 2022)"
        return cls(5.5, (0.34, 0.34, 0.22), 0.0, measure, source)

    @classmethod
    def cap(cls, measure="mean"):
        """Repeat placement on marks of a cap (Caulfield 2022, Brain Stimul 15:1192, 42 people).

        10.66 mm, roll and pitch 7.79, yaw 5.99 degrees, there average deviations. Of the
        distance it states nothing: 0.
        """
        return cls(10.66, (7.79, 7.79, 5.99), 0.0, measure, "repeat placement on cap marks (Caulfield 2022)")

    @classmethod
    def robot(cls, measure="mean"):
        """Held by a robot: the same chain of registration and tracking, 5-6 mm (Richter).

        Of a robot's angles and distance the sources state nothing: 0.
        """
        return cls(5.5, 0.0, 0.0, measure, CHAIN)

    @property
    def worst_share(self):
        """Share of the noisy values that the measure looks at: 1 for the mean."""
        if self.measure == "mean":
            return 1.0
        kind, _, text = str(self.measure).partition(":")
        try:
            share = float(text) / 100.0
        except ValueError:
            share = np.nan
        if kind not in ("percentile", "cvar") or not 0 < share < 1:
            raise SearchError(
                f'measure must be "mean", "percentile:Q" or "cvar:Q" with 0 < Q < 100, not {self.measure!r}'
            )
        return share

    @property
    def smooth(self):
        """Whether the measure has a slope; a percentile jumps from one sample's to another's."""
        return not self.measure.startswith("percentile")

    @property
    def deviations(self):
        """(6,) along x, y, z in mm and about x, y, z in radians."""
        x = y = self.position_sd_mm
        return np.array([x, y, self.distance_sd_mm, *np.radians(self.angle_sd_deg)])

    def motions(self, n=N_SAMPLES):
        """(n, 4, 4) motions in the coil's frame, mm; right-multiply a pose with them.

        Sobol points, each in the middle of its interval, through the normal quantiles.
        """
        uniform = qmc.Sobol(6, scramble=False).random(n) + 0.5 / n
        return motions(norm.ppf(uniform) * self.deviations)

    def measured(self, values):
        """The measure (...) of noisy values (..., n)."""
        return np.sum(self.weights(values) * values, axis=-1)

    def weights(self, values):
        """(..., n) weight of each of the noisy values in the measure; also its derivative."""
        n = values.shape[-1]
        if self.measure == "mean":
            return np.full(values.shape, 1.0 / n)
        rank = np.argsort(np.argsort(values, axis=-1, kind="stable"), axis=-1, kind="stable")
        if self.smooth:  # whole samples, and a part of the last one
            share = self.worst_share * n
            return np.clip(share - rank, 0.0, 1.0) / share
        return (rank == int(np.ceil(self.worst_share * n)) - 1).astype(float)


def motions(steps):
    """(n, 4, 4) rigid motions of steps (n, 6): a shift in mm and a rotation vector in radians."""
    out = np.zeros((len(steps), 4, 4))
    out[:, :3, :3] = Rotation.from_rotvec(steps[:, 3:]).as_matrix()
    out[:, :3, 3], out[:, 3, 3] = steps[:, :3], 1.0
    return out
