"""Anisotropic conductivities from a diffusion tensor image.

Conductivity and diffusion tensors are taken to share their eigenvectors (Tuch et al. 2001,
10.1073/pnas.171473898). The eigenvalues follow from one of two mappings:

``vn``, volume-normalised (Guellmar et al. 2010, 10.1016/j.neuroimage.2010.02.014)
    ``sigma = sigma_iso D / det(D)^(1/3)``: the geometric mean of the eigenvalues is the isotropic value.
``dir``, direct (Tuch et al. 2001; scaled as by Rullmann et al. 2009, 10.1016/j.neuroimage.2008.09.009)
    ``sigma = s D`` with one factor for all tissues, ``s = sum_k sigma_k d_k^(1/3) / sum_k d_k^(2/3)`` where
    d_k is the volume mean of det(D) over tissue k.

Opitz et al. 2011 (10.1016/j.neuroimage.2011.06.069) compare both for TMS.
"""

import dataclasses
import hashlib
import logging
import warnings
from pathlib import Path

import numpy as np

from efield.errors import MeshError
from efield.io.dti import read_dti
from efield.model.conductivity import tag_of
from efield.model.heads import load_head
from efield.tissues import TISSUE_NAMES

MAPPINGS = ("vn", "dir")

MUCH_MISSING = 0.1
"""Part of the elements without a tensor above which a warning is due."""

_log = logging.getLogger(__name__)


def with_anisotropy(
    head,
    image,
    *,
    mapping="vn",
    tissues=("white_matter", "grey_matter"),
    max_ratio=10.0,
    max_conductivity=2.0,
    frame="fsl",
):
    """The head with conductivity tensors from a diffusion tensor image.

    Each tetrahedron takes the tensor at its barycentre, linearly interpolated between voxels with data. It
    keeps its isotropic conductivity where these make up less than half of the weights, and where the tensor
    has no positive eigenvalue.

    Parameters
    ----------
    head : HeadModel, str or path
        With isotropic conductivities, which ``vn`` keeps as geometric means, ``dir`` fits.
    image : path-like
        Tensor image in the head's own space, (nx, ny, nz, 6): xx, xy, xz, yy, yz, zz.
    mapping : {"vn", "dir"}
    tissues : sequence of str or int
        Names or tags; the others stay isotropic.
    max_ratio : float
        Smaller eigenvalues, negative ones too, are raised to the largest divided by this, before the mapping.
    max_conductivity : float
        S/m; larger eigenvalues are lowered to it, after the mapping.
    frame : {"fsl", "world"}
        What the components refer to: see :func:`efield.io.dti.read_dti`.

    Returns
    -------
    HeadModel
        Its ``conductivity`` is (n_tets, 3, 3); ``anisotropy`` states the settings and counts.

    Warns
    -----
    UserWarning
        More than a tenth of the tissues' tetrahedra stay isotropic for want of data.

    Raises
    ------
    MeshError
        Unknown mapping or tissue, limits out of range, a head whose conductivity is anisotropic already,
        an image that does not overlap the tissues.
    FormatError
        An image that cannot be used.
    """
    check_mapping(mapping)
    _check_limits(max_ratio, max_conductivity)
    tags = tuple(dict.fromkeys(map(tag_of, tissues)))
    head = load_head(head)
    isotropic = _isotropic(head)
    some = np.flatnonzero(np.isin(head.tags, tags))
    absent = [TISSUE_NAMES.get(tag, str(tag)) for tag in tags if tag not in head.tags]
    if absent or not tags:
        raise MeshError(
            f"anisotropic tissues that the head does not have: {', '.join(absent) or 'none given'}"
        )
    tensors, share = read_dti(image, frame).sample(head.mesh.barycentres_mm[some])
    known = share >= 0.5
    if not known.any():
        raise MeshError(
            f"{image}: none of its voxels with data lies in {' or '.join(map(str, tissues))} of head "
            f"{head.name!r}; the image must be registered to the head's own space"
        )
    values, vectors = np.linalg.eigh(tensors)
    positive = known & (values[:, 2] > 0)
    some, values, vectors = some[positive], values[positive], vectors[positive]
    low = values[:, 2:] / max_ratio
    raised = int(np.count_nonzero((values < low).any(axis=1)))
    values = np.maximum(values, low)
    scale = None
    if mapping == "vn":
        values *= (isotropic[some] / np.cbrt(values.prod(axis=1)))[:, None]
    else:
        scale = _rullmann_scale(head, tags, some, values, isotropic)
        values *= scale
    lowered = int(np.count_nonzero((values > max_conductivity).any(axis=1)))
    values = np.minimum(values, max_conductivity)
    sigma = isotropic[:, None, None] * np.eye(3)
    sigma[some] = np.einsum("nik,nk,njk->nij", vectors, values, vectors)
    facts = {
        "mapping": mapping,
        "image": Path(image).name,
        "image_sha256": hashlib.sha256(Path(image).read_bytes()).hexdigest(),
        "frame": frame,
        "tissues": [TISSUE_NAMES.get(tag, str(tag)) for tag in tags],
        "max_ratio": float(max_ratio),
        "max_conductivity": float(max_conductivity),
        "scale": None if scale is None else float(scale),
        "n_elements": len(known),
        "n_without_data": int(np.count_nonzero(~known)),
        "n_not_positive": int(np.count_nonzero(known & ~positive)),
        "n_ratio_limited": raised,
        "n_conductivity_limited": lowered,
    }
    _report(image, facts)
    return dataclasses.replace(head, conductivity=sigma, anisotropy=facts)


def check_mapping(mapping):
    """Refuse what is none of `MAPPINGS`.

    Raises
    ------
    MeshError
    """
    if mapping not in MAPPINGS:
        raise MeshError(f"unknown mapping of diffusion tensors {mapping!r}; known: {', '.join(MAPPINGS)}")


def _check_limits(max_ratio, max_conductivity):
    if not (np.isfinite(max_ratio) and max_ratio >= 1):
        raise MeshError(f"max_ratio must be a finite number of at least 1, not {max_ratio!r}")
    if not (np.isfinite(max_conductivity) and max_conductivity > 0):
        raise MeshError(f"max_conductivity must be a positive number of S/m, not {max_conductivity!r}")


def _isotropic(head):
    """(n_tets,) conductivity of a head that has no true tensors."""
    sigma = head.conductivity
    if sigma.ndim == 1:
        return sigma
    scalars = sigma[:, 0, 0]
    turned = np.flatnonzero((sigma != scalars[:, None, None] * np.eye(3)).any(axis=(1, 2)))
    if len(turned):
        raise MeshError(
            f"the conductivity of tetrahedron {turned[0]} is anisotropic already, "
            f"{sigma[turned[0]].tolist()}; give the head isotropic values before an image of tensors"
        )
    return scalars


def _rullmann_scale(head, tags, some, values, isotropic):
    """The one factor from diffusion to conductivity, from tetrahedra `some` with eigenvalues `values`."""
    volumes, product = head.mesh.volumes_mm3[some], values.prod(axis=1)
    above = below = 0.0
    for tag in tags:
        here = head.tags[some] == tag
        if here.any():
            mean = np.average(product[here], weights=volumes[here])
            above += np.average(isotropic[some][here], weights=volumes[here]) * np.cbrt(mean)
            below += np.cbrt(mean) ** 2
    return above / below


def _report(image, facts):
    isotropic = facts["n_without_data"] + facts["n_not_positive"]
    _log.info(
        "%s: %d of %d tetrahedra stay isotropic (%d without data, %d not positive); eigenvalues of %d raised "
        "by the ratio, of %d lowered to the largest conductivity",
        *(image, isotropic, facts["n_elements"], facts["n_without_data"], facts["n_not_positive"]),
        *(facts["n_ratio_limited"], facts["n_conductivity_limited"]),
    )
    if isotropic > MUCH_MISSING * facts["n_elements"]:
        warnings.warn(
            f"{image}: {isotropic} of {facts['n_elements']} tetrahedra of {', '.join(facts['tissues'])} "
            f"({isotropic / facts['n_elements']:.0%}) have no usable tensor and stay isotropic",
            UserWarning,
            stacklevel=3,
        )
