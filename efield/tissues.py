"""Tissue tags, names and default conductivities.

Tags follow SimNIBS; the values are its defaults, which credit Wagner et al. 2004
(10.1109/TBME.2004.827925) and, for the eyes, Opitz et al. 2015.
"""

from types import MappingProxyType

TISSUE_TAGS = MappingProxyType(
    {
        "white_matter": 1,
        "grey_matter": 2,
        "csf": 3,
        "bone": 4,
        "scalp": 5,
        "eyes": 6,
        "compact_bone": 7,
        "spongy_bone": 8,
        "blood": 9,
        "muscle": 10,
        "cartilage": 11,
        "fat": 12,
    }
)
"""Tissue name to volume tag. A surface of a tissue carries tag + 1000 in files."""

TISSUE_NAMES = MappingProxyType({tag: name for name, tag in TISSUE_TAGS.items()})
"""Volume tag to tissue name."""

DEFAULT_CONDUCTIVITY = MappingProxyType(
    {
        1: 0.126,
        2: 0.275,
        3: 1.654,
        4: 0.010,
        5: 0.465,
        6: 0.500,
        7: 0.008,
        8: 0.025,
        9: 0.600,
        10: 0.160,
    }
)
"""Volume tag to conductivity in S/m. Cartilage and fat have no default in common use."""

SURFACE_TAG_OFFSET = 1000
