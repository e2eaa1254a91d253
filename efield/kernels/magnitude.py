"""Mean and percentile of |E| over a target at many placements, from the coefficients of modes."""

import numpy as np

from efield.kernels._jit import jit

BLOCK = 64
"""Elements per pass over the modes: their sums stay in registers and the first-level cache."""


@jit
def mean_magnitudes(begin, end, coefficients, fields, weights, out):
    """``out[i] = sum_t weights[t] |sum_m coefficients[i, m] fields[m, :, t]|``.

    Parameters
    ----------
    coefficients : (n_placements, k) float32 array
    fields : (k, 3, n) float32 array
    weights : (n,) float32 array
    out : (n_placements,) float64 array
    """
    ex, ey, ez = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    n = weights.shape[0]
    out[begin:end] = 0.0
    for first in range(0, n, BLOCK):
        size = min(BLOCK, n - first)
        w = weights[first : first + size]
        x, y, z = ex[:size], ey[:size], ez[:size]
        for i in range(begin, end):
            x[:] = 0
            y[:] = 0
            z[:] = 0
            for m in range(coefficients.shape[1]):
                c = coefficients[i, m]
                fx = fields[m, 0, first : first + size]
                fy = fields[m, 1, first : first + size]
                fz = fields[m, 2, first : first + size]
                for t in range(size):
                    x[t] += c * fx[t]
                    y[t] += c * fy[t]
                    z[t] += c * fz[t]
            for t in range(size):
                x[t] = w[t] * np.sqrt(x[t] * x[t] + y[t] * y[t] + z[t] * z[t])
            total = 0.0
            for t in range(size):
                total += x[t]
            out[i] += total


@jit
def percentiles(begin, end, coefficients, fields, weights, share, out):
    """Weighted percentile of |E|: the smallest value that `share` of the weight does not exceed.

    Parameters as in :func:`mean_magnitudes`; `share` lies in (0, 1].
    """
    n = weights.shape[0]
    values, mass = np.empty(n, np.float32), np.empty(n, np.float32)
    x, y, z = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    total = 0.0
    for t in range(n):
        total += weights[t]
    wanted = share * total * (1.0 - 1e-6)  # a share reached exactly must not be missed by rounding
    for i in range(begin, end):
        x[:] = 0
        y[:] = 0
        z[:] = 0
        for m in range(coefficients.shape[1]):
            c = coefficients[i, m]
            fx, fy, fz = fields[m, 0], fields[m, 1], fields[m, 2]
            for t in range(n):
                x[t] += c * fx[t]
                y[t] += c * fy[t]
                z[t] += c * fz[t]
        for t in range(n):
            values[t] = np.sqrt(x[t] * x[t] + y[t] * y[t] + z[t] * z[t])
            mass[t] = weights[t]
        out[i] = _weighted_select(values, mass, wanted)


@jit
def _weighted_select(values, mass, wanted):
    """Smallest value such that those up to it weigh at least `wanted`; reorders both arrays."""
    low, high = 0, values.shape[0] - 1
    below = 0.0
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        less, equal, k, more = low, low, low, high
        lighter, same = 0.0, 0.0
        while k <= more:  # three ways: [low, less) below the pivot, [less, k) at it, (more, high] above
            v = values[k]
            if v < pivot:
                lighter += mass[k]
                values[k], values[less] = values[less], v
                mass[k], mass[less] = mass[less], mass[k]
                less += 1
                k += 1
            elif v > pivot:
                values[k], values[more] = values[more], v
                mass[k], mass[more] = mass[more], mass[k]
                more -= 1
            else:
                same += mass[k]
                k += 1
        equal = k
        if less > low and below + lighter >= wanted:
            high = less - 1
        elif below + lighter + same >= wanted or equal > high:
            return pivot
        else:
            below += lighter + same
            low = equal
    return values[low]
