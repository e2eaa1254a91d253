"""E in every element of a target, for any pose, from a few numbers.

A coil's poses over a search region induce fields in a small target that span few dimensions.
The mean field makes up three; the rest come from forward solutions spread over the region, by
singular values (weighted with the elements' volumes). Modes are orthonormal in the
volume-weighted mean over the target, so the coefficients of a field are volume-weighted means
too: linear functionals, and by reciprocity one adjoint solve each gives them for every pose
(Wang et al. 2023, 10.1016/j.neuroimage.2022.119850, build such a basis another way).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

N_MEAN = 3
"""The first modes: uniform fields, whose coefficients are the components of the mean field."""

SMALLEST = 1e-6
"""Modes weaker than this, relative to the strongest, are the solver's residual."""


@dataclass(frozen=True, eq=False)
class TargetModes:
    """Modes of E in a target: ``E_t = sum_m c_m fields[m, t]``, c in V/m.

    Attributes
    ----------
    fields : (k, n, 3) array
        Orthonormal in the volume-weighted mean; the first three are uniform.
    volumes : (n,) array, m^3
    """

    fields: np.ndarray
    volumes: np.ndarray

    @classmethod
    def of(cls, snapshots, volumes, rank):
        """Uniform modes and the `rank` strongest of what snapshots (s, n, 3) have beside them.

        Fewer where the snapshots hold no more.
        """
        root = _root(volumes)
        uniform = np.broadcast_to(np.eye(N_MEAN)[:, None], (N_MEAN, len(volumes), 3))
        rows = _deviations(snapshots, volumes)
        _, strength, modes = np.linalg.svd(rows, full_matrices=False)
        scale = np.linalg.norm(snapshots * root[:, None], axis=(1, 2)).max()
        rank = min(rank, int(np.count_nonzero(strength > SMALLEST * scale)))
        modes = modes[:rank].reshape(rank, len(volumes), 3) / root[:, None]
        return cls(np.concatenate([uniform, modes]), volumes)

    @cached_property
    def weights(self):
        """(k, n, 3) adjoint weights of the coefficients, 1/m^3."""
        return self.fields / self.volumes.sum()

    def element_fields(self, coefficients):
        """E (..., n, 3) of coefficients (..., k)."""
        return np.einsum("...k,knc->...nc", coefficients, self.fields)

    def pull_back(self, slope):
        """Derivative (k,) in the coefficients of what has the derivative `slope` (n, 3) in E."""
        return np.einsum("knc,nc->k", self.fields, slope)

    @cached_property
    def packed(self):
        """Fields (k, 3, n) and volume shares (n,) in float32, as kernels read them."""
        fields = np.ascontiguousarray(self.fields.swapaxes(1, 2), dtype=np.float32)
        return fields, (self.volumes / self.volumes.sum()).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Each snapshot as the modes of all the others give it: what modes make of unseen fields.

    Attributes
    ----------
    snapshots : (s, n, 3) array
    volumes : (n,) array
    """

    snapshots: np.ndarray
    volumes: np.ndarray

    def fields(self, rank):
        """(s, n, 3) fields by `rank` modes beside the uniform ones."""
        mix = np.zeros((len(self.snapshots),) * 2)  # each row as a combination of the others
        for k, (others, along, vectors, power) in enumerate(self._spectra):
            kept = slice(max(len(power) - rank, 0), None)
            mix[k, others] = (vectors[:, kept] / power[kept]) @ along[kept]
        lost = self._rows - mix @ self._rows
        return self.snapshots - lost.reshape(self.snapshots.shape) / _root(self.volumes)[:, None]

    @cached_property
    def _rows(self):
        return _deviations(self.snapshots, self.volumes)

    @cached_property
    def _spectra(self):
        """For each snapshot: the others, it along their modes, and these modes' vectors and powers."""
        gram = self._rows @ self._rows.T
        spectra = []
        for k in range(len(gram)):
            others = np.delete(np.arange(len(gram)), k)
            power, vectors = np.linalg.eigh(gram[np.ix_(others, others)])
            kept = power > SMALLEST**2 * power[-1]
            power, vectors = power[kept], vectors[:, kept]
            spectra.append((others, vectors.T @ gram[others, k], vectors, power))
        return spectra


def _root(volumes):
    return np.sqrt(volumes / volumes.sum())


def _deviations(snapshots, volumes):
    """Snapshots less their mean field, weighted with the root of the volumes; (s, 3 n)."""
    root = _root(volumes)
    deviations = snapshots - ((root**2) @ snapshots)[:, None]
    return (deviations * root[:, None]).reshape(len(snapshots), -1)


@dataclass(frozen=True, eq=False)
class JointField:
    """Exterior fields of several sets of functionals, one after the other.

    Attributes
    ----------
    parts : tuple of SplineField
    """

    parts: tuple

    @property
    def n_functionals(self):
        """Functionals of all parts."""
        return sum(part.n_functionals for part in self.parts)

    def field(self, points):
        """As :meth:`SplineField.field`; (n, k, 3)."""
        return np.concatenate([part.field(points) for part in self.parts], axis=1)

    def in_frames(self, points, poses):
        """As :meth:`SplineField.in_frames`; (n, k, n_points, 3)."""
        return np.concatenate([part.in_frames(points, poses) for part in self.parts], axis=1)

    def functionals(self, coil, poses, didt):
        """As :meth:`SplineField.functionals`; (n, k)."""
        return np.concatenate([part.functionals(coil, poses, didt) for part in self.parts], axis=1)

    def gradients(self, coil, poses, didt):
        """As :meth:`SplineField.gradients`; (n, k), (n, k, 6)."""
        values, slopes = zip(*(part.gradients(coil, poses, didt) for part in self.parts), strict=True)
        return np.concatenate(values, axis=1), np.concatenate(slopes, axis=1)
