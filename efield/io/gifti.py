"""GIFTI surfaces, such as the cortical surfaces that CHARM writes."""

import numpy as np

from efield.errors import FormatError


def read_surface(path):
    """Read a triangulated surface.

    SimNIBS writes the points in the subject's space (RAS, mm) and so they are taken as they stand.

    Parameters
    ----------
    path : path-like
        ``.gii`` with one point set and one list of triangles.

    Returns
    -------
    vertices_mm : (n, 3) float array
    triangles : (k, 3) int array

    Raises
    ------
    FormatError
        Not such a file; points that are not finite; triangles with points that are not there.
    """
    import nibabel

    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.GiftiImage):
            raise FormatError(f"{path}: is {type(image).__name__}, not a GIFTI surface")
        points = image.agg_data("pointset")
        triangles = image.agg_data("triangle")
    except FormatError:
        raise
    except Exception as error:  # expat, base64, zlib and nibabel each have their own
        raise FormatError(f"{path}: cannot be read as GIFTI: {error}") from error
    if not isinstance(points, np.ndarray) or not isinstance(triangles, np.ndarray):
        raise FormatError(f"{path}: must hold one point set and one list of triangles")
    points, triangles = np.asarray(points, np.float64), np.asarray(triangles)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise FormatError(f"{path}: points of shape {points.shape} must be finite and (n, 3)")
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.dtype.kind not in "iu":
        raise FormatError(f"{path}: triangles of shape {triangles.shape} must be (k, 3) integers")
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(points):
        raise FormatError(
            f"{path}: triangles use points {triangles.min()}..{triangles.max()} of {len(points)}"
        )
    return points, triangles.astype(np.int32)
