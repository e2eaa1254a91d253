"""Coils written to files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from efield.errors import CoilError
from efield.io.ccd import CcdRecord, write_ccd
from efield.io.stimulator import Stimulator, write_waveforms
from efield.io.stl import write_stl
from efield.io.tcd import DIPOLES, LINES, Element, Surface, TcdRecord, write_tcd
from efield.units import to_m

__all__ = ["save_coil"]


def save_coil(coil, path, *, wires=True):
    """Write a coil with all that the format has a place for.

    Parameters
    ----------
    coil : Coil
        With the weights of its stimulators.
    path : path-like
        ``.ccd``: the dipoles of one stimulator, with movable parts as they are set; beside it ``<stem>.stl``,
        the casing, and ``<stem>.tsv``, the pulses, where known. ``.tcd``: an element for each part of a
        ``.tcd`` coil, which opens as it is set and stays movable, or for each stimulator of another.
    wires : bool
        Whether the wires of a ``.tcd`` coil stay wires in another; otherwise their equivalent dipoles are
        written.

    Returns
    -------
    tuple of str
        What the coil has and the files do not, in words.

    Raises
    ------
    CoilError
        Another suffix, or several stimulators in a ``.ccd``, which knows only one.
    OutputError
        A file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.casefold()
    if suffix == ".ccd":
        left_out = _save_ccd(coil, path)
    elif suffix == ".tcd":
        left_out = _save_tcd(coil, path, wires)
    else:
        raise CoilError(f"{path}: coils are written as .ccd or .tcd, not {suffix or 'without a suffix'!r}")
    if coil.casing is None and coil.casing_mm is not None and coil.assembly is None:
        left_out = ("the casing: it is known as points, not as a surface", *left_out)
    return left_out


def _save_ccd(coil, path):
    if coil.n_stimulators > 1:
        raise CoilError(
            f"{path}: a .ccd file has one stimulator, coil {coil.name!r} has {coil.n_stimulators}; "
            "write a .tcd"
        )
    header = {} if coil.max_didt is None else {"dIdtmax": repr(coil.max_didt / 1e6)}
    left_out, pulses = [], []
    for stimulator in _reaching(coil):
        if stimulator.displayed_max_didt is not None:
            header["dIdtstim"] = repr(stimulator.displayed_max_didt / 1e6)
        for key, text in (("stimulator", stimulator.name), ("brand", stimulator.brand)):
            if text:
                header[key] = _plain(text)
        pulses = [w for w in stimulator.waveforms if np.array_equal(w.time, stimulator.waveforms[0].time)]
        left_out += [
            f"the pulse {w.name!r}: it is recorded at other times than the first"
            for w in stimulator.waveforms
            if w not in pulses
        ]
    header["coilname"] = _plain(coil.name)
    write_ccd(path, CcdRecord(to_m(coil.positions_mm), coil.moments, f"{path.name} version 1.0", header))
    if coil.casing is not None:
        write_stl(path.with_suffix(".stl"), coil.casing.corners_mm)
    if pulses:
        write_waveforms(path.with_suffix(".tsv"), pulses)
    if coil.deformations:
        left_out.append(f"the movable parts: they stay as they are set, {_set(coil)}")
    if coil.fit_error is not None:
        left_out.append("wires and sampled fields: their equivalent dipoles are written")
    return tuple(left_out)


def _save_tcd(coil, path, wires):
    stimulators = _reaching(coil)
    if coil.assembly is None:
        record, left_out = _of_dipoles(coil, stimulators), []
    else:
        record, left_out = _of_parts(coil, stimulators, wires)
    write_tcd(path, _without_idle(record, coil.didt_weights))
    if coil.sampled_boxes:
        left_out.append("sampled fields: their equivalent dipoles are written")
    if any(s.displayed_max_didt is not None for s in stimulators):
        left_out.append("the largest dI/dt that the device displays: a .tcd has no place for it")
    return tuple(left_out)


def _of_dipoles(coil, stimulators):
    """Record of an element for each stimulator that is on, in one casing."""
    drives = np.zeros(len(coil.moments), int) if coil.stimulator is None else coil.stimulator
    elements = tuple(
        Element(DIPOLES, int(k), coil.positions_mm[drives == k], coil.moments[drives == k])
        for k in np.unique(drives)
        if coil.moments[drives == k].any()
    )
    casing = coil.casing
    surfaces = () if casing is None else (Surface(casing.vertices_mm, casing.triangles),)
    return TcdRecord(
        elements,
        tuple(map(_named, stimulators)),
        name=coil.name,
        casing=None if casing is None else 0,
        surfaces=surfaces,
    )


def _of_parts(coil, stimulators, wires):
    """Record of a coil's parts at its weights, initially as they are set; and what it leaves out."""
    record, parts = coil.assembly.record, coil.assembly.parts
    weights = coil.didt_weights or (1.0,) * len(stimulators)
    elements, kept, left_out = [], [0], []
    for index, (element, part) in enumerate(zip(record.elements, parts, strict=True), 1):
        weight = weights[element.stimulator]
        if weight == 0 or not part.moments.any():
            left_out.append(f"part {part.name!r} and its casing: it is switched off")
            continue
        if element.kind == LINES and not (wires and weight == 1):
            left_out.append(f"the wires of {part.name!r}: their equivalent dipoles are written")
            element = part.element(element)
        elements.append(element if weight == 1 else replace(element, values=weight * element.values))
        kept.append(index)
    settings = dict(zip((p.name for p in coil.deformations), coil.settings, strict=True))
    ranges = [replace(r, initial=settings.get(f"deform{k}", r.initial)) for k, r in enumerate(record.ranges)]
    groups = [tuple(kept.index(k) for k in g if k in kept) for g in record.self_intersection]
    record = replace(
        record,
        elements=tuple(elements),
        stimulators=stimulators,
        ranges=tuple(ranges),
        self_intersection=tuple(g for g in groups if len(g) > 1),
    )
    return record, left_out


def _without_idle(record, weights):
    """The record without stimulators that are switched off: what they reach limits nothing."""
    on = [k for k in range(len(record.stimulators)) if not weights or weights[k] != 0]
    elements = tuple(replace(e, stimulator=on.index(e.stimulator)) for e in record.elements)
    return replace(record, elements=elements, stimulators=tuple(record.stimulators[k] for k in on))


def _reaching(coil):
    """Stimulators with the dI/dt of the written coil's ampere at which each reaches its own largest."""
    known = coil.stimulators or (Stimulator(),) * coil.n_stimulators
    weights = coil.didt_weights or (1.0,) * len(known)
    return tuple(
        replace(s, max_didt=_over(s.max_didt, w), displayed_max_didt=_over(s.displayed_max_didt, w))
        for s, w in zip(known, weights, strict=True)
    )


def _over(didt, weight):
    return didt if didt is None or weight == 0 else didt / abs(weight)


def _named(stimulator):
    """The format wants at least one key of a stimulator."""
    known = stimulator.name or stimulator.brand or stimulator.max_didt or stimulator.waveforms
    return stimulator if known else Stimulator("unknown")


def _set(coil):
    """Settings of the movable parts in words."""
    pairs = zip(coil.deformations, coil.settings, strict=True)
    return ", ".join(f"{p.name} = {value:g} {p.unit}" for p, value in pairs)


def _plain(text):
    """Text that survives a .ccd header."""
    return " ".join(text.replace(";", " ").replace("=", " ").split())
