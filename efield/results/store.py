"""A result as a folder: written whole or not at all, and read back.

The files are first written into a temporary folder inside it and then moved one by one,
``result.json`` last: a folder with a ``result.json`` is complete, and an interrupted run leaves
no half-written file.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from efield.errors import FormatError, OutputError
from efield.io.fields import write_field
from efield.io.gmsh_views import write_coil_geo, write_view_options
from efield.io.navigation.records import PoseRecord
from efield.results.outputs import check_output
from efield.results.scene import write_scene
from efield.results.tables import write_best, write_candidate_table, write_candidates
from efield.tissues import TISSUE_TAGS

RESULT = "result.json"
CANDIDATES = "candidates.npz"
SCENE = "scene.npz"
FIELD_FILES = ("field.vtu", "field.msh", "field.msh.opt", "coil.geo")
FILES = (CANDIDATES, "candidates.csv", "best.csv", *FIELD_FILES, "scalp.png", SCENE, RESULT)
"""Every file a result folder can hold, in the order they are put in place."""


def save(result, directory):
    """Write a result into a folder, replacing an earlier result there.

    ``result.json``; for an optimization ``candidates.npz`` (every placement of the grid),
    ``candidates.csv`` (best angle per position), ``best.csv``, ``scalp.png``; where the result
    holds them, ``scene.npz`` (the coil and the target's elements, for reports), and of its field
    ``field.vtu`` (ParaView), ``field.msh`` (Gmsh, SimNIBS), and ``coil.geo`` with ``field.msh.opt``, by
    which Gmsh shows it on the cortex with the coil.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        Something could not be written.
    """
    directory = check_output(directory)
    text = result.to_json()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".efield-", dir=directory) as work:
            _write_all(result, text, Path(work))
            (directory / RESULT).unlink(missing_ok=True)
            for name in FILES:
                written = Path(work, name)
                if written.exists():
                    os.replace(written, directory / name)
                else:  # of an earlier result: it would not belong to this one
                    (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write results to {directory}: {error}") from error
    return directory


def _write_all(result, text, folder):
    (folder / RESULT).write_text(text, encoding="utf-8")
    if result.candidates is not None:
        from efield.results.picture import save_scalp_picture

        write_candidates(result.candidates, folder / CANDIDATES)
        write_candidate_table(result.candidates, folder / "candidates.csv")
        write_best(result, folder / "best.csv")
        save_scalp_picture(result, folder / "scalp.png")
    if result.scene is not None:
        write_scene(result.scene, folder / SCENE)
    if result.field is not None:
        _write_field(result, folder)


def _write_field(result, folder):
    head = result.field.head
    for name in ("field.vtu", "field.msh"):
        write_field(folder / name, head, result.field.E)
    write_coil_geo(folder / "coil.geo", [PoseRecord(result.placement.matsimnibs, "coil")])
    brain = np.intersect1d(head.tags, [TISSUE_TAGS["white_matter"], TISSUE_TAGS["grey_matter"]])
    tags = brain if len(brain) else np.unique(head.tags)
    write_view_options(folder / "field.msh", tags=tags, fields=("E", "magnE"), merge=("coil.geo",))


def load(kind, directory):
    """Read a result folder as `kind` (`OptimizeResult` or `SimulateResult`), without its field."""
    path = Path(directory) / RESULT
    body = read_result_json(path)
    if body["schema"] != kind.schema:
        raise FormatError(f"{path} holds {body['schema']!r}, not {kind.schema!r}")
    try:
        return kind._from_json(body, Path(directory))
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path} lacks or misnames a key of {kind.schema}: {error}") from error


def read_result_json(path):
    """Parse a ``result.json`` and make sure that it is one.

    Raises
    ------
    FormatError
        Missing, not JSON, or without a ``schema`` of efield.
    """
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error}); was it cut short?") from error
    if not isinstance(body, dict) or not str(body.get("schema", "")).startswith("efield."):
        raise FormatError(f"{path} is not a result of efield: it has no key 'schema' that says so")
    return body
