"""Where a number comes from: inputs by hash, settings, versions."""

import datetime
import importlib.metadata
import platform
from dataclasses import asdict

from efield.fem.assemble import DADT_RULE
from efield.tissues import TISSUE_NAMES
from efield.version import version

_PACKAGES = ("numpy", "scipy", "numba", "pyamg", "meshio", "nibabel")


def provenance(head, coil, *, element_order=1, files=(), **settings):
    """Provenance of a run.

    Parameters
    ----------
    head : HeadModel
    coil : Coil
    element_order : int
    files : sequence of InputFile
        Other files that the numbers depend on: masks, landmarks, maps, placements.
    **settings
        What else a reader needs to repeat the run, plain values: ``search={...}``, ...

    Returns
    -------
    dict
        Deterministic but for the key ``run``: time, machine, versions of other packages.
    """
    return {
        "efield": version(),
        "head": head.name,
        "space": head.space,
        "head_sha256": head.sha256,
        "n_nodes": len(head.nodes_mm),
        "n_tets": len(head.tets),
        "coil": coil.name,
        "coil_sha256": coil.sha256,
        "n_dipoles": len(coil.positions_mm),
        "conductivity": {TISSUE_NAMES.get(t, str(t)): v for t, v in head.tag_conductivity.items()},
        **({} if head.anisotropy is None else {"anisotropy": head.anisotropy}),
        "element_order": element_order,
        "dadt_rule": DADT_RULE,
        **({"files": [asdict(file) for file in files]} if files else {}),
        **settings,
        "run": run_info(),
    }


def run_info():
    """What differs between runs and machines."""
    return {
        "finished_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
