"""Coils written to files."""

from pathlib import Path

import numpy as np

from efield.errors import CoilError
from efield.io.ccd import CcdRecord, write_ccd
from efield.io.stimulator import Stimulator
from efield.io.tcd import DIPOLES, Element, TcdRecord, write_tcd
from efield.units import to_m

__all__ = ["save_coil"]


def save_coil(coil, path):
    """Write a coil's dipoles.

    Parameters
    ----------
    coil : Coil
        As it is: at its settings and with the weights of its stimulators.
    path : path-like
        ``.ccd`` (one stimulator) or ``.tcd`` (an element for each stimulator). Casings are not written: they
        are points here, no surface.

    Raises
    ------
    CoilError
        Another suffix, or several stimulators in a ``.ccd``, which knows only one.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.casefold()
    if suffix == ".ccd":
        _save_ccd(coil, path)
    elif suffix == ".tcd":
        _save_tcd(coil, path)
    else:
        raise CoilError(f"{path}: coils are written as .ccd or .tcd, not {suffix or 'without a suffix'!r}")


def _save_ccd(coil, path):
    if coil.n_stimulators > 1:
        raise CoilError(
            f"{path}: a .ccd file has one stimulator, coil {coil.name!r} has {coil.n_stimulators}; "
            "write a .tcd"
        )
    header = {} if coil.max_didt is None else {"dIdtmax": repr(coil.max_didt / 1e6)}
    for stimulator in coil.stimulators:
        if stimulator.displayed_max_didt is not None:
            header["dIdtstim"] = repr(stimulator.displayed_max_didt / 1e6)
        if stimulator.name:
            header["stimulator"] = _plain(stimulator.name)
    header["coilname"] = _plain(coil.name)
    write_ccd(path, CcdRecord(to_m(coil.positions_mm), coil.moments, f"{path.name} version 1.0", header))


def _save_tcd(coil, path):
    drives = np.zeros(len(coil.moments), int) if coil.stimulator is None else coil.stimulator
    stimulators = coil.stimulators or tuple(Stimulator() for _ in range(coil.n_stimulators))
    elements = [
        Element(DIPOLES, int(k), coil.positions_mm[drives == k], coil.moments[drives == k])
        for k in np.unique(drives)
        if coil.moments[drives == k].any()
    ]
    write_tcd(path, TcdRecord(tuple(elements), tuple(map(_named, stimulators)), name=coil.name))


def _named(stimulator):
    """The format wants at least one key of a stimulator."""
    known = stimulator.name or stimulator.brand or stimulator.max_didt or stimulator.waveforms
    return stimulator if known else Stimulator("unknown")


def _plain(text):
    """Text that survives a .ccd header."""
    return " ".join(text.replace(";", " ").replace("=", " ").split())
