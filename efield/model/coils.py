"""Coils by name or file."""

import difflib
import logging
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from efield.errors import CoilError
from efield.io.ccd import read_ccd
from efield.io.nifti import read_a_field
from efield.io.stimulator import Stimulator, read_waveforms
from efield.io.stl import read_stl
from efield.io.tcd import DIPOLES, GRID, read_tcd
from efield.model.coil import Coil
from efield.model.coil_assembly import CoilAssembly, Part, covers, surface_points
from efield.model.coil_fit import DEFAULT_SPACING_MM, HEAD_MM, fit_grid, fit_wires
from efield.model.coil_folders import find_coil
from efield.model.coil_library import BUILTIN_COILS
from efield.model.coil_wires import closed_wires
from efield.model.surface import TriSurface
from efield.units import to_mm

__all__ = ["BUILTIN_COILS", "load_coil"]

_log = logging.getLogger(__name__)

POOR_FIT = 1e-3
"""Error of equivalent dipoles above which loading a coil warns."""


MOST_MOMENT = 100.0
"""Sum of |m|, A m^2 per A: 14 turns of 90 mm make 0.1. In mm^2 a coil has 1e5."""

SMALLEST_MM = 1.0
"""Several dipoles or wires all nearer to each other are a coil in metres."""


def load_coil(source, *, spacing_mm=DEFAULT_SPACING_MM, progress=None):
    """The coil that `source` names.

    Parameters
    ----------
    source : str, path-like or Coil
        A built-in name (`BUILTIN_COILS`); a ``.ccd``, ``.tcd``, ``.nii`` or ``.nii.gz`` file; the name of
        such a file in one of the user's coil folders (:mod:`efield.model.coil_folders`); or a `Coil`, which
        is returned as it is. Beside a ``.ccd`` or sampled field, ``<stem>.stl`` is its casing (mm) and
        ``<stem>.tsv`` its pulse, in any case.
    spacing_mm : float
        Between the equivalent dipoles of wires and sampled fields.
    progress : callable, optional
        ``progress(stage, fraction)`` of the stages "read" and, where there is something to fit, "fit"; what
        it raises passes through.

    Returns
    -------
    Coil
        Of a file with movable parts: at their initial values; of one with several stimulators: all at the
        same dI/dt.

    Raises
    ------
    CoilError
        Unknown name, missing file, a casing that is not in mm, wires or a sampled field that dipoles cannot
        stand for.
    FormatError
        A file that cannot be understood.
    """
    if isinstance(source, Coil):
        return source
    if not isinstance(source, str | Path):
        raise CoilError(f"a coil is a name, a path or a Coil, not {type(source).__name__}: {source!r}")
    if not (np.isfinite(spacing_mm) and spacing_mm > 0):
        raise CoilError(f"spacing_mm must be a positive number, not {spacing_mm}")
    name = str(source).strip().casefold()
    if name in BUILTIN_COILS:
        return BUILTIN_COILS[name]()
    path = Path(source)
    if path.is_dir():
        raise CoilError(f"{path} is a folder; name a coil file in it or a built-in coil: {_builtins()}")
    if not path.exists():
        path = find_coil(str(source)) or path
    if not path.exists():
        raise CoilError(_missing(path))
    lower = path.name.casefold()
    fitter = _Fitter(path, spacing_mm, progress)
    if lower.endswith(".tcd"):
        return _from_tcd(path, fitter)
    if lower.endswith((".nii", ".nii.gz")):
        return _from_samples(path, fitter)
    return _from_ccd(path)


def _from_ccd(path):
    record = read_ccd(path)
    _check_moments(path, record.moments)
    source = ", ".join(
        f"{key}={record.get(key)}" for key in ("brand", "coilname", "stimulator") if record.get(key)
    )
    casing, waveforms, notes = _sidecars(path, path.stem)
    positions_mm = to_mm(record.positions_m)
    max_didt = None if record.didt_max is None else record.didt_max * 1e6
    displayed = None if record.didt_displayed is None else record.didt_displayed * 1e6
    stimulator = Stimulator(record.get("stimulator"), None, max_didt, waveforms, displayed)
    return Coil(
        positions_mm=positions_mm,
        moments=record.moments,
        name=path.stem,
        casing_mm=None if casing is None else _points_of(casing),
        casing=casing,
        covered=_covered(casing, positions_mm),
        max_didt=max_didt,
        notes=(f"Read from {path.name}" + (f" ({source})." if source else "."), *notes),
        stimulators=(stimulator,),
    )


def _from_samples(path, fitter):
    record = read_a_field(path)
    stem = path.name[: path.name.casefold().rindex(".nii")]
    casing, waveforms, notes = _sidecars(path, stem)
    fields = np.split(record.data, record.data.shape[3] // 3, axis=3)
    fitter.begin(len(fields))
    fits = [fitter.fit(f"stimulator {k}", fit_grid, record.affine, f) for k, f in enumerate(fields)]
    positions_mm = np.vstack([fit.positions_mm for fit in fits])
    return Coil(
        positions_mm=positions_mm,
        moments=np.vstack([fit.moments for fit in fits]),
        name=stem,
        casing_mm=np.vstack([fit.extent_mm for fit in fits]) if casing is None else _points_of(casing),
        casing=casing,
        covered=_covered(casing, positions_mm),
        notes=(
            f"Read from {path.name}: a field sampled at {_times(record.data.shape[:3])} points, "
            f"{len(fields)} stimulator(s).",
            *_fit_notes(fits),
            *notes,
        ),
        stimulator=np.repeat(np.arange(len(fits)), [len(fit.moments) for fit in fits]),
        stimulators=tuple(Stimulator(waveforms=waveforms) for _ in fits),
        fit_error=max(fit.error for fit in fits),
        sampled_boxes=(_unit_box(record.affine, record.data.shape),),
    )


def _from_tcd(path, fitter):
    record = read_tcd(path)
    _check_points(path, _stacked(e.points_mm for e in record.elements if e.kind != GRID))
    _check_moments(path, _stacked(e.values for e in record.elements if e.kind == DIPOLES))
    surfaces = [TriSurface(s.points_mm, s.faces) for s in record.surfaces]
    for index, surface in enumerate(surfaces):
        _check_casing_size(f"{path}: key coilModels[{index}]", surface.vertices_mm)
    fitter.begin(sum(e.kind != DIPOLES for e in record.elements))
    made = [_part(index, e, record, surfaces, fitter) for index, e in enumerate(record.elements)]
    fits = [fit for _, fit, _ in made if fit is not None]
    described = " ".join(text for text in (record.brand, record.name, record.version) if text)
    facts = {
        "name": path.stem,
        "notes": (
            f"Read from {path.name}" + (f" ({described})." if described else "."),
            *_fit_notes(fits),
            *(note for _, _, notes in made for note in notes),
        ),
        "stimulators": record.stimulators,
        "fit_error": max((fit.error for fit in fits), default=None),
    }
    parts = tuple(part for part, _, _ in made)
    kept = (p.element(e) if e.kind == GRID else e for p, e in zip(parts, record.elements, strict=True))
    return CoilAssembly(
        parts=parts,
        record=replace(record, elements=tuple(kept)),
        casing=None if record.casing is None else surfaces[record.casing],
        facts=facts,
    ).coil()


def _part(index, element, record, surfaces, fitter):
    """(Part, Fit or None, notes) of one element of a ``.tcd`` file."""
    name = element.name or f"element {index}"
    fit, notes, box = None, (), None
    if element.kind == DIPOLES:
        positions, moments, extent = element.points_mm, element.values, element.points_mm
    elif element.kind == GRID:
        fit = fitter.fit(name, fit_grid, element.affine, element.data)
        positions, moments, extent = fit.positions_mm, fit.moments, fit.extent_mm
        box = _unit_box(element.affine, element.data.shape)
    else:
        starts, ends, leads, reading = closed_wires(element.points_mm, element.values)
        fit = fitter.fit(name, fit_wires, starts, ends)
        positions, moments, extent = fit.positions_mm, fit.moments, element.points_mm
        notes = (f"Wires of {name}: points read as the {reading} of each line element.",)
        if leads > 0:
            notes += (f"{name} is not closed: {leads:.1f} mm of straight leads back were added.",)
    part = Part(
        positions_mm=positions,
        moments=moments,
        stimulator=element.stimulator,
        extent_mm=extent,
        casing=None if element.casing is None else surfaces[element.casing],
        deformations=tuple(record.deformations[k] for k in element.deformations),
        name=name,
        sampled_box=box,
    )
    return part, fit, notes


class _Fitter:
    """Fits equivalent dipoles to the parts of one file and tells `progress`, if any, how far it is."""

    def __init__(self, path, spacing_mm, progress):
        self._path, self._spacing_mm, self._progress = path, spacing_mm, progress
        self._parts, self._done = 0, 0

    def begin(self, n_parts):
        """The file has been read; so many fits follow."""
        self._parts = n_parts
        if self._progress is not None:
            self._progress("read", 1.0)

    def fit(self, what, function, first, second):
        """A `Fit` by `fit_grid` or `fit_wires`, or an error that names the file."""
        start = time.perf_counter()
        try:
            result = function(first, second, spacing_mm=self._spacing_mm, progress=self._report)
        except CoilError as error:
            raise CoilError(f"{self._path}, {what}: {error}") from error
        n, took = len(result.moments), time.perf_counter() - start
        _log.info("%s, %s: %d dipoles fitted in %.1f s, error %.2g", self._path, what, n, took, result.error)
        if result.error > POOR_FIT:
            warnings.warn(
                f"{self._path}, {what}: equivalent dipoles reproduce its field to {100 * result.error:.2g} % "
                "only; a smaller spacing of dipoles may help",
                UserWarning,
                stacklevel=5,
            )
        self._report(1.0)
        self._done += 1
        return result

    def _report(self, share):
        """Of the part that is being fitted."""
        if self._progress is not None:
            self._progress("fit", (self._done + share) / self._parts)


def _fit_notes(fits):
    return tuple(
        f"{len(fit.moments)} equivalent dipoles; error of A at points left out of the fit "
        f"{100 * fit.error:.2g} % from {HEAD_MM:g} mm above the windings on, "
        f"{'not known' if fit.near_error is None else f'{100 * fit.near_error:.2g} %'} nearer."
        for fit in fits
    )


def _unit_box(affine, shape):
    """Map from mm to the unit cube whose corners are the outermost samples."""
    scale = np.diag([*(1.0 / (np.array(shape[:3]) - 1)), 1.0])
    return scale @ np.linalg.inv(affine)


def _times(shape):
    return " x ".join(map(str, shape))


def _sidecars(path, stem):
    """Casing, waveforms and notes from the files beside a coil file."""
    casing_path, waveform_path = _sidecar(path, stem, ".stl"), _sidecar(path, stem, ".tsv")
    casing, waveforms, notes = None, (), []
    if casing_path is None:
        notes.append("No casing file: clearance is taken over the dipoles, which lie inside the casing.")
    else:
        casing = _read_casing(casing_path)
        notes.append(f"Casing from {casing_path.name}.")
    if waveform_path is not None:
        waveforms = read_waveforms(waveform_path)
        notes.append(f"Pulse from {waveform_path.name}.")
    return casing, waveforms, notes


def _sidecar(path, stem, suffix):
    """The file beside `path` with a stem and `suffix`, in any case; exact case first."""
    matches = [
        p
        for p in path.parent.iterdir()
        if p.stem.casefold() == stem.casefold() and p.suffix.casefold() == suffix and p.is_file()
    ]
    return min(matches, key=lambda p: (p.stem != stem, p.name), default=None)


def _read_casing(path):
    """The surface of a casing, mm."""
    corners = read_stl(path)
    _check_casing_size(f"casing {path}", corners.reshape(-1, 3))
    vertices, triangles = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return TriSurface(vertices, triangles.reshape(-1, 3))


def _points_of(casing):
    return surface_points(casing.corners_mm)


def _covered(casing, positions_mm):
    """(n,) bool: dipoles that the casing beside a file covers; none where there is none."""
    return np.zeros(len(positions_mm), bool) if casing is None else covers(casing, positions_mm)


def _check_casing_size(what, points):
    span = np.ptp(points, axis=0).max()
    if not 5 <= span <= 2000:
        raise CoilError(f"{what} is {span:g} mm wide; its vertices must be in millimetres")


def _stacked(arrays):
    return np.vstack([np.empty((0, 3)), *arrays])


def _check_moments(path, moments):
    """Refuse dipoles in another unit than A m^2 per A."""
    total = np.linalg.norm(moments, axis=1).sum()
    if not total <= MOST_MOMENT:
        raise CoilError(
            f"{path}: the dipole moments add up to {total:.3g} m^2, which no TMS coil reaches (limit "
            f"{MOST_MOMENT:g}); they must be A m^2 per ampere of coil current"
        )


def _check_points(path, points_mm):
    """Refuse the dipoles and wires of a .tcd that are given in metres."""
    span = np.ptp(points_mm, axis=0).max() if len(points_mm) else 0.0
    if 0 < span < SMALLEST_MM:
        raise CoilError(f"{path}: the points of the coil span {span:g} mm; points of a .tcd are millimetres")


def _missing(path):
    if path.suffix or len(path.parts) > 1:
        known = f"give a .ccd, .tcd or .nii.gz file or a built-in coil: {_builtins()}"
        return f"coil file {path} does not exist; {known}"
    close = difflib.get_close_matches(str(path).casefold(), BUILTIN_COILS, n=1)
    close += sorted(file.name for file in path.parent.glob("*") if file.name.startswith(f"{path.name}."))
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no coil is named {str(path)!r} and no such file exists; built-in coils: {_builtins()}.{hint}"


def _builtins():
    return ", ".join(BUILTIN_COILS)
