"""Write a file completely or not at all."""

import os
import uuid
from contextlib import contextmanager
from pathlib import Path

from efield.errors import OutputError


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; move it there only if the block succeeds.

    The temporary file keeps the suffixes, since many writers choose their format by them.
    When the block fails or is interrupted, it is removed and `path` stays as it was.

    Parameters
    ----------
    path : str or path-like
        Where the file must end up; its folder must exist.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OutputError
        The folder does not exist or cannot be written, `path` is a folder, the disk is full.
    """
    path = Path(path)
    temporary = _reserve(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise _cannot_write(path, error) from error
        raise


def _reserve(path):
    """Create an empty file in the folder of `path`, readable like any new file."""
    if not path.name or path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give a file name inside it")
    temporary = path.with_name(f".{path.stem[:40]}.{uuid.uuid4().hex}{''.join(path.suffixes)}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise _cannot_write(path, error) from error
    return temporary


def _cannot_write(path, error):
    reason = error.strerror or str(error)
    if not path.parent.is_dir():
        return OutputError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    return OutputError(f"cannot write {path}: {reason}; choose a folder you may write to, with space left")
