"""From results to strict JSON: plain Python values, finite numbers, a fixed layout."""

import json
import math
from collections.abc import Mapping

import numpy as np

from efield.errors import OutputError


def plain(value, where="result"):
    """Convert arrays, mappings, tuples and NumPy scalars to what JSON knows.

    Raises
    ------
    OutputError
        A number that is not finite (strict JSON has no NaN), or an unknown type; the message
        says where in the result it stands.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OutputError(f"{where} is {value}; a result holds finite numbers only")
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise OutputError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def dumps(value):
    """Strict JSON text, one key a line, rows of numbers on one line, ending in a newline."""
    return _layout(plain(value), "") + "\n"


def _layout(value, indent):
    inner = indent + " "
    if isinstance(value, dict) and value:
        rows = (f"{inner}{json.dumps(key)}: {_layout(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(rows) + "\n" + indent + "}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        rows = (inner + _layout(item, inner) for item in value)
        return "[\n" + ",\n".join(rows) + "\n" + indent + "]"
    return json.dumps(value, allow_nan=False)
