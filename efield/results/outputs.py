"""Can a result be written there? Asked before a long computation, not after it."""

import os
import tempfile
from pathlib import Path

from efield.errors import OutputError


def check_output(directory):
    """Make sure, before a long computation, that a result can be written to a folder.

    The folder need not exist; nothing is left behind.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The path is a file, or the folder (or the one it would be made in) is not writable.
    """
    directory = Path(directory)
    existing = directory
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"cannot write results to {directory}: {existing} is not a folder")
    _probe(existing, directory)
    return directory


def check_output_file(path):
    """The same as :func:`check_output` for one file; its folder must exist."""
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give a file name")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    _probe(path.parent, path)
    return path


def _probe(folder, wanted):
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {wanted}: {error.strerror or error}; choose a folder you may write to"
        ) from error
