"""What is done with every subject: `optimize` or `compare`, with which settings."""

import dataclasses
import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import CohortError, OutputError, PlacementError
from efield.io.dti import check_frame
from efield.model.anisotropy import check_mapping, with_anisotropy
from efield.model.coil import Coil
from efield.model.coils import load_coil
from efield.model.heads import load_head
from efield.model.m2m import SubjectFolder, is_subject_folder
from efield.model.target import as_target
from efield.model.target_text import parse_target
from efield.results.plain import plain
from efield.scalp.fiducials import read_fiducials
from efield.search.constraints import Constraints
from efield.search.objectives import make_objective
from efield.search.optimize import optimize_coil
from efield.targeting import METHODS, PeakMap
from efield.targeting.compare import compare_targeting
from efield.version import version

STUDIES = {"optimize": optimize_coil, "compare": compare_targeting}

NOT_SETTINGS = ("head", "coil", "target", "out_dir", "progress", "fiducials", "hotspot_mm", "peak_map")
"""Arguments of a study that the cohort gives, or that are a subject's own (columns of its table)."""

ONLY = {
    "direction": "optimize",
    "hotspot": "compare",
    "landmarks": "compare",
    "map": "compare",
    "map_mask": "compare",
    "lowest": "compare",
}
"""Columns that one study alone reads."""


@dataclass(frozen=True)
class Study:
    """What every subject gets.

    Attributes
    ----------
    kind : {"optimize", "compare"}
    coil, target
        Of the subjects that have none of their own.
    settings : dict
        Arguments of `optimize_coil` or `compare_targeting`.
    unit, conductivity
        As in `load_head`.
    anisotropy, dti_frame
        The `mapping` and `frame` of `with_anisotropy`, of subjects with a tensor image.

    Raises
    ------
    CohortError
        An unknown study or setting.
    EfieldError
        The coil, target, objective or a method cannot be used by any subject.
    """

    kind: str
    coil: Coil | str
    target: object
    settings: dict
    unit: str = "mm"
    conductivity: dict | None = None
    anisotropy: str = "vn"
    dti_frame: str = "fsl"

    def __post_init__(self):
        if self.kind not in STUDIES:
            raise CohortError(f"unknown study {self.kind!r}; valid: {', '.join(STUDIES)}")
        valid = [
            name for name in inspect.signature(STUDIES[self.kind]).parameters if name not in NOT_SETTINGS
        ]
        unknown = [name for name in self.settings if name not in valid]
        if unknown:
            raise CohortError(f"{self.kind} has no setting {unknown[0]!r}; valid: {', '.join(valid)}")
        check_mapping(self.anisotropy)
        check_frame(self.dti_frame)
        load_coil(self.coil)
        _as_target(self.target)
        if self.kind == "optimize" and "objective" in self.settings:
            make_objective(self.settings["objective"], self.settings.get("direction"))
        missing = [name for name in self.settings.get("methods") or () if name not in METHODS]
        if missing:
            raise PlacementError(
                f"unknown targeting methods: {', '.join(missing)}; valid: {', '.join(METHODS)}"
            )

    def check(self, subjects):
        """Refuse columns that this study does not read.

        Raises
        ------
        CohortError
        """
        for subject in subjects:
            wrong = [key for key in subject.own if ONLY.get(key, self.kind) != self.kind]
            if wrong:
                raise CohortError(
                    f"subject {subject.name!r} has the column {wrong[0]!r}, which only {ONLY[wrong[0]]} reads"
                )

    @property
    def element_order(self):
        """Order of the finite elements."""
        return self.settings.get("element_order") or 1

    def load_head(self, subject):
        """The subject's head."""
        head = load_head(subject.head, unit=self.unit, conductivity=self.conductivity)
        if "dti" not in subject.own:
            return head
        return with_anisotropy(head, subject.own["dti"], mapping=self.anisotropy, frame=self.dti_frame)

    def run(self, subject, head):
        """The result of one subject: `OptimizeResult` or `TargetingComparison`."""
        own = subject.own
        settings = dict(self.settings)
        if self.kind == "optimize":
            if "distance_mm" in own:
                limits = settings.get("constraints") or Constraints()
                settings["constraints"] = dataclasses.replace(limits, distance_mm=own["distance_mm"])
            if "direction" in own:
                settings["direction"] = own["direction"]
        else:
            if "distance_mm" in own:
                settings["distance_mm"] = own["distance_mm"]
            if "hotspot" in own:
                settings["hotspot_mm"] = own["hotspot"]
            if "landmarks" in own:
                settings["fiducials"] = read_fiducials(own["landmarks"])
            if "map" in own:
                settings["peak_map"] = _peak_map(own)
        coil, target = own.get("coil", self.coil), own.get("target", self.target)
        return STUDIES[self.kind](head, coil, _as_target(target), **settings)

    def facts(self):
        """The settings as plain values, files by their content.

        Raises
        ------
        CohortError
            A setting, such as a function, that has no plain value.
        """
        body = {"study": self.kind, "coil": self.coil, "target": self.target, "unit": self.unit}
        return _plain(body | {"conductivity": self.conductivity, **self.settings})

    def of_tensors(self, subject):
        """What is done with the subject's tensor image; empty without one."""
        if "dti" not in subject.own:
            return {}
        return {"anisotropy": self.anisotropy, "dti_frame": self.dti_frame}

    def fingerprint(self, subject):
        """Everything that a subject's result depends on, as a flat dict of plain values."""
        own = {key: _plain(value) for key, value in subject.own.items()}
        return {
            "efield": version(),
            **self.facts(),
            **self.of_tensors(subject),
            **own,
            "head": _plain(subject.head),
        }


def _as_target(target):
    return parse_target(target) if isinstance(target, str) else as_target(target)


def _peak_map(own):
    space = "mni" if own["map"].startswith("mni:") else "subject"
    return PeakMap(own["map"].removeprefix("mni:"), own.get("map_mask"), space, own.get("lowest", False))


def _plain(value):
    try:
        return plain(_identity(value), "settings")
    except OutputError as error:
        raise CohortError(f"cannot tell runs of a cohort apart: {error}; use plain settings") from error


def _identity(value):
    """A value that is equal where results are: content instead of paths, arrays and objects."""
    if isinstance(value, Coil):
        return value.sha256
    if dataclasses.is_dataclass(value):
        return {f.name: _identity(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, str | Path):
        return _content(str(value))
    return value


def _content(text):
    """Hash of the file or subject's folder that a text names; the text itself where it names none."""
    path = Path(text.removeprefix("mni:"))
    if path.is_file():
        folder = path.parent
        files = _subject_files(folder, path) if is_subject_folder(folder) else [path]
    elif is_subject_folder(path):
        folder = path
        files = _subject_files(folder, None)
    else:
        return text
    digest = hashlib.sha256(text[:4].encode() if text.startswith("mni:") else b"")
    for file in files:
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _subject_files(folder, mesh):
    """Files of a subject's folder that a result may depend on."""
    subject = SubjectFolder(folder).subject
    meshes = [mesh] if mesh else [p for p in folder.glob(f"{subject}.msh*") if p.is_file()]
    rest = [*folder.glob("toMNI/*"), *folder.glob("eeg_positions/*.csv")]
    return sorted(meshes) + sorted(p for p in rest if p.is_file())
