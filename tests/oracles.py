"""Slow, plain formulas that the tests compare with. They share no code with efield."""

import numpy as np

MU0_OVER_4PI = 1e-7


def dipole_b(position, moment, point):
    """Flux density (T) of one magnetic dipole (A m^2) at one point (m)."""
    a = np.asarray(point, float) - position
    r = np.linalg.norm(a)
    return MU0_OVER_4PI * (3 * np.dot(moment, a) * a / r**5 - np.asarray(moment) / r**3)


def dipole_a(positions, moments, points):
    """Vector potential (T m) of magnetic dipoles, (n_points, 3): mu0 / 4 pi sum m x a / a^3."""
    out = np.zeros((len(points), 3))
    for position, moment in zip(positions, moments, strict=True):
        a = points - position
        out += np.cross(moment, a) / np.linalg.norm(a, axis=1)[:, None] ** 3
    return MU0_OVER_4PI * out


def biot_savart(positions, currents, points):
    """Flux density (T) of current elements (A m) at points, (n_points, 3)."""
    out = np.zeros((len(points), 3))
    for n, point in enumerate(points):
        a = point - positions
        out[n] = np.sum(np.cross(currents, a) / np.linalg.norm(a, axis=1)[:, None] ** 3, axis=0)
    return MU0_OVER_4PI * out


def jacobian(function, point, step):
    """Central differences of a vector function at a point: [i, j] = d f_i / d x_j."""
    columns = []
    for axis in np.eye(3):
        ahead, behind = function(point + step * axis), function(point - step * axis)
        columns.append((ahead - behind) / (2 * step))
    return np.stack(columns, axis=-1)


def curl(jac):
    return np.array([jac[2, 1] - jac[1, 2], jac[0, 2] - jac[2, 0], jac[1, 0] - jac[0, 1]])


def neumann_sphere(source, points, radius, sigma):
    """Potential (V) of a unit current at `source` and a sink spread over the sphere, closed form.

    The image of the source by Kelvin's inversion and the logarithm that the sink needs:
    ``sum_l (l + 1)/l s^l P_l = 1/D - 1 + ln(2 / (1 - u + D))`` with ``u = r.r0/R^2`` and
    ``D^2 = 1 - 2u + s^2``.
    """
    u = points @ source / radius**2
    s = np.linalg.norm(points, axis=1) * np.linalg.norm(source) / radius**2
    d = np.sqrt(1 - 2 * u + s**2)
    direct = 1 / np.linalg.norm(points - source, axis=1)
    return (direct + (1 / d - np.log((1 - u + d) / 2)) / radius) / (4 * np.pi * sigma)


def dipole_in_homogeneous_sphere(source, moment, points, radius, sigma):
    """Potential (V) of a current dipole: the derivative of :func:`neumann_sphere` by its source."""
    step = 1e-5 * radius
    gradient = jacobian(lambda r0: neumann_sphere(r0, points, radius, sigma), source, step)
    coarse = jacobian(lambda r0: neumann_sphere(r0, points, radius, sigma), source, 2 * step)
    return ((4 * gradient - coarse) / 3) @ moment


def p1_gradients(nodes, tets):
    """(n_tets, 4, 3) basis gradients and (n_tets,) volumes by inverting each 4 x 4 system."""
    corners = nodes[tets]
    system = np.concatenate([np.ones((*corners.shape[:2], 1)), corners], axis=-1)
    gradients = np.linalg.inv(system)[:, 1:, :].swapaxes(1, 2)
    return gradients, np.abs(np.linalg.det(system)) / 6


def random_rotation(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))
