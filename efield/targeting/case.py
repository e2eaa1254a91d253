"""What a targeting method is given: a head, a target, and what else it may need."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from efield.errors import FrameError, LandmarkError, TargetError
from efield.io.records import InputFile
from efield.model.coil import Coil
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.named_targets import NAMED_TARGETS
from efield.model.placement import Placement, describe_placement
from efield.model.target import Target, as_target
from efield.scalp.fiducials import Fiducials
from efield.scalp.marks import TapeMark, point_of
from efield.scalp.ten_ten import ten_ten
from efield.search.candidates import Search
from efield.search.constraints import Constraints, FeasibleSet
from efield.search.optimize import optimize_coil
from efield.solve.prepared import PreparedHead, prepare
from efield.units import point_words

IN_THE_AIR_MM = 10.0
"""A place farther from the scalp is none."""


@dataclass(frozen=True)
class PeakMap:
    """An individual map whose peak is a target, such as the anticorrelation with the subgenual cingulate.

    Parameters
    ----------
    nifti : path
        A volume; the values' sign says what is wanted, see `lowest`.
    mask : path, optional
        Where to look, another volume in the same space: voxels above 0.5.
    space : {"subject", "mni"}
    lowest : bool
        Look for the lowest value, as of an anticorrelation, instead of the highest.
    """

    nifti: object
    mask: object = None
    space: str = "subject"
    lowest: bool = False

    def __post_init__(self):
        if self.space not in ("subject", "mni"):
            raise TargetError(f"unknown space {self.space!r}; valid: subject, mni")

    @property
    def files(self):
        """The map and its mask, as InputFile."""
        return tuple(
            InputFile.of(role, path)
            for role, path in (("map", self.nifti), ("map's mask", self.mask))
            if path is not None
        )


@dataclass(frozen=True, eq=False)
class TargetingCase:
    """A head and a target, with what methods measure on them; each is measured once.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
    target : Target, str or (x, y, z)
    coil : Coil, str or path
        What the optimisation places.
    fiducials : Fiducials, optional
        By default those that the head brings.
    hotspot_mm : (3,) array, optional
        Motor hotspot on the scalp, subject space; by default the scalp over the hand area of M1 by its
        MNI coordinate.
    peak_map : PeakMap, optional
    distance_mm : float
        Coil origin to scalp.
    search : Search, optional
        Where the optimisation looks.
    didt : float
        Rate of change of the coil current, A/s.
    element_order : {1, 2} or None
        Order of the finite elements.
    progress : callable, optional
        ``progress(stage, fraction)`` of the optimisation; may raise to cancel.
    """

    head: HeadModel | PreparedHead | str
    target: Target | str | tuple = "dlpfc-left"
    coil: Coil | str = "figure8-70mm"
    fiducials: Fiducials | None = None
    hotspot_mm: np.ndarray | None = None
    peak_map: PeakMap | None = None
    distance_mm: float = 4.0
    search: Search | None = None
    didt: float = 1e6
    element_order: int | None = None
    progress: Callable | None = None

    def __post_init__(self):
        head = self.head if isinstance(self.head, PreparedHead) else load_head(self.head)
        object.__setattr__(self, "head", head)
        object.__setattr__(self, "target", as_target(self.target))
        object.__setattr__(self, "coil", load_coil(self.coil))

    @property
    def model(self):
        """The HeadModel."""
        return getattr(self.head, "head", self.head)

    @cached_property
    def prepared(self):
        """The head, ready for solving."""
        return prepare(self.head, element_order=self.element_order)

    @cached_property
    def region(self):
        """The target in this head."""
        return self.target.resolve(self.model)

    @cached_property
    def side(self):
        """Side of the target, left or right: rules of the scalp are applied there."""
        return "left" if self.region.center_mm[0] <= 0 else "right"

    @cached_property
    def ten_ten(self):
        """The head's 10-10 system and measures."""
        return ten_ten(self.model, self.fiducials)

    @cached_property
    def hotspot(self):
        """Scalp point (3,) of the motor hotspot, and words for where it comes from."""
        if self.hotspot_mm is not None:
            closest, away, _ = self.model.scalp.closest(self.hotspot_mm)
            if away[0] > IN_THE_AIR_MM:
                raise LandmarkError(
                    f"the motor hotspot {point_words(self.hotspot_mm)} mm lies {away[0]:.0f} mm from the "
                    "scalp; give a scalp point in the head's own space (RAS, mm)"
                )
            return closest[0], "motor hotspot as given"
        named = NAMED_TARGETS[f"m1-hand-{self.side}"]
        try:
            point = self.model.mni().to_subject.points(named.point_mm)[0]
        except FrameError as error:
            raise LandmarkError(f"give the motor hotspot (--hotspot, hotspot_mm): {error}") from error
        if not self.model.scalp.contains(point[None])[0]:
            raise LandmarkError(
                f"the hand area of M1 maps to {point_words(point)} mm, outside the head; check the MNI "
                "transform or give the motor hotspot"
            )
        return self.model.scalp.closest(point)[0][0], "scalp over the hand area of M1 (MNI)"

    @property
    def constraints(self):
        """What every placement keeps."""
        return Constraints(distance_mm=self.distance_mm)

    @cached_property
    def optimum(self):
        """The OptimizeResult of this target."""
        return optimize_coil(
            self.prepared,
            self.coil,
            self.target,
            search=self.search,
            constraints=self.constraints,
            didt=self.didt,
            verify=False,
            error_bar=False,
            n_best=1,
            progress=self.progress,
        )

    def scalp_under(self, placement):
        """Scalp point (3,) on a coil's axis."""
        return np.array(describe_placement(self.model, placement)["scalp_mm"])

    def clear_of_scalp(self, placement):
        """The placement moved back along the coil's axis until it keeps its clearance, and how far, mm.

        As the optimisation does: a bent coil at the case's distance would lie in the head.
        """
        within = FeasibleSet(self.model.scalp, self.coil, self.constraints, placement.center_mm, np.inf)
        pose, lift = within.lifted(placement.matsimnibs)
        return (replace(placement, matsimnibs=pose), lift) if lift else (placement, 0.0)

    def place(self, point_mm):
        """The coil tangential over a scalp point, its handle at 45 degrees to the midline."""
        return Placement.on_scalp(self.model, point_mm, distance_mm=self.distance_mm)

    def at_mark(self, x_cm, y_cm):
        """Scalp point of x cm along the circumference and y cm from the vertex, on the target's side."""
        return point_of(self.ten_ten, TapeMark(self.side, x_cm, y_cm))
