"""Published noise of placing a coil; a method without its own has none here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlacementNoise:
    """How far a coil lands from where a method says.

    Attributes
    ----------
    position_mm : float
        Typical distance along the scalp; taken as the mean of a Gaussian about the place.
    source : str
    """

    position_mm: float
    source: str


NAVIGATED = PlacementNoise(
    5.5,
    "whole navigation chain, registration and tracking, 5 to 6 mm: Ruohonen and Karhu, as cited by Richter, "
    "Robotized Transcranial Magnetic Stimulation",
)
"""Of methods that need a navigation system; no angles are published for the whole chain."""
