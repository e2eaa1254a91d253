"""What pictures of a result need beside its numbers: the coil, and which elements are the target."""

from dataclasses import dataclass

import numpy as np

from efield.errors import FormatError
from efield.model.arrays import read_only


@dataclass(frozen=True, eq=False)
class Scene:
    """The coil in its own frame, and the target's elements.

    Parameters
    ----------
    positions_mm, moments : (n, 3) arrays
        Dipoles, as of :class:`efield.Coil`.
    target_elements : (k,) int array
        Tetrahedra of the head.
    casing_mm : (m, 3) array or None
        Points of the casing, where known.
    """

    positions_mm: np.ndarray
    moments: np.ndarray
    target_elements: np.ndarray
    casing_mm: np.ndarray | None = None

    def __post_init__(self):
        for name in ("positions_mm", "moments", "casing_mm"):
            value = getattr(self, name)
            if value is not None:
                if np.ndim(value) != 2 or np.shape(value)[1] != 3:
                    raise FormatError(f"{name} of a scene has the shape {np.shape(value)}, not (n, 3)")
                object.__setattr__(self, name, read_only(value, np.float64))
        if np.shape(self.moments) != np.shape(self.positions_mm):
            raise FormatError("a scene has as many moments as positions")
        object.__setattr__(self, "target_elements", read_only(self.target_elements, np.int64))

    @classmethod
    def of(cls, coil, elements):
        """Of a coil and the elements of a target."""
        return cls(coil.positions_mm, coil.moments, np.asarray(elements), coil.casing_mm)


def write_scene(scene, path):
    """Write a scene as ``.npz``."""
    arrays = {name: value for name, value in vars(scene).items() if value is not None}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_scene(path):
    """Read a scene; None where there is no such file, as in results of efield before it had scenes.

    Raises
    ------
    FormatError
        Damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Scene(**{name: arrays[name] for name in arrays.files})
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, zlib, NumPy and our own checks each raise their kind
        raise FormatError(f"cannot read {path}: {error}; was it cut short?") from error
