"""Coils by name or file."""

import difflib
from pathlib import Path
from types import MappingProxyType

import numpy as np

from efield.errors import CoilError
from efield.io.ccd import read_ccd
from efield.io.stl import read_stl
from efield.model.coil import Coil
from efield.model.coil_geometry import magstim_figure8_70mm
from efield.units import to_mm

__all__ = ["BUILTIN_COILS", "load_coil"]

BUILTIN_COILS = MappingProxyType({"figure8-70mm": magstim_figure8_70mm})
"""Names of the built-in coils and the functions that build them."""

UNSUPPORTED = {
    ".tcd": "a .tcd coil",
    ".nii": "a sampled A-field",
    ".nii.gz": "a sampled A-field",
}

CASING_SPACING_MM = 5.0
"""Casing triangles larger than this are sampled inside too: clearance is taken over points."""


def load_coil(source):
    """The coil that `source` names.

    Parameters
    ----------
    source : str, path-like or Coil
        A built-in name (`BUILTIN_COILS`), a ``.ccd`` file, or a `Coil`, which is returned as it is.
        A file ``<stem>.stl`` beside the ``.ccd``, in any case, is its casing (mm).

    Returns
    -------
    Coil

    Raises
    ------
    CoilError
        Unknown name, missing file, a format that is not supported, or a casing that is not in mm.
    FormatError
        A ``.ccd`` or casing file that cannot be understood.
    """
    if isinstance(source, Coil):
        return source
    if not isinstance(source, str | Path):
        raise CoilError(f"a coil is a name, a path or a Coil, not {type(source).__name__}: {source!r}")
    name = str(source).strip().casefold()
    if name in BUILTIN_COILS:
        return BUILTIN_COILS[name]()
    path = Path(source)
    if path.is_dir():
        raise CoilError(f"{path} is a folder; name a .ccd file in it or a built-in coil: {_builtins()}")
    if not path.exists():
        raise CoilError(_missing(path))
    for suffix, kind in UNSUPPORTED.items():
        if name.endswith(suffix):
            raise CoilError(
                f"{path} is {kind}, which efield cannot use yet; use the .ccd file of the same coil, or a "
                f"built-in coil: {_builtins()}"
            )
    return _from_ccd(path)


def _from_ccd(path):
    record = read_ccd(path)
    source = ", ".join(
        f"{key}={record.get(key)}" for key in ("brand", "coilname", "stimulator") if record.get(key)
    )
    notes = [f"Read from {path.name}" + (f" ({source})." if source else ".")]
    casing_path = _sidecar(path, ".stl")
    if casing_path is None:
        notes.append("No casing file: clearance is taken over the dipoles, which lie inside the casing.")
    else:
        notes.append(f"Casing from {casing_path.name}.")
    return Coil(
        positions_mm=to_mm(record.positions_m),
        moments=record.moments,
        name=path.stem,
        casing_mm=None if casing_path is None else _read_casing(casing_path),
        max_didt=None if record.didt_max is None else record.didt_max * 1e6,
        notes=tuple(notes),
    )


def _missing(path):
    if path.suffix or len(path.parts) > 1:
        return f"coil file {path} does not exist; give a .ccd file or a built-in coil: {_builtins()}"
    close = difflib.get_close_matches(str(path).casefold(), BUILTIN_COILS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no coil is named {str(path)!r} and no such file exists; built-in coils: {_builtins()}.{hint}"


def _builtins():
    return ", ".join(BUILTIN_COILS)


def _sidecar(path, suffix):
    """The file beside `path` with the same stem and `suffix`, in any case; exact case first."""
    matches = [
        p
        for p in path.parent.iterdir()
        if p.stem.casefold() == path.stem.casefold() and p.suffix.casefold() == suffix and p.is_file()
    ]
    return min(matches, key=lambda p: (p.stem != path.stem, p.name), default=None)


def _read_casing(path):
    """(n, 3) points of a casing surface, mm: its corners and, on large triangles, points between."""
    corners = read_stl(path)
    span = np.ptp(corners.reshape(-1, 3), axis=0).max()
    if not 5 <= span <= 2000:
        raise CoilError(f"casing {path} is {span:g} mm wide; its vertices must be in millimetres")
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    divisions = np.maximum(1, np.ceil(edges / CASING_SPACING_MM).astype(int))
    samples = [_lattice(n) @ corners[divisions == n] for n in np.unique(divisions)]
    return np.unique(np.vstack([s.reshape(-1, 3) for s in samples]), axis=0)


def _lattice(n):
    """(m, 3) barycentric coordinates of a triangle's corners and of points 1/n of an edge apart."""
    i, j = np.array([(i, j) for i in range(n + 1) for j in range(n + 1 - i)]).T
    return np.stack([i, j, n - i - j], axis=1) / n
