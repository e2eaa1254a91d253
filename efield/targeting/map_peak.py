"""The peak of an individual map, such as the anticorrelation with the subgenual cingulate."""

import numpy as np

from efield.errors import TargetError
from efield.io.nifti import read_volume
from efield.targeting.noise import NAVIGATED
from efield.targeting.registry import Aim, targeting_method
from efield.units import point_words


def peak_of(peak_map):
    """World coordinate (3,) of a map's extreme voxel within its mask, and its value.

    Raises
    ------
    TargetError
        No voxel of the map lies in the mask.
    """
    volume = read_volume(peak_map.nifti)
    index = np.argwhere(np.isfinite(volume.data))
    places = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    values = volume.data[tuple(index.T)]
    if peak_map.mask is not None:
        inside = read_volume(peak_map.mask).nearest(places) > 0.5
        places, values = places[inside], values[inside]
    if len(values) == 0:
        raise TargetError(
            f"no voxel of the map {peak_map.nifti} lies in the mask {peak_map.mask}; check their frame"
        )
    best = int(np.argmin(values) if peak_map.lowest else np.argmax(values))
    return places[best], float(values[best])


@targeting_method("map-peak", noise=NAVIGATED)
def map_peak(case):
    """Scalp point nearest to the peak of the subject's own map within a search mask.

    The individual connectivity target: Cash et al. 2021 (Hum Brain Mapp) on its repeatability, Cole et al.
    2020, Am J Psychiatry, for its use.
    """
    if case.peak_map is None:
        raise TargetError(
            "the method 'map-peak' needs a map: pass peak_map=efield.targeting.PeakMap(nifti, mask), or --map"
        )
    point, value = peak_of(case.peak_map)
    if case.peak_map.space == "mni":
        point = case.model.mni().to_subject.points(point)[0]
    if not case.model.scalp.contains(point[None])[0]:
        raise TargetError(
            f"the peak of {case.peak_map.nifti} at {point_words(point)} mm lies outside the head; check "
            "the map's frame"
        )
    closest, depth, _ = case.model.scalp.closest(point)
    kind = "lowest" if case.peak_map.lowest else "highest"
    words = f"{kind} value {value:.3g} at {point_words(point)} mm, {depth[0]:.1f} mm below the scalp"
    return Aim(case.place(closest[0]), words)
