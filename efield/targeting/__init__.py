"""Ways to find the DLPFC, each a small function registered by name; users add theirs.

Importing this package registers the methods that come with efield.
"""

from efield.targeting import (
    beam_f3,
    closest_scalp,
    coordinates,
    eeg,
    fixed_distance,
    heuristics_2022,
    map_peak,
    optimised,
)
from efield.targeting.case import PeakMap, TargetingCase
from efield.targeting.registry import METHODS, Aim, Method, aim, targeting_method

__all__ = [
    "METHODS",
    "Aim",
    "Method",
    "PeakMap",
    "TargetingCase",
    "aim",
    "beam_f3",
    "closest_scalp",
    "coordinates",
    "eeg",
    "fixed_distance",
    "heuristics_2022",
    "map_peak",
    "optimised",
    "targeting_method",
]
