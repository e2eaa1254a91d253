"""From what a user says about conductivity to one value per tetrahedron."""

from collections.abc import Mapping
from numbers import Integral

import numpy as np

from efield.errors import MeshError
from efield.tissues import DEFAULT_CONDUCTIVITY, TISSUE_NAMES, TISSUE_TAGS

ROUNDING = 1e-9
"""Part of a tensor's largest entry that is taken for rounding: a smaller eigenvalue is zero."""


def resolve_conductivity(tags, conductivity=None):
    """Conductivity of each tetrahedron.

    Parameters
    ----------
    tags : (n_tets,) int array
    conductivity : mapping, array or None
        ``{tag or tissue name: S/m or (3, 3) tensor}`` over the defaults, or one array
        of shape (n_tets,) or (n_tets, 3, 3). None takes the defaults.

    Returns
    -------
    (n_tets,) or (n_tets, 3, 3) array, S/m

    Raises
    ------
    MeshError
        Unknown tissue name, a tag without a value, a value that is not positive or
        not finite, a tensor that is not symmetric positive definite.
    """
    if conductivity is None or isinstance(conductivity, Mapping):
        return _from_table(tags, conductivity or {})
    sigma = np.array(_numbers(conductivity, "conductivity"))
    n = len(tags)
    if sigma.shape not in ((n,), (n, 3, 3)):
        raise MeshError(
            f"conductivity has shape {sigma.shape}; expected ({n},), ({n}, 3, 3) or a table by tag"
        )
    _check_values(sigma, lambda i: f"tetrahedron {i} (tag {tags[i]})")
    return sigma


def tag_of(key):
    """Tissue tag of a tag number or tissue name."""
    if isinstance(key, str):
        if key in TISSUE_TAGS:
            return TISSUE_TAGS[key]
        if key.isdecimal():
            return int(key)
    elif isinstance(key, Integral):
        return int(key)
    raise MeshError(f"unknown tissue {key!r}; known: {', '.join(TISSUE_TAGS)}, or a tag number")


def _from_table(tags, overrides):
    table = {tag: np.asarray(s, dtype=np.float64) for tag, s in DEFAULT_CONDUCTIVITY.items()}
    for key, value in overrides.items():
        value = _numbers(value, f"conductivity of {key!r}")
        if value.shape not in ((), (3, 3)):
            raise MeshError(f"conductivity of {key!r} has shape {value.shape}; give a scalar or (3, 3)")
        _check_values(value[None], lambda _, key=key: f"{key!r}")
        table[tag_of(key)] = value
    present = np.unique(tags)
    for tag in present:
        if int(tag) not in table:
            name = TISSUE_NAMES.get(int(tag), "unknown tissue")
            raise MeshError(
                f"no conductivity for tag {tag} ({name}); pass conductivity={{{tag}: value in S/m}}"
            )
    tensor = any(table[int(tag)].ndim == 2 for tag in present)
    sigma = np.empty((len(tags), 3, 3) if tensor else len(tags))
    for tag in present:
        value = table[int(tag)]
        sigma[tags == tag] = value * np.eye(3) if tensor and value.ndim == 0 else value
    return sigma


def _numbers(values, what):
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise MeshError(f"{what} must be numbers in S/m, not {values!r}") from None


def _check_values(sigma, describe):
    finite = np.isfinite(sigma).reshape(len(sigma), -1).all(axis=1)
    if not finite.all():
        raise MeshError(f"conductivity of {describe(int(np.argmin(finite)))} is not finite")
    if sigma.ndim == 1:
        good = sigma > 0
    else:
        scale = np.abs(sigma).max(axis=(1, 2))
        symmetric = np.abs(sigma - sigma.swapaxes(1, 2)).max(axis=(1, 2)) <= ROUNDING * scale
        good = symmetric & (np.linalg.eigvalsh(sigma)[:, 0] > ROUNDING * scale)
    if not good.all():
        bad = int(np.argmin(good))
        raise MeshError(
            f"conductivity of {describe(bad)} is {sigma[bad].tolist()}; "
            "it must be positive (a tensor symmetric positive definite), in S/m"
        )
