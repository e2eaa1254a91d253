"""Numbers that summarise |E|: in a region, and over grey matter.

Everything is weighted by element volume, so a finer mesh of the same field gives the same
numbers. Magnitudes are V/m; positions, volumes and distances are millimetres as named.

Maxima are not reported: on a real head the largest |E| of a mesh does not converge under
refinement. The peak is the 99.9th percentile over grey matter instead.
"""

import numpy as np

from efield.errors import ConvergenceError, TargetError
from efield.tissues import TISSUE_TAGS

PEAK_PERCENTILE = 99.9
MIN_PEAK_ELEMENTS = 1000
"""Fewer elements than this hold no 99.9th percentile apart from their maximum."""


def weighted_mean(values, weights):
    """Mean of `values` (n,) weighted by `weights` (n,)."""
    return float(np.dot(values, weights) / np.sum(weights))


def weighted_percentile(values, weights, percent):
    """Percentile of a weighted sample, without interpolation.

    The smallest value v of the sample such that the elements with values <= v hold at least
    `percent` of the total weight (the inverse of the weighted distribution function). It is
    always a value that occurs.

    Parameters
    ----------
    values, weights : (n,) arrays
        Weights are positive, here element volumes.
    percent : float or (k,) array
        In [0, 100].

    Returns
    -------
    float or (k,) array
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64)[order])
    # A share that is reached exactly must not be missed by the rounding of the sum.
    wanted = np.asarray(percent) / 100.0 * cumulative[-1] * (1.0 - 1e-12)
    index = np.minimum(np.searchsorted(cumulative, wanted), len(order) - 1)
    found = np.asarray(values)[order][index]
    return float(found) if np.ndim(percent) == 0 else found


def region_metrics(magnitude, volumes_mm3):
    """Mean, median, p95 and p99 of |E| over one region.

    Parameters
    ----------
    magnitude : (n,) array, V/m
    volumes_mm3 : (n,) array

    Returns
    -------
    dict of ``n_elements``, ``volume_mm3`` and, in V/m, ``mean``, ``median``, ``p95``, ``p99``
    """
    median, p95, p99 = weighted_percentile(magnitude, volumes_mm3, np.array([50.0, 95.0, 99.0])).tolist()
    return {
        "n_elements": len(magnitude),
        "volume_mm3": float(volumes_mm3.sum()),
        "mean": weighted_mean(magnitude, volumes_mm3),
        "median": median,
        "p95": p95,
        "p99": p99,
    }


def peak_metrics(magnitude, volumes_mm3, barycentres_mm):
    """Robust peak of |E| over grey matter, its place, and the volume above half of it.

    Parameters
    ----------
    magnitude : (n,) array, V/m
        Over the grey-matter elements, as are the other two.
    volumes_mm3 : (n,) array
    barycentres_mm : (n, 3) array

    Returns
    -------
    dict
        ``peak``: 99.9th percentile, V/m. ``peak_mm``: of the elements at or above it, the
        barycentre nearest to their volume-weighted centre, so a point in grey matter.
        ``half_value_volume_mm3``: volume where |E| >= peak / 2. All None below
        `MIN_PEAK_ELEMENTS` elements.
    """
    if len(magnitude) < MIN_PEAK_ELEMENTS:
        return {"peak": None, "peak_mm": None, "half_value_volume_mm3": None}
    peak = weighted_percentile(magnitude, volumes_mm3, PEAK_PERCENTILE)
    top = magnitude >= peak
    centre = np.average(barycentres_mm[top], axis=0, weights=volumes_mm3[top])
    nearest = np.argmin(np.sum((barycentres_mm[top] - centre) ** 2, axis=1))
    return {
        "peak": peak,
        "peak_mm": barycentres_mm[top][nearest].tolist(),
        "half_value_volume_mm3": float(volumes_mm3[magnitude >= peak / 2].sum()),
    }


def scalp_cortex_distance_mm(head, scalp_mm):
    """Distance from a scalp point to the nearest node of a grey-matter tetrahedron, mm.

    For cortical edges of length e it exceeds the distance d to the cortical surface by at most
    e^2 / (6 d): 0.1 mm on the built-in head. None where the head has no grey matter.
    """
    grey = np.zeros(len(head.nodes_mm), bool)
    grey[head.tets[head.tags == TISSUE_TAGS["grey_matter"]]] = True
    nodes = np.flatnonzero(grey)
    if len(nodes) == 0:
        return None
    offsets = head.nodes_mm[nodes] - np.asarray(scalp_mm, dtype=np.float64)
    return float(np.sqrt(np.min(np.einsum("ij,ij->i", offsets, offsets))))


def field_metrics(head, magnitude, region_elements, *, scalp_mm=None, tilt_deg=None, clearance_mm=None):
    """All numbers a result states about one field.

    Parameters
    ----------
    head : HeadModel
    magnitude : (n_tets,) array, V/m
        |E| of every tetrahedron, raw.
    region_elements : (n,) int array
        Tetrahedra of the target.
    scalp_mm : (3,) array or None
        Scalp point of the placement, for the scalp-cortex distance.
    tilt_deg, clearance_mm : float or None
        Of the placement, from the caller; passed through.

    Returns
    -------
    dict of plain Python values, never NaN
        The keys of :func:`region_metrics` and :func:`peak_metrics`, ``target_peak_ratio``
        (mean over the region / peak), ``scalp_cortex_mm``, ``tilt_deg``, ``clearance_mm``.
        None where a number does not exist.

    Raises
    ------
    TargetError
        The region is empty or has indices outside the mesh.
    ConvergenceError
        |E| is not finite somewhere.
    """
    magnitude = np.asarray(magnitude, dtype=np.float64)
    elements = _checked_elements(region_elements, len(head.tets))
    finite = np.isfinite(magnitude)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise ConvergenceError(
            f"|E| of {np.count_nonzero(~finite)} tetrahedra is not finite, the first is {bad}; "
            "the field cannot be used"
        )
    volumes = head.mesh.volumes_mm3
    grey = np.flatnonzero(head.tags == TISSUE_TAGS["grey_matter"])
    metrics = region_metrics(magnitude[elements], volumes[elements])
    metrics |= peak_metrics(magnitude[grey], volumes[grey], head.mesh.barycentres_mm[grey])
    peak = metrics["peak"]
    metrics["target_peak_ratio"] = metrics["mean"] / peak if peak else None
    metrics["scalp_cortex_mm"] = None if scalp_mm is None else scalp_cortex_distance_mm(head, scalp_mm)
    metrics["tilt_deg"] = None if tilt_deg is None else float(tilt_deg)
    metrics["clearance_mm"] = None if clearance_mm is None else float(clearance_mm)
    return metrics


def _checked_elements(region_elements, n_tets):
    elements = np.asarray(region_elements)
    if elements.ndim != 1 or elements.size == 0:
        raise TargetError("the region has no elements; give the indices of at least one tetrahedron")
    if not np.issubdtype(elements.dtype, np.integer):
        raise TargetError(f"the region must be tetrahedron indices (int), not {elements.dtype}")
    if elements.min() < 0 or elements.max() >= n_tets:
        raise TargetError(
            f"the region has tetrahedra {elements.min()}..{elements.max()}, the mesh has 0..{n_tets - 1}"
        )
    return elements
