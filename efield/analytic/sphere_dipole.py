"""Potential of a current dipole in a sphere of concentric layers.

For degree l the radial part of the potential of a point source at radius r0 solves
``(r^2 sigma g')' = l (l + 1) sigma g`` away from r0. U is its solution that is regular at the
centre, W the one without radial current at the outer surface; then ``g = U(r<) W(r>) / C``
with C their constant Wronskian (de Munck and Peters 1993, IEEE Trans Biomed Eng 40:1166).
Within layer k, from radius ``r_k-1`` to ``r_k``::

    U ~ (r / r_k-1)^l + beta_k (r_k-1 / r)^(l+1)
    W ~ (r_k / r)^(l+1) + gamma_k (r / r_k)^l

and every product below is arranged so that only powers of numbers up to one appear: no
degree overflows. In the layer of the source the field of the unbounded medium is taken in
closed form, so that the series holds reflections only and converges next to the source.
"""

import numpy as np

from efield.errors import MeshError, TargetError

MAX_DEGREE = 4000
"""More degrees than this are refused: the source or a point is too close to a boundary."""


def dipole_potential(dipole, moment, points, radii, sigma, center=(0.0, 0.0, 0.0), tol=1e-13):
    """Potential of a current dipole in concentric layers, zero on average over the surface.

    Parameters
    ----------
    dipole : (3,) array, m
        Position, inside a layer and not on its boundary.
    moment : (3,) array, A m
    points : (n_points, 3) array, m
        In any layer, or on a boundary.
    radii : (n_layers,) array, m
        Outer radius of each layer, ascending.
    sigma : (n_layers,) array, S/m
    center : (3,) array, m
    tol : float
        Size of the first neglected term, relative to the first one.

    Returns
    -------
    (n_points,) array, V

    Raises
    ------
    MeshError
        Radii that do not ascend, or conductivities that are not positive.
    TargetError
        Source at the centre, on a boundary or outside; a point outside or at the source; or
        more than ``MAX_DEGREE`` terms needed.
    """
    radii, sigma = _checked_layers(radii, sigma)
    center = np.asarray(center, dtype=np.float64)
    r0_vec = np.asarray(dipole, dtype=np.float64) - center
    p = np.asarray(moment, dtype=np.float64)
    points = np.atleast_2d(np.asarray(points, dtype=np.float64)) - center
    r0 = np.linalg.norm(r0_vec)
    r = np.linalg.norm(points, axis=1)
    layer_of_source = _checked_source(r0, radii)
    layers = _checked_points(r, radii)

    direction = points / np.maximum(r, np.finfo(float).tiny)[:, None]
    axis = r0_vec / r0
    cosine = direction @ axis
    p_radial = p @ axis
    p_tangential = direction @ (p - p_radial * axis)

    same = layers == layer_of_source
    potential = np.zeros(len(points))
    potential[same] = _unbounded_potential(r0_vec, p, points[same], sigma[layer_of_source])
    # Degree 0: a constant below the source, so that the outer surface keeps a zero mean.
    potential[layers < layer_of_source] = -p_radial / (4 * np.pi * sigma[layer_of_source] * r0**2)

    legendre = _legendre(cosine)
    for degree in range(1, _degrees_needed(r0, r, radii, layer_of_source, layers, tol) + 1):
        value, slope = next(legendre)
        beta, gamma = _reflections(degree, radii, sigma)
        g, dg = _radial_parts(degree, r0, r, radii, layer_of_source, layers, beta, gamma)
        term = p_radial * dg * value + p_tangential * g / r0 * slope
        potential += term / (4 * np.pi * sigma[layer_of_source] * radii[layer_of_source])
    return potential


def _unbounded_potential(r0, p, points, sigma):
    a = points - r0
    distance = np.linalg.norm(a, axis=1)
    if np.any(distance == 0):
        raise TargetError(f"point {int(np.argmin(distance))} of its layer coincides with the source")
    return (a @ p) / (4 * np.pi * sigma * distance**3)


def _legendre(x):
    """Yield P_l(x) and its derivative for l = 1, 2, ..."""
    below, value = np.ones_like(x), x.copy()
    slope_below, slope = np.zeros_like(x), np.ones_like(x)
    degree = 1
    while True:
        yield value, slope
        below, value = value, ((2 * degree + 1) * x * value - degree * below) / (degree + 1)
        slope_below, slope = slope, slope_below + (2 * degree + 1) * below
        degree += 1


def _reflections(degree, radii, sigma):
    """Coefficients beta and gamma of each layer, both of order one."""
    n = len(radii)
    beta, gamma = np.zeros(n), np.zeros(n)
    for k in range(1, n):
        inner = radii[k - 2] / radii[k - 1] if k > 1 else 0.0
        decay = beta[k - 1] * inner ** (2 * degree + 1)
        slope = sigma[k - 1] * (degree - (degree + 1) * decay) / (1 + decay)
        beta[k] = (sigma[k] * degree - slope) / (slope + sigma[k] * (degree + 1))
    gamma[-1] = (degree + 1) / degree
    for k in range(n - 2, -1, -1):
        decay = gamma[k + 1] * (radii[k] / radii[k + 1]) ** (2 * degree + 1)
        slope = sigma[k + 1] * (degree * decay - (degree + 1)) / (1 + decay)
        gamma[k] = (slope + sigma[k] * (degree + 1)) / (sigma[k] * degree - slope)
    return beta, gamma


def _radial_parts(degree, r0, r, radii, s, layers, beta, gamma):
    """``g(r, r0)`` times 4 pi sigma_s r_s, and its derivative by r0, at every point.

    In the layer of the source the unbounded part ``r<^l / r>^(l+1)`` is left out.
    """
    x0 = r0 / radii[s]
    tau = radii[s - 1] / radii[s] if s > 0 else 0.0
    low = beta[s] * tau ** (2 * degree + 1)
    scale = 1 / (1 - low * gamma[s])
    g, dg = np.empty_like(r), np.empty_like(r)

    at = layers == s
    x = r[at] / radii[s]
    up = gamma[s] * (x * x0) ** degree
    if s == 0:
        g[at] = up
        dg[at] = degree * up
    else:
        down = beta[s] / tau * (tau**2 / (x * x0)) ** (degree + 1)
        both = beta[s] * gamma[s]
        through = both * (tau / x0) ** (degree + 1) * (tau * x) ** degree
        back = both * (tau / x) ** (degree + 1) * (tau * x0) ** degree
        g[at] = scale * (up + down + through + back)
        dg[at] = scale * (degree * (up + back) - (degree + 1) * (down + through))
    dg[at] /= r0

    above = layers > s
    regular = x0**degree
    singular = beta[s] * tau**degree * (tau / x0) ** (degree + 1)
    outward = scale * _outward(degree, r[above], radii, s, layers[above], gamma)
    g[above] = outward * (regular + singular)
    dg[above] = outward * (degree * regular - (degree + 1) * singular) / r0

    below = layers < s
    falling = (tau / x0) ** degree / x0
    rising = gamma[s] * (tau * x0) ** degree
    inward = scale * (1 + beta[s]) * _inward(degree, r[below], radii, s, layers[below], beta)
    g[below] = inward * (falling + rising)
    dg[below] = inward * (degree * rising - (degree + 1) * falling) / r0
    return g, dg


def _outward(degree, r, radii, s, layers, gamma):
    """W at radii above the layer of the source."""
    out = np.empty_like(r)
    at_boundary = 1 + gamma[s]
    for k in range(s + 1, len(radii)):
        ratio = radii[k - 1] / radii[k]
        amplitude = at_boundary / (1 + gamma[k] * ratio ** (2 * degree + 1))
        at = layers == k
        falling = (radii[k - 1] / r[at]) ** (degree + 1)
        rising = gamma[k] * ratio ** (degree + 1) * (r[at] / radii[k]) ** degree
        out[at] = amplitude * (falling + rising)
        at_boundary = amplitude * ratio ** (degree + 1) * (1 + gamma[k])
    return out


def _inward(degree, r, radii, s, layers, beta):
    """U at radii below the layer of the source, relative to its value at that layer's floor."""
    out = np.empty_like(r)
    at_boundary = 1.0
    for k in range(s - 1, -1, -1):
        floor = radii[k - 1] if k > 0 else 0.0
        ratio = floor / radii[k]
        amplitude = at_boundary / (1 + beta[k] * ratio ** (2 * degree + 1))
        at = layers == k
        out[at] = (r[at] / radii[k]) ** degree
        if k > 0:
            out[at] += beta[k] * ratio**degree * (floor / r[at]) ** (degree + 1)
        out[at] *= amplitude
        at_boundary = amplitude * ratio**degree * (1 + beta[k])
    return out


def _degrees_needed(r0, r, radii, s, layers, tol):
    """Degrees after which the slowest geometric series is below `tol`."""
    floor = radii[s - 1] if s > 0 else 0.0
    ratio = np.where(layers < s, r / r0, r0 / np.maximum(r, np.finfo(float).tiny))
    same = layers == s
    reflected_above = r[same] * r0 / radii[s] ** 2
    reflected_below = floor**2 / (np.maximum(r[same], np.finfo(float).tiny) * r0)
    ratio[same] = np.maximum(reflected_above, reflected_below)
    worst = ratio.max(initial=0.0)
    if worst == 0.0:
        return 1
    needed = 2 + np.log(tol) / np.log(worst) if worst < 1 else np.inf
    # The terms grow like l^2 before they fall; this covers it.
    needed += 2 * np.log(max(needed, 2.0)) / -np.log(worst) if worst < 1 else 0.0
    if needed > MAX_DEGREE:
        raise TargetError(
            f"the source at radius {r0:.6g} m is so close to a boundary or a point that more than "
            f"{MAX_DEGREE} terms are needed; move it, or raise tol"
        )
    return int(np.ceil(needed))


def _checked_layers(radii, sigma):
    radii = np.atleast_1d(np.asarray(radii, dtype=np.float64))
    sigma = np.atleast_1d(np.asarray(sigma, dtype=np.float64))
    if radii.shape != sigma.shape or not np.all(np.diff(radii, prepend=0.0) > 0):
        raise MeshError(f"radii {radii.tolist()} must ascend, one for each of {sigma.tolist()} S/m")
    if not np.all((sigma > 0) & np.isfinite(sigma)):
        raise MeshError(f"conductivities {sigma.tolist()} must be positive, in S/m")
    return radii, sigma


def _checked_source(r0, radii):
    margin = 1e-6 * radii[-1]
    if r0 < margin:
        raise TargetError(f"the source lies at the centre; move it by at least {margin:.3g} m")
    if r0 > radii[-1] or np.any(np.abs(r0 - radii) < margin):
        raise TargetError(f"the source at radius {r0:.6g} m must lie inside one of {radii.tolist()} m")
    return int(np.searchsorted(radii, r0))


def _checked_points(r, radii):
    if np.any(r > radii[-1] * (1 + 1e-9)):
        bad = int(np.argmax(r))
        raise TargetError(
            f"point {bad} at radius {r[bad]:.6g} m lies outside the sphere of {radii[-1]:.6g} m"
        )
    return np.minimum(np.searchsorted(radii, r), len(radii) - 1)
