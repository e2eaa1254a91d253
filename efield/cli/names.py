"""What a shell completes beside commands and options: paths, and names of what is built in."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem


class PathOrName(click.types.StringParamType):
    """Text that is a path or one of some names.

    Parameters
    ----------
    names : callable, optional
        Returns the names; called only to complete, so that it may import what is slow.
    """

    def __init__(self, names=tuple):
        self.names = names

    def shell_complete(self, ctx, param, incomplete):
        """Names, unless a path begins so: shells offer either the one or the other."""
        found = [name for name in self.names() if name.startswith(incomplete)]
        if found and not (incomplete and _any_path(incomplete)):
            return [CompletionItem(name) for name in found]
        return [CompletionItem(incomplete, type="file")]


def _any_path(start):
    path = Path(start).expanduser()
    folder, stem = (path, "") if start.endswith("/") else (path.parent, path.name)
    try:
        return any(entry.name.startswith(stem) for entry in folder.iterdir())
    except OSError:
        return False


def _heads():
    from efield.model.heads import BUILTIN_HEADS

    return BUILTIN_HEADS


def _coils():
    from efield.model.coil_folders import coil_files
    from efield.model.coil_library import BUILTIN_COILS

    return [*BUILTIN_COILS, *(path.name for path in coil_files())]


def _targets():
    from efield.model.named_targets import NAMED_TARGETS

    return list(NAMED_TARGETS)


PATH = PathOrName()
HEAD = PathOrName(_heads)
COIL = PathOrName(_coils)
TARGET = PathOrName(_targets)
