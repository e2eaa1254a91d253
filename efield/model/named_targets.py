"""Targets by name: MNI coordinates with their sources.

Each says how its coordinate was read: in the source itself ("source"), or in another text that names
the source ("secondary"). Published coordinates that could be read in neither are left out. The right side
of a name is the mirror image of the left, x with the other sign; the brain is not that symmetric, and
no source measured it there.
"""

from dataclasses import dataclass
from types import MappingProxyType

DEFAULT_RADIUS_MM = 5.0


@dataclass(frozen=True)
class NamedTarget:
    """A ball about an MNI coordinate, in grey matter.

    Attributes
    ----------
    point_mm : tuple of 3 floats
        MNI space.
    source : str
    read_in : {"source", "secondary"}
    radius_mm : float
    dlpfc : bool
        Whether it is a DLPFC coordinate that the comparison of methods aims at.
    """

    point_mm: tuple
    source: str
    read_in: str
    radius_mm: float = DEFAULT_RADIUS_MM
    dlpfc: bool = False


_WEIGAND = "peak of the normative anticorrelation with the subgenual cingulate, N = 1000: Weigand et al. 2018"

_LEFT = {
    "dlpfc": NamedTarget((-42.0, 44.0, 30.0), _WEIGAND, "secondary", dlpfc=True),
    "weigand2018": NamedTarget((-42.0, 44.0, 30.0), _WEIGAND, "secondary", dlpfc=True),
    "fox2012": NamedTarget(
        (-44.0, 38.0, 34.0),
        "peak of the anticorrelation with the subgenual cingulate: Fox et al. 2012, Biol Psychiatry 72:595",
        "secondary",
        dlpfc=True,
    ),
    "mir-moghtadaei2015": NamedTarget(
        (-38.0, 44.0, 26.0),
        "group target that Beam F3 was compared with: Mir-Moghtadaei et al. 2015, Brain Stimul 8:965",
        "source",
        dlpfc=True,
    ),
    "ba46": NamedTarget(
        (-44.0, 40.0, 29.0),
        "centre of Brodmann area 46, an a-priori candidate and no optimum: Fox et al. 2012, "
        "Biol Psychiatry 72:595",
        "secondary",
        dlpfc=True,
    ),
    "m1-hand": NamedTarget(
        (-37.0, -21.0, 58.0),
        "hand area of the primary motor cortex: Mayka et al. 2006 (PMC2034289)",
        "secondary",
    ),
}


def _mirrored(target):
    x, y, z = target.point_mm
    return NamedTarget(
        (-x, y, z),
        f"mirror image of the left: {target.source}",
        target.read_in,
        target.radius_mm,
        target.dlpfc,
    )


NAMED_TARGETS = MappingProxyType(
    {f"{name}-left": target for name, target in _LEFT.items()}
    | {f"{name}-right": _mirrored(target) for name, target in _LEFT.items()}
    | {
        "sgacc": NamedTarget(
            (6.0, 16.0, -10.0),
            "seed in the subgenual cingulate, 10 mm: Fox et al. 2012, Biol Psychiatry 72:595",
            "secondary",
            radius_mm=10.0,
        )
    }
)
"""Registry: name to target."""
