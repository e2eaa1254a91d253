"""The exterior field of adjoint currents as harmonic functions, fitted once and then cheap.

Outside the head each Cartesian component of the Biot-Savart field of node currents is exactly
harmonic, but the discrete field is not curl-free, so each component gets its own charges on
layers under the scalp (the method of fundamental solutions). The strengths come from a ridge
fit to direct sums on shells above the scalp, and are checked at points held out.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

from efield.adjoint.current import GROUP
from efield.errors import MeshError
from efield.kernels import geometry, harmonic
from efield.kernels._jit import run_chunks
from efield.units import to_m

RIDGE = 1e-11
"""Ridge of the fit, relative to the trace of its normal matrix.

A smaller one fits no better where it counts, with large charges that cancel: their field
varies too fast for the spline (at 1e-14 the placements' values were off by up to 0.2 %).
"""

NEAR_CHARGES_MM = ((4.0, 3.0), (9.0, 5.5), (18.0, 10.0))
"""(depth, spacing) of the charge layers under the search region."""

FAR_CHARGES_MM = ((9.0, 7.5), (18.0, 14.0))
"""(depth, spacing) farther out."""

NEAR_SHELLS_MM = ((4.0, 2.6, 0.2), (6.5, 3.0, 1.0), (10.0, 5.0, 1.0))
"""(height, spacing, weight) of the fit points above the search region.

The field close to the scalp carries the grain of the mesh's surface nodes, which charges at
depth cannot follow: at full weight the lowest shell costs accuracy everywhere above it.
"""

FAR_SHELLS_MM = ((5.0, 5.5, 0.2), (35.0, 16.0, 3.0))
"""(height, spacing, weight) farther out, and high above everything."""

NEAR_MARGIN_MM = 35.0
"""The dense layers reach this far beyond the search region's radius."""

FAR_RADIUS_MM = 165.0
"""The sparse layers reach this far from the search centre."""

N_HELD_OUT = 200


@dataclass(frozen=True, eq=False)
class HarmonicField:
    """Point charges whose potentials are the Cartesian components of B.

    Attributes
    ----------
    charges : (n, 3) array, m
    strengths : (n, k, 3) array, T m per unit weight
    error : float
        Relative rms error at held-out points at `error_height_mm` above the scalp.
    """

    charges: np.ndarray
    strengths: np.ndarray
    error: float
    error_height_mm: float

    def field(self, points, *, closest=0.0):
        """Field at points (n, 3) in metres; returns (n, k, 3), T per unit weight.

        Charges nearer than `closest` (m) count as that far: grids that reach under the scalp
        stay finite there.
        """
        k = self.strengths.shape[1]
        centre = self.charges.mean(axis=0)
        where = np.ascontiguousarray((points - centre).T, dtype=np.float32)
        charges = (self.charges - centre).astype(np.float32)
        field = np.empty((len(points), k, 3), np.float32)
        for first in range(0, k, GROUP):
            group = slice(first, min(first + GROUP, k))
            width = group.stop - group.start
            packed = np.zeros((len(charges), GROUP * 3), np.float32)
            packed[:, : 3 * width] = self.strengths[:, group].reshape(len(charges), -1)
            out = np.empty((len(points), GROUP * 3), np.float32)
            run_chunks(
                harmonic.potentials,
                len(points),
                where,
                charges,
                packed,
                np.float32(closest**2),
                out,
                block=harmonic.POINT_BLOCK,
            )
            field[:, group] = out[:, : 3 * width].reshape(-1, width, 3)
        return field


@dataclass(frozen=True, eq=False)
class FitLayout:
    """Charges and fit points over a search region: what every set of functionals there shares.

    Attributes
    ----------
    charges, points : (n, 3), (m, 3) arrays, m
    row_weights : (m,) array
        Weight of each fit point.
    held_out : (p, 3) array, m
        Points that only measure the error, `height_mm` above the scalp.
    height_mm : float
    """

    charges: np.ndarray
    points: np.ndarray
    row_weights: np.ndarray
    held_out: np.ndarray
    height_mm: float

    @classmethod
    def over(cls, scalp, centre_mm, radius_mm, *, check_height_mm):
        """Layout over a search region; parameters as in :func:`fit_harmonic`."""
        near = radius_mm + NEAR_MARGIN_MM
        shells, weights = _fit_shells(scalp, centre_mm, near)
        return cls(
            charges=to_m(np.concatenate(_charge_layers(scalp, centre_mm, near))),
            points=to_m(np.concatenate(shells)),
            row_weights=np.repeat(weights, [len(shell) for shell in shells]),
            held_out=to_m(_held_out(scalp, centre_mm, near, max(check_height_mm, 1.0))),
            height_mm=check_height_mm,
        )

    def fit(self, currents):
        """Strengths of the charges for some currents.

        Returns
        -------
        HarmonicField
        """
        field = currents.field(np.concatenate([self.points, self.held_out]), dtype=np.float32)
        n = len(self.points)
        wanted, truth = field[:n].reshape(n, -1) * self.row_weights[:, None], field[n:]
        matrix, factor = self._system
        strengths = scipy.linalg.cho_solve(factor, matrix.T @ wanted).reshape(len(self.charges), -1, 3)
        model = HarmonicField(self.charges, strengths, 0.0, self.height_mm)
        error = float(np.linalg.norm(model.field(self.held_out) - truth) / np.linalg.norm(truth))
        return replace(model, error=error)

    @cached_property
    def _system(self):
        """Weighted matrix of the fit, and the Cholesky factor of its normal matrix with the ridge."""
        matrix = np.empty((len(self.points), len(self.charges)))
        run_chunks(harmonic.inverse_distances, len(matrix), self.points, self.charges, matrix, min_chunk=64)
        matrix *= self.row_weights[:, None]
        normal = scipy.linalg.blas.dsyrk(1.0, matrix.T)  # its upper half, which is all that is read
        normal[np.diag_indices_from(normal)] += RIDGE * np.trace(normal)
        return matrix, scipy.linalg.cho_factor(normal, overwrite_a=True)


def fit_harmonic(currents, scalp, centre_mm, radius_mm, *, check_height_mm):
    """Fit the exterior field of `currents` over a search region.

    Parameters
    ----------
    currents : AdjointCurrents
    scalp : TriSurface
    centre_mm : (3,) array
        Search centre on the scalp.
    radius_mm : float
        Search radius; the dense layers reach `NEAR_MARGIN_MM` farther.
    check_height_mm : float
        Height above the scalp at which the error is measured: that of the coil's lowest dipoles.

    Returns
    -------
    HarmonicField
    """
    return FitLayout.over(scalp, centre_mm, radius_mm, check_height_mm=check_height_mm).fit(currents)


def _charge_layers(scalp, centre_mm, near):
    layers = [_offset(scalp, centre_mm, 0.0, near, *layer, -1.0) for layer in NEAR_CHARGES_MM]
    return layers + [_offset(scalp, centre_mm, near, FAR_RADIUS_MM, *layer, -1.0) for layer in FAR_CHARGES_MM]


def _fit_shells(scalp, centre_mm, near):
    """Fit points in layers, and the weight of each layer."""
    (low, low_spacing, low_weight), (high, high_spacing, high_weight) = FAR_SHELLS_MM
    shells = [_offset(scalp, centre_mm, 0.0, near, h, s, 1.0) for h, s, _ in NEAR_SHELLS_MM]
    shells.append(_offset(scalp, centre_mm, near, FAR_RADIUS_MM, low, low_spacing, 1.0))
    shells.append(_offset(scalp, centre_mm, 0.0, FAR_RADIUS_MM, high, high_spacing, 1.0))
    return shells, [*(weight for _, _, weight in NEAR_SHELLS_MM), low_weight, high_weight]


def _offset(scalp, centre_mm, inner, outer, height, spacing, side):
    """Points `height` from the scalp, about `spacing` apart, over a ring round the centre."""
    base, normals = _scalp_points(scalp, centre_mm, inner, outer, spacing)
    if len(base) == 0:
        return base
    points = base + side * height * normals
    signed = scalp.signed_distance(points)
    return points[side * signed >= 0.7 * height]


def _scalp_points(scalp, centre_mm, inner, outer, spacing):
    dense = scalp.sample(0.4 * spacing, centre_mm, outer)
    if inner > 0:
        dense = dense[np.linalg.norm(dense - centre_mm, axis=1) >= inner]
    kept = np.empty(len(dense), np.int64)
    base = dense[kept[: geometry.thin(dense, spacing**2, kept)]]
    return base, scalp.smooth_normal(base)


def _held_out(scalp, centre_mm, near, height):
    dense = scalp.sample(2.0, centre_mm, near)
    if len(dense) == 0:
        raise MeshError(f"no scalp within {near:g} mm of {np.round(centre_mm, 1).tolist()} mm")
    pick = np.random.default_rng(1).permutation(len(dense))[:N_HELD_OUT]
    points = dense[pick] + height * scalp.smooth_normal(dense[pick])
    return points[scalp.signed_distance(points) >= 0.7 * height]
