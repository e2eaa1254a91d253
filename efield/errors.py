"""Exceptions of efield, one tree.

::

    EfieldError
    ├── MeshError          (ValueError)    head mesh: geometry, tags, units, conductivity
    ├── CoilError          (ValueError)    coil model or coil library
    ├── PlacementError     (ValueError)    coil pose, or a pose inside the head
    ├── TargetError        (ValueError)    target region
    ├── FrameError         (ValueError)    transform between frames: missing, or mismatched
    ├── LandmarkError      (ValueError)    landmarks and measures on the scalp
    ├── SearchError        (ValueError)    search region, objective or constraints
    ├── CohortError        (ValueError)    a table of subjects, or a folder of results of other settings
    ├── FormatError        (ValueError)    a file that cannot be understood
    ├── OutputError        (OSError)       a result that cannot be written
    ├── ConvergenceError   (RuntimeError)  the linear solver did not reach its tolerance
    ├── ResourceError      (MemoryError)   the run would not fit this machine
    └── MissingExtraError  (ImportError)   an optional package is not installed

Each message names the offending value, where it is, and what to do about it.
"""

__all__ = [
    "CohortError",
    "CoilError",
    "ConvergenceError",
    "EfieldError",
    "FormatError",
    "FrameError",
    "LandmarkError",
    "MeshError",
    "MissingExtraError",
    "OutputError",
    "PlacementError",
    "ResourceError",
    "SearchError",
    "TargetError",
]


class EfieldError(Exception):
    """Base of every error efield raises on purpose."""


class MeshError(EfieldError, ValueError):
    """The head mesh, its tissue tags, its units or its conductivity cannot be used."""


class CoilError(EfieldError, ValueError):
    """The coil model cannot be used, or no coil has that name."""


class PlacementError(EfieldError, ValueError):
    """The coil pose is not a rigid pose, or puts the coil inside the head."""


class TargetError(EfieldError, ValueError):
    """The target region is empty, outside the head, or unknown."""


class FrameError(EfieldError, ValueError):
    """A transform between frames is missing, singular, or between other frames than its use."""


class LandmarkError(EfieldError, ValueError):
    """Landmarks of the scalp are missing, swapped or off the head, or a mark lies beyond its tape."""


class SearchError(EfieldError, ValueError):
    """The search region, the objective or the constraints cannot be used."""


class CohortError(EfieldError, ValueError):
    """A table of subjects or a cohort's settings cannot be used, or its folder holds other results."""


class FormatError(EfieldError, ValueError):
    """A file does not follow its format; the message names file, place and remedy."""


class OutputError(EfieldError, OSError):
    """A result cannot be written where it was asked for."""


class ConvergenceError(EfieldError, RuntimeError):
    """The linear solver stopped short of its tolerance; no field is returned."""


class ResourceError(EfieldError, MemoryError):
    """The run needs more memory than the machine has; says what to reduce."""


class MissingExtraError(EfieldError, ImportError):
    """An optional package is missing; names the pip extra that brings it."""
