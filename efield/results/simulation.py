"""From a computed field to the record that is saved."""

import numpy as np

from efield.metrics import field_metrics
from efield.model.placement import describe_placement
from efield.results.provenance import provenance
from efield.results.result import SimulateResult
from efield.results.scene import Scene


def summarise_field(field, coil, region, *, timings, clearance_mm=None, warnings=(), files=()):
    """The `SimulateResult` of one field.

    Parameters
    ----------
    field : Field
    coil : Coil
        The one that made it, for provenance.
    region : TargetRegion
        What the numbers are about.
    timings : dict
        Seconds per stage, and ``total``.
    clearance_mm : float or None
        Of the placement, where known.
    warnings : sequence of ResultWarning
    files : sequence of InputFile
        What the placement was read from.
    """
    head = field.head
    info = describe_placement(head, field.placement)
    metrics = field_metrics(
        head,
        field.magnitude,
        np.asarray(region.elements),
        scalp_mm=info["scalp_mm"],
        tilt_deg=_tilt_deg(head, field.placement, info["scalp_mm"]),
        clearance_mm=clearance_mm,
    )
    return SimulateResult(
        placement=field.placement,
        placement_info=info,
        didt=field.didt,
        target=region.summary(),
        metrics=metrics,
        warnings=tuple(warnings),
        timings=timings,
        provenance=provenance(
            head,
            coil,
            element_order=field.element_order,
            files=(*files, *region.files),
            target=region.name,
            residual=field.residual,
        ),
        field=field,
        scene=Scene.of(coil, region.elements),
    )


def _tilt_deg(head, placement, scalp_mm):
    """Angle of the coil's z axis to the inward smoothed normal where it meets the scalp."""
    if scalp_mm is None:
        return None
    inward = -head.scalp.smooth_normal(scalp_mm)[0]
    cosine = np.clip(placement.matsimnibs[:3, 2] @ inward, -1.0, 1.0)
    return float(np.degrees(np.arccos(cosine)))
