"""A subject's folder ``m2m_<subject>``, as SimNIBS's CHARM leaves it; files are read when asked for.

::

    m2m_ernie/
    ├── ernie.msh
    ├── T1.nii.gz
    ├── toMNI/            MNI2Conform_nonl.nii.gz, Conform2MNI_nonl.nii.gz, MNI2conform_{6,12}DOF.txt
    ├── surfaces/         {lh,rh}.{central,pial,white,sphere.reg}.gii
    └── eeg_positions/    *.csv

"Conform" is the subject's own space. CHARM 4 writes the two non-linear maps; the affine ones come from
earlier versions.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from efield.errors import FormatError, FrameError, MeshError
from efield.io.eeg import read_eeg_positions
from efield.io.gifti import read_surface
from efield.io.nifti import read_volume
from efield.io.pose import read_pose
from efield.io.warp import read_warp
from efield.model.arrays import FieldsOnlyPickle
from efield.model.surface import TriSurface
from efield.model.transforms import Affine, MniTransform, Warp

TRANSFORMS = ("nonlinear", "12dof", "6dof")
"""Kinds of transform between MNI and subject space."""

AFFINES = {"12dof": "MNI2conform_12DOF", "6dof": "MNI2conform_6DOF"}
"""Files that map MNI to subject directly."""


@dataclass(frozen=True, eq=False)
class SubjectFolder(FieldsOnlyPickle):
    """A folder ``m2m_<subject>``.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MeshError
        The folder has another name.
    """

    path: Path

    def __post_init__(self):
        if not is_subject_folder(self.path):
            raise MeshError(
                f"{self.path} is a folder, but not named m2m_<subject>; give that folder or a mesh file"
            )

    @property
    def subject(self):
        """Name of the subject."""
        return self.path.resolve().name.removeprefix("m2m_")

    @property
    def mesh_path(self):
        """The head mesh.

        Raises
        ------
        MeshError
            There is none.
        """
        found = self._first(f"{self.subject}.msh", f"{self.subject}.msh.gz")
        if found is None:
            raise MeshError(
                f"{self.path} has no {self.subject}.msh: the head model is not finished, or the folder was "
                "renamed; give the mesh file itself"
            )
        return found

    @cached_property
    def t1(self):
        """The T1 image, a VolumeRecord.

        Raises
        ------
        FormatError
            Missing or unreadable.
        """
        return read_volume(self._need("T1.nii.gz", "T1.nii"))

    def mni(self, kind="nonlinear"):
        """The transforms between MNI and subject space, read once.

        Parameters
        ----------
        kind : {"nonlinear", "12dof", "6dof"}

        Raises
        ------
        FrameError
            Unknown kind, or its files are not there.
        FormatError
            A file that cannot be understood.
        """
        if kind not in TRANSFORMS:
            raise FrameError(f"unknown transform {kind!r}; valid: {', '.join(TRANSFORMS)}")
        if kind not in self._transforms:
            self._transforms[kind] = self._nonlinear() if kind == "nonlinear" else self._affine(kind)
        return self._transforms[kind]

    @cached_property
    def _transforms(self):
        return {}

    def _nonlinear(self):
        return MniTransform(
            "nonlinear",
            self._warp("Conform2MNI_nonl", "subject", "mni"),
            self._warp("MNI2Conform_nonl", "mni", "subject"),
        )

    def _warp(self, name, source, target):
        record = read_warp(self._transform_file("nonlinear", f"{name}.nii.gz", f"{name}.nii"))
        return Warp(record.affine, record.data, source, target)

    def _affine(self, kind):
        path = self._transform_file(kind, f"{AFFINES[kind]}.txt")
        to_subject = Affine(read_pose(path), "mni", "subject")
        return MniTransform(kind, to_subject.inverse, to_subject)

    def _transform_file(self, kind, *names):
        found = self._first(*(f"toMNI/{name}" for name in names))
        if found is None:
            there = ", ".join(sorted(p.name for p in self.path.glob("toMNI/*"))) or "nothing"
            raise FrameError(
                f"{self.path / 'toMNI'} has no {names[0]}, which the {kind} transform needs "
                f"(there: {there}); choose another transform ({', '.join(TRANSFORMS)}), or give the target "
                "in subject space"
            )
        return found

    def surface(self, name):
        """A cortical surface, such as ``lh.central``, in subject space.

        Raises
        ------
        FormatError
            Missing or unreadable; names those that are there.
        """
        return TriSurface(*read_surface(self._need(f"surfaces/{name}.gii")))

    @property
    def eeg_files(self):
        """Caps, by name without suffix; the fiducials' own file first."""
        files = sorted(self.path.glob("eeg_positions/*.csv"), key=lambda p: (p.stem != "Fiducials", p.stem))
        return {path.stem: path for path in files}

    def eeg_positions(self, cap):
        """Positions of a cap by its file's name without suffix, in subject space.

        Raises
        ------
        FormatError
            Missing or unreadable.
        """
        return read_eeg_positions(self._need(f"eeg_positions/{cap}.csv"))

    def _first(self, *names):
        return next((self.path / name for name in names if (self.path / name).is_file()), None)

    def _need(self, *names):
        found = self._first(*names)
        if found is None:
            folder = (self.path / names[0]).parent
            there = ", ".join(sorted(p.name for p in folder.glob("*"))) or "nothing"
            raise FormatError(f"{folder} has no {Path(names[0]).name} (there: {there})")
        return found


def is_subject_folder(path):
    """Whether a path is a folder named ``m2m_<subject>``."""
    path = Path(path)
    return path.is_dir() and path.resolve().name.startswith("m2m_") and path.resolve().name != "m2m_"
