"""The brain region whose field is wanted."""

from dataclasses import dataclass, field

import numpy as np

from efield.errors import FrameError, TargetError
from efield.io.records import InputFile
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.conductivity import tag_of
from efield.model.named_targets import DEFAULT_RADIUS_MM, NAMED_TARGETS
from efield.tissues import TISSUE_NAMES
from efield.units import point_words

MASK_TOP = 1.5
"""Values of a mask do not exceed this, interpolated ones neither."""

LONGEST_EDGE_MM = 25.0
"""No tetrahedron of a head is longer: one that holds a point has its barycentre this near."""


@dataclass(frozen=True, eq=False)
class TargetRegion(FieldsOnlyPickle):
    """Tetrahedra of a target in one head.

    Attributes
    ----------
    elements : (n,) int array
        Indices into the head's tetrahedra.
    volumes_mm3 : (n,) array
    center_mm : (3,) array
        Centre asked for, after projection; the volume-weighted barycentre where none was.
    moved_mm : float
        How far the centre was moved to reach the tissue.
    name, space : str
    files : tuple of InputFile
        What it was read from.
    """

    elements: np.ndarray
    volumes_mm3: np.ndarray
    center_mm: np.ndarray
    moved_mm: float
    name: str
    space: str
    files: tuple = ()

    def summary(self):
        """The record that results carry."""
        return {
            "name": self.name,
            "n_elements": len(self.elements),
            "volume_mm3": float(self.volumes_mm3.sum()),
            "center_mm": [float(x) for x in self.center_mm],
            "moved_mm": float(self.moved_mm),
            "space": self.space,
        }


@dataclass(frozen=True, eq=False)
class Target:
    """A target region, independent of the head; :meth:`resolve` finds it in one.

    Make it with :meth:`sphere`, :meth:`mni`, :meth:`mask`, :meth:`elements` or :meth:`named`.
    """

    name: str
    _resolve: object = field(repr=False)

    @classmethod
    def sphere(cls, center_mm, radius_mm=DEFAULT_RADIUS_MM, tissue="grey_matter"):
        """Tetrahedra of `tissue` whose barycentre lies in a ball, subject space (mm)."""
        center, radius, tag = _center(center_mm), _radius(radius_mm), tag_of(tissue)
        label = f"sphere {point_words(center)} r {radius:g} mm"
        return cls(label, _Sphere(center, radius, tag, label))

    @classmethod
    def mni(cls, point_mm, radius_mm=DEFAULT_RADIUS_MM, tissue="grey_matter", *, transform="nonlinear"):
        """The same about an MNI coordinate, projected to the tissue; the shift is reported.

        `transform` is the kind of an individual head's map: "nonlinear", "12dof" or "6dof".
        """
        center, radius, tag = _center(point_mm), _radius(radius_mm), tag_of(tissue)
        label = f"mni {point_words(center)} r {radius:g} mm"
        return cls(label, _MniSphere(center, radius, tag, label, transform))

    @classmethod
    def mask(cls, nifti, *, space="subject", threshold=0.5, tissue="grey_matter", transform="nonlinear"):
        """Tetrahedra of `tissue` whose barycentre lies in a voxel above `threshold`.

        A mask in MNI space is looked up where the `transform` puts the barycentres.
        """
        if space not in ("subject", "mni"):
            raise TargetError(f"unknown space {space!r}; valid: subject, mni")
        if not np.isfinite(threshold) or threshold < 0:  # outside every mask the value is 0
            raise TargetError(f"a mask's threshold must be at least 0, not {threshold!r}")
        return cls(f"mask {nifti}", _Mask(nifti, space, float(threshold), tag_of(tissue), transform))

    @classmethod
    def elements(cls, indices):
        """Tetrahedra by index."""
        return cls("elements", _Elements(np.unique(np.asarray(indices, dtype=np.int64).ravel())))

    @classmethod
    def named(cls, name, radius_mm=None):
        """A target of the registry, such as ``dlpfc-left``, with its own radius unless given another."""
        if name not in NAMED_TARGETS:
            raise TargetError(f"unknown target {name!r}; valid: {', '.join(NAMED_TARGETS)}")
        found = NAMED_TARGETS[name]
        radius = _radius(found.radius_mm if radius_mm is None else radius_mm)
        label = name if radius_mm is None else f"{name} r {radius:g} mm"
        grey = tag_of("grey_matter")
        return cls(label, _MniSphere(_center(found.point_mm), radius, grey, label, "nonlinear"))

    def resolve(self, head):
        """Find the region in a head.

        Returns
        -------
        TargetRegion

        Raises
        ------
        TargetError
            No tetrahedron belongs to the target; the message says what lies there.
        """
        return self._resolve(head)


def as_target(target):
    """A :class:`Target` from what a pipeline passes: a target, a name or (x, y, z) in mm."""
    if isinstance(target, Target):
        return target
    if isinstance(target, str):
        return Target.named(target)
    return Target.sphere(target)


@dataclass(frozen=True, eq=False)
class _Sphere:
    center: np.ndarray
    radius: float
    tag: int
    label: str
    moved: float = 0.0

    def __call__(self, head):
        candidates = np.flatnonzero(head.tags == self.tag)
        away = np.linalg.norm(head.mesh.barycentres_mm[candidates] - self.center, axis=1)
        found = candidates[away <= self.radius]
        if len(found) == 0:
            raise TargetError(self._why_empty(head))
        return _region(head, found, self.center, self.moved, self.label)

    def _why_empty(self, head):
        tissue = TISSUE_NAMES.get(self.tag, f"tag {self.tag}")
        here = f"no {tissue} tetrahedron within {self.radius:g} mm of {point_words(self.center)} mm"
        candidates = np.flatnonzero(head.tags == self.tag)
        if len(candidates) == 0:
            return f"{here}: the head has no {tissue} at all"
        nearest, distance = _nearest(head, candidates, self.center)
        inside = "inside" if head.scalp.contains(self.center[None])[0] else "outside"
        return (
            f"{here}, a point {inside} the head; the nearest lies {distance:.1f} mm away at "
            f"{point_words(nearest)}. Check the target's frame (subject space, RAS, mm) or use Target.mni, "
            "which projects to the tissue"
        )


@dataclass(frozen=True, eq=False)
class _MniSphere:
    center: np.ndarray
    radius: float
    tag: int
    label: str
    transform: str

    def __call__(self, head):
        mni = _mni(head, self.transform, f"target {self.label!r}")
        center = mni.to_subject.points(self.center)[0]
        if not head.scalp.contains(center[None])[0]:
            mapped = (
                "" if mni.kind == "identity" else f" maps to {point_words(center)} mm ({mni.kind}), which"
            )
            raise TargetError(
                f"MNI point {point_words(self.center)}{'' if mni.kind == 'identity' else mapped} lies "
                "outside the head; check its sign and unit"
            )
        point, moved = _project(head, self.tag, center)
        return _Sphere(point, self.radius, self.tag, self.label, moved)(head)


@dataclass(frozen=True, eq=False)
class _Mask:
    nifti: object
    space: str
    threshold: float
    tag: int
    transform: str

    def __call__(self, head):
        from efield.io.nifti import read_volume

        candidates = np.flatnonzero(head.tags == self.tag)
        places = head.mesh.barycentres_mm[candidates]
        if self.space == "mni":
            places = _mni(head, self.transform, f"mask {self.nifti}").to_mni.points(places)
        volume = read_volume(self.nifti)
        _check_mask(self.nifti, volume.data, self.threshold)
        found = candidates[volume.nearest(places) > self.threshold]
        if len(found) == 0:
            tissue = TISSUE_NAMES.get(self.tag, f"tag {self.tag}")
            raise TargetError(
                f"mask {self.nifti} above {self.threshold:g} overlaps no {tissue} of head {head.name!r}; "
                "check its frame and threshold"
            )
        return _region(head, found, None, 0.0, f"mask {self.nifti}", (InputFile.of("mask", self.nifti),))


def _check_mask(name, values, threshold):
    """Refuse an image or an atlas, nearly all of which lies above the threshold of a mask."""
    marks = np.unique(values[values > threshold])
    if len(marks) > 1 and threshold < 1 and marks[-1] > MASK_TOP:
        raise TargetError(
            f"{name} holds {len(marks)} different values up to {marks[-1]:g}: an image or an atlas, not the "
            "mask of one region; write a mask of 0 and 1, or give a threshold of at least 1 (Target.mask)"
        )


def _mni(head, kind, what):
    """The head's MNI transform, or what needs it said in the error."""
    try:
        return head.mni(kind)
    except FrameError as error:
        raise TargetError(f"{what} is in MNI space: {error}") from error


@dataclass(frozen=True, eq=False)
class _Elements:
    indices: np.ndarray

    def __call__(self, head):
        if len(self.indices) == 0:
            raise TargetError("the target has no elements")
        if self.indices[0] < 0 or self.indices[-1] >= len(head.tets):
            raise TargetError(
                f"target elements {self.indices[0]}..{self.indices[-1]} are outside the head's "
                f"0..{len(head.tets) - 1}"
            )
        return _region(head, self.indices, None, 0.0, "elements")


def _region(head, found, center, moved, name, files=()):
    volumes = head.mesh.volumes_mm3[found]
    if center is None:
        center = volumes @ head.mesh.barycentres_mm[found] / volumes.sum()
    return TargetRegion(read_only(found), read_only(volumes), center, moved, name, head.space, files)


def _project(head, tag, point):
    """Nearest point of a tissue: the point itself inside it, else the nearest barycentre."""
    candidates = np.flatnonzero(head.tags == tag)
    if len(candidates) == 0:
        raise TargetError(f"the head has no {TISSUE_NAMES.get(tag, tag)}")
    away = np.abs(head.mesh.barycentres_mm[candidates] - point).max(axis=1)
    corners = head.nodes_mm[head.tets[candidates[away <= LONGEST_EDGE_MM]]]
    holds = np.all((corners.min(axis=1) <= point) & (corners.max(axis=1) >= point), axis=1)
    for a, b, c, d in corners[holds]:
        local = np.linalg.solve(np.stack([b - a, c - a, d - a], axis=1), point - a)
        if np.all(local >= -1e-9) and local.sum() <= 1 + 1e-9:
            return point, 0.0
    return _nearest(head, candidates, point)


def _nearest(head, candidates, point):
    distance = np.linalg.norm(head.mesh.barycentres_mm[candidates] - point, axis=1)
    best = int(np.argmin(distance))
    return head.mesh.barycentres_mm[candidates[best]], float(distance[best])


def _center(value):
    try:
        center = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        center = np.empty(0)
    if center.shape != (3,) or not np.all(np.isfinite(center)):
        raise TargetError(f"a target's centre must be three finite coordinates in mm, not {value!r}")
    return read_only(center)


def _radius(value):
    if not np.isfinite(value) or value <= 0:
        raise TargetError(f"a target's radius must be positive, in mm, not {value!r}")
    return float(value)
