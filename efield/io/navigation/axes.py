"""The coil axes of every navigation system, in one table.

efield's own are those of SimNIBS's matsimnibs: y along ``pos_ydir``, z into the head, x = y cross z.
A row says which of the system's axes are x, y and z of matsimnibs. All systems place the origin at the
coil's face under its centre, and their rotations are right-handed. docs/navigation.md shows the same
table with its sources.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From a frame that counts towards left and posterior (DICOM) to RAS, and back."""


@dataclass(frozen=True)
class Axes:
    """How a system's coil axes relate to those of matsimnibs.

    Attributes
    ----------
    x, y, z : str
        The system's axis that is x, y, z of matsimnibs, such as ``"-z"``.
    note : str
        Where that is known from.
    """

    x: str
    y: str
    z: str
    note: str

    @property
    def matrix(self):
        """(4, 4) signed permutation R: ``matsimnibs = system @ R`` and ``system = matsimnibs @ R.T``."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for column, axis in enumerate((self.x, self.y, self.z)):
            matrix["xyz".index(axis[-1]), column] = -1.0 if axis.startswith("-") else 1.0
        return matrix


AXES = MappingProxyType(
    {
        "simnibs": Axes("x", "y", "z", "the definition"),
        "localite": Axes("z", "-y", "x", "x into the head; SimNIBS and pyNIBS agree"),
        "brainsight": Axes("-x", "y", "-z", "z out of the head; SimNIBS and pyNIBS agree"),
        "softaxic": Axes(
            "-y", "x", "z", "SimNIBS's reader, tested on a file of Softaxic; TIDE's writer differs"
        ),
        "ant": Axes("x", "y", "z", "the file itself states CoilAxesConvention simnibs"),
        "invesalius": Axes("y", "x", "-z", "x from the handle to the tip, z out of the head: its own source"),
        "navinibs": Axes("-x", "y", "-z", "handle along -y, z out of the head: its own source"),
    }
)
"""By name of the system."""


def to_matsimnibs(system, pose):
    """A pose in a system's coil axes as matsimnibs."""
    return np.asarray(pose, dtype=np.float64) @ AXES[system].matrix


def from_matsimnibs(system, matsimnibs):
    """A matsimnibs in a system's coil axes."""
    return np.asarray(matsimnibs, dtype=np.float64) @ AXES[system].matrix.T
