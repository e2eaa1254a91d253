"""MATLAB 5 to 7 files (``.mat``): numbers, text, cells and structures.

From the description of the format, "MAT-File Format" (MathWorks). SciPy's reader ends the process on some
damaged files; this one checks every size against what is left before it uses it, and runs nothing.
"""

import math
import zlib

import numpy as np

from efield.errors import FormatError

MAX_BYTES = 1 << 28
"""Unpacked size beyond which a file is taken to be corrupt."""

MAX_DEPTH = 50
"""Nesting of cells and structures beyond which a file is taken to be corrupt."""

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR, DOUBLE, LAST_NUMBER = 1, 2, 4, 6, 15


def read_mat(path, data):
    """The variables of a file.

    Parameters
    ----------
    path : path-like
        For messages.
    data : bytes

    Returns
    -------
    dict
        By name: arrays of numbers (with their dimensions), str, list (a cell), list of dict (a structure
        array). Kinds of variable that are none of these are None.

    Raises
    ------
    FormatError
        Another format or version, damaged or truncated.
    """
    if data[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in data[:128]:
        raise FormatError(f"{path}: a MATLAB 7.3 file; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise FormatError(f"{path}: no MATLAB file of version 5 to 7, or cut short; save it with -v7")
    variables = {}
    reader = _Reader(path, data, order, 128, len(data))
    while reader.left() >= 8:
        kind, body = reader.element()
        if kind == COMPRESSED:
            kind, body = reader.unpacked(body).element()
        if kind == MATRIX:
            name, value = body.matrix(0)
            variables[name] = value
    if reader.left() > 0:
        raise reader.fail("bytes are left over")
    return variables


class _Reader:
    """A stretch of bytes that hold elements."""

    def __init__(self, path, data, order, begin, end):
        self.path, self.data, self.order, self.at, self.end = path, data, order, begin, end

    def left(self):
        return self.end - self.at

    def fail(self, problem):
        return FormatError(f"{self.path}, byte {self.at}: {problem}; the file is damaged or truncated")

    def unpacked(self, body):
        """A reader of what a compressed element holds."""
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(self.data[body.at : body.end], MAX_BYTES)
        except zlib.error as error:
            raise self.fail(f"cannot be unpacked ({error})") from None
        if not unpacker.eof:
            raise self.fail(f"ends early, or unpacks to more than {MAX_BYTES >> 20} MiB")
        return _Reader(self.path, data, self.order, 0, len(data))

    def element(self):
        """Kind of the next element, and a reader of its body."""
        if self.left() < 8:
            raise self.fail("an element is missing")
        kind, size = np.frombuffer(self.data, f"{self.order}u4", 2, self.at).tolist()
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, begin, after = kind & 0xFFFF, kind >> 16, self.at + 4, self.at + 8
        else:
            begin = self.at + 8
            padded = size if kind == COMPRESSED else -(-size // 8) * 8
            after = begin + padded
        if size > (4 if after == self.at + 8 and begin == self.at + 4 else self.end - begin):
            raise self.fail(f"an element of {size} bytes, but {max(self.end - begin, 0)} are left")
        body = _Reader(self.path, self.data, self.order, begin, begin + size)
        self.at = min(after, self.end)
        return kind, body

    def numbers(self):
        """The next element as a flat array of numbers."""
        kind, body = self.element()
        if kind not in NUMBERS:
            raise self.fail(f"expected numbers, found type {kind}")
        dtype = np.dtype(self.order + NUMBERS[kind])
        if body.left() % dtype.itemsize:
            raise self.fail(f"{body.left()} bytes are no whole number of {dtype.name}")
        return np.frombuffer(self.data, dtype, body.left() // dtype.itemsize, body.at)

    def matrix(self, depth):
        """Name and value of the variable whose body this is."""
        if self.left() == 0:  # how MATLAB writes an empty field
            return "", np.empty((0, 0))
        flags = self.numbers()
        dims = tuple(self.numbers().tolist())
        if not len(flags) or len(dims) < 2 or min(dims) < 0:
            raise self.fail(f"a variable has dimensions {dims}")
        name = self.numbers().astype(np.uint8).tobytes().decode("latin-1")
        return name, self._value(int(flags[0]) & 0xFF, dims, depth)

    def _value(self, kind, dims, depth):
        count = math.prod(dims)
        if kind in (CELL, STRUCT) and depth >= MAX_DEPTH:
            raise self.fail(f"cells and structures nested deeper than {MAX_DEPTH}")
        if kind == CELL:
            return [self._item(depth) for _ in range(self._possible(count))]
        if kind == STRUCT:
            names = self._field_names()
            self._possible(count * max(len(names), 1))
            return [{name: self._item(depth) for name in names} for _ in range(count)]
        if kind == CHAR:
            return self._text()
        if not DOUBLE <= kind <= LAST_NUMBER:
            return None  # sparse, an object or a function
        values = self.numbers()
        if len(values) != count:
            raise self.fail(f"{len(values)} numbers for dimensions {dims}")
        return values.astype(np.float64).reshape(dims, order="F")

    def _possible(self, count):
        """`count`, where that many elements can still follow."""
        if count > self.left() // 8:
            raise self.fail(f"{count} items announced, but {self.left()} bytes are left")
        return count

    def _item(self, depth):
        kind, body = self.element()
        if kind != MATRIX:
            raise self.fail(f"expected a variable, found type {kind}")
        return body.matrix(depth + 1)[1]

    def _field_names(self):
        length = self.numbers()
        names = self.numbers().astype(np.uint8).tobytes()
        width = int(length[0]) if len(length) else 0
        if width < 1 or len(names) % width:
            raise self.fail(f"{len(names)} bytes of field names of width {width}")
        parts = (names[i : i + width] for i in range(0, len(names), width))
        return [part.split(b"\0")[0].decode("latin-1") for part in parts]

    def _text(self):
        kind, body = self.element()
        raw = self.data[body.at : body.end]
        if kind in TEXT:
            wide = "" if kind == 16 else "-le" if self.order == "<" else "-be"
            return raw.decode(TEXT[kind] + wide, "replace")
        if kind == 4:  # MATLAB's own 16-bit characters
            return raw.decode("utf-16" + ("-le" if self.order == "<" else "-be"), "replace")
        return raw.decode("latin-1")
