"""Plain records that parsers fill and writers read."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class InputFile:
    """A file that numbers depend on.

    Attributes
    ----------
    role : str
        What it was read for, such as "mask".
    name : str
        Without its folders.
    sha256 : str
        Of its bytes.
    """

    role: str
    name: str
    sha256: str

    @classmethod
    def of(cls, role, path):
        """The file at a path."""
        with open(path, "rb") as opened:
            return cls(role, Path(path).name, hashlib.file_digest(opened, "sha256").hexdigest())


def _no_triangles():
    return np.empty((0, 3), np.int32)


def _no_tags():
    return np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class MeshRecord:
    """A tetrahedral mesh as a file holds it, not yet checked as a head.

    Attributes
    ----------
    nodes : (n_nodes, 3) float64 array
        Coordinates in the unit of the file.
    tets : (n_tets, 4) int32 array
        Zero-based node indices.
    tet_tags : (n_tets,) int32 array
        Region of each tetrahedron.
    triangles : (n_triangles, 3) int32 array
    tri_tags : (n_triangles,) int32 array
    names : dict of int to str
        Region names of the file, by tag.
    """

    nodes: np.ndarray
    tets: np.ndarray
    tet_tags: np.ndarray
    triangles: np.ndarray = field(default_factory=_no_triangles)
    tri_tags: np.ndarray = field(default_factory=_no_tags)
    names: dict = field(default_factory=dict)
