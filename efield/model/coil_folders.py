"""Where users keep coil files: folders of their own and those that SimNIBS brings."""

import importlib.util
import os
from pathlib import Path

from efield.errors import CoilError

__all__ = ["COIL_PATH", "coil_files", "coil_folders", "find_coil"]

COIL_PATH = "EFIELD_COIL_PATH"
"""Environment variable: folders of coil files, separated as in PATH; searched first, subfolders too."""

SUFFIXES = (".ccd", ".tcd", ".nii.gz", ".nii")

INSIDE = ("simnibs/resources/coil_models", "simnibs/resources/ccd-files", "simnibs/ccd-files")
"""Below site-packages: SimNIBS 4, 3.2 and earlier."""

INSTALLED = (
    "*/lib/python3*/site-packages",  # SimNIBS-4.1/simnibs_env/..., macOS and Linux
    "*/Lib/site-packages",  # Windows
)


def coil_folders():
    """Folders to look for coils in, those that exist, most specific first.

    `COIL_PATH`; then SimNIBS where Python finds it; then SimNIBS folders in the home folder, in
    ``~/Applications``, ``/Applications``, ``/opt``, and ``%LOCALAPPDATA%`` and its ``Programs``.

    Returns
    -------
    list of pathlib.Path
    """
    own = [Path(text).expanduser() for text in os.environ.get(COIL_PATH, "").split(os.pathsep) if text]
    sites = [_site_of_simnibs(), *(s for root in _roots() for s in _sites(root))]
    simnibs = [site / inside for site in sites if site is not None for inside in INSIDE]
    return list(dict.fromkeys(folder for folder in [*own, *simnibs] if folder.is_dir()))


def coil_files():
    """Coil files in `coil_folders`, as a list of paths in the folders' order."""
    found = []
    for folder in coil_folders():
        files = (p for p in folder.rglob("*") if p.name.casefold().endswith(SUFFIXES) and p.is_file())
        found.extend(sorted(files))
    return found


def find_coil(name):
    """The file in the user's coil folders with this file name, or this name without its suffix.

    Parameters
    ----------
    name : str
        Case does not matter. A name with a folder in it is not looked for.

    Returns
    -------
    pathlib.Path or None

    Raises
    ------
    CoilError
        Several files of that name in one format, in different folders.
    """
    wanted = name.strip().casefold()
    if not wanted or Path(name).name != name.strip():
        return None
    matches = [p for p in coil_files() if wanted in (p.name.casefold(), _stem(p).casefold())]
    # A .ccd holds the dipoles themselves; the others of that name are made from it.
    matches.sort(key=lambda p: next(i for i, s in enumerate(SUFFIXES) if p.name.casefold().endswith(s)))
    same = [p for p in matches if p.name.casefold() == matches[0].name.casefold()]
    if len(same) > 1:
        raise CoilError(
            f"{name!r} names {len(same)} files: {', '.join(map(str, same))}; give the path of one"
        )
    return matches[0] if matches else None


def _stem(path):
    suffix = next(s for s in SUFFIXES if path.name.casefold().endswith(s))
    return path.name[: -len(suffix)]


def _site_of_simnibs():
    try:
        spec = importlib.util.find_spec("simnibs")  # looks it up, imports nothing
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None


def _roots():
    home, local = Path.home(), os.environ.get("LOCALAPPDATA")
    roots = [home, home / "Applications", Path("/Applications"), Path("/opt")]
    return roots + ([Path(local), Path(local) / "Programs"] if local else [])


def _sites(root):
    """site-packages of the SimNIBS installations in a folder, the newest version first."""
    try:
        installations = sorted(root.glob("[Ss]im[Nn][Ii][Bb][Ss]*"), reverse=True)
    except OSError:  # a folder that may not be read
        return []
    return [
        site for folder in installations for pattern in INSTALLED for site in sorted(folder.glob(pattern))
    ]
