"""Small helpers: arrays that cannot be written to, pickles of fields alone, pointers of compressed rows."""

import dataclasses

import numpy as np


def read_only(array, dtype=None):
    """Return `array` as a C-contiguous array that cannot be written to."""
    array = np.ascontiguousarray(array, dtype=dtype)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def row_pointers(counts):
    """(n + 1,) int32 array: where each of n rows of these lengths begins, and where the last ends."""
    pointers = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=pointers[1:])
    return pointers


class FieldsOnlyPickle:
    """Mixin for frozen dataclasses: pickle the fields, never the cached properties."""

    def __getstate__(self):
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state):
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                value = read_only(value)
            object.__setattr__(self, name, value)
