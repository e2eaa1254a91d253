"""Where the TMS coil must lie: electric fields in individual heads, and the best placement.

Importing efield is light: names load their modules on first use, nothing is compiled and no
thread is started.
"""

from importlib import import_module

from efield import errors as _errors
from efield.errors import *  # noqa: F403

__version__ = "0.1.0"

_LAZY = {
    "Avoid": "efield.search.avoid",
    "Coil": "efield.model.coil",
    "CoilsResult": "efield.search.coils",
    "CohortResult": "efield.results.cohort",
    "Constraints": "efield.search.constraints",
    "Fiducials": "efield.scalp.fiducials",
    "Field": "efield.forward",
    "HeadModel": "efield.model.head",
    "NamedPlacement": "efield.model.session",
    "OptimizeResult": "efield.results.result",
    "ParetoFront": "efield.search.pareto",
    "Placement": "efield.model.placement",
    "PoseNoise": "efield.search.noise",
    "PreparedHead": "efield.solve.prepared",
    "RecoveredField": "efield.fem.recover",
    "Search": "efield.search.candidates",
    "Session": "efield.model.session",
    "Target": "efield.model.target",
    "TargetingComparison": "efield.results.comparison",
    "TetMesh": "efield.model.mesh",
    "compare_targeting": "efield.targeting.compare",
    "join_coils": "efield.model.coil_joined",
    "load_coil": "efield.model.coils",
    "load_field": "efield.results.fieldfile",
    "load_head": "efield.model.heads",
    "load_placements": "efield.model.session",
    "mid_layer": "efield.model.cortex",
    "optimize_coil": "efield.search.optimize",
    "optimize_coils": "efield.search.coils",
    "pareto_front": "efield.search.pareto",
    "prepare": "efield.solve.prepared",
    "save_placements": "efield.model.session",
    "run_cohort": "efield.cohort.run",
    "simulate": "efield.forward",
    "tape_instructions": "efield.scalp.marks",
    "targeting_method": "efield.targeting.registry",
    "ten_ten": "efield.scalp.ten_ten",
    "with_anisotropy": "efield.model.anisotropy",
}

__all__ = sorted([*_LAZY, *_errors.__all__, "__version__"])


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'efield' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
