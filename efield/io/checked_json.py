"""JSON whose every value is checked where it is used, with the key it stands under in the message.

Arrays are nested lists, or text: base64 of the raw little-endian bytes (float64 or int64), compressed with
zlib or not. Decompression stops at the budget of the file.
"""

import base64
import binascii
import json
import zlib

import numpy as np

from efield.errors import FormatError

MAX_FILE_BYTES = 1 << 30
"""A larger file is no coil."""


class Budget:
    """Bytes that may still be unpacked from a file."""

    def __init__(self, n_bytes):
        self.n_bytes = self.left = n_bytes


class Node:
    """A JSON value and the key it stands under, for messages."""

    def __init__(self, value, key, budget):
        self.value, self.key, self.budget = value, key, budget

    def fail(self, message):
        where = f"key {self.key}: " if self.key else ""
        raise FormatError(where + message)

    def object(self, required, optional=()):
        """This value as a dict of nodes; exactly these keys may occur."""
        if not isinstance(self.value, dict):
            self.fail(f"must be an object {{...}}, not {shown(self.value)}")
        for name in required:
            if name not in self.value:
                self.fail(f"lacks {name!r}; the file is truncated, or of another kind")
        known = (*required, *optional)
        unknown = [name for name in self.value if name not in known]
        if unknown:
            self.fail(f"unknown key {shown(unknown[0])}; known are {', '.join(known)}")
        dot = "." if self.key else ""
        return {k: Node(v, f"{self.key}{dot}{k}", self.budget) for k, v in self.value.items()}

    def list(self, at_least=0):
        if not isinstance(self.value, list) or len(self.value) < at_least:
            self.fail(f"must be a list of at least {at_least}, not {shown(self.value)}")
        return [Node(v, f"{self.key}[{i}]", self.budget) for i, v in enumerate(self.value)]

    def text(self):
        if not isinstance(self.value, str):
            self.fail(f"must be text, not {shown(self.value)}")
        return self.value

    def number(self):
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not np.isfinite(_as_float(self.value)):
            self.fail(f"must be a finite number, not {shown(self.value)}")
        return _as_float(self.value)

    def index(self, count, what):
        """An index below `count`."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.fail(f"must be a whole number, not {shown(self.value)}")
        if not 0 <= self.value < count:
            self.fail(f"is {shown(self.value)}, but the file has {count} {what}, counted from 0")
        return self.value

    def array(self, *shape, dtype=np.float64, packed=True):
        """Numbers of a shape; -1 is any positive length."""
        if isinstance(self.value, str) and packed:
            array = self._unpack(dtype)
            size = int(np.prod([n for n in shape if n > 0]))
            if array.size % size:
                self.fail(f"unpacks to {array.size} numbers, not a multiple of {size}; it is truncated")
            array = array.reshape(shape)
        else:
            array = self._from_lists(dtype)
        fits = array.ndim == len(shape) and array.size > 0
        if not fits or any(n not in (-1, m) for n, m in zip(shape, array.shape, strict=True)):
            wanted = " x ".join("n" if n < 0 else str(n) for n in shape)
            self.fail(f"must hold {wanted} numbers, but has shape {array.shape}")
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            self.fail(f"number {bad[0].tolist()} is not finite")
        return array

    def _from_lists(self, dtype):
        if not isinstance(self.value, list):
            self.fail(f"must be a list of numbers, not {shown(self.value)}")
        try:
            array = np.asarray(self.value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            self.fail("is a ragged list; every row must have the same length")
        if array.dtype.kind not in ("iuf" if dtype is np.float64 else "iu") and array.size:
            self.fail(f"must hold {'numbers' if dtype is np.float64 else 'whole numbers'} only")
        return array.astype(dtype)

    def _unpack(self, dtype):
        try:
            data = base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError) as error:
            self.fail(f"is not base64 ({error}); the text is damaged or truncated")
        if data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0:  # RFC 1950, a zlib stream
            data = self._inflate(data)
        self.budget.left -= len(data)
        if len(data) % 8:
            self.fail(f"unpacks to {len(data)} bytes, not a multiple of 8; it is damaged or truncated")
        return np.frombuffer(data, "<f8" if dtype is np.float64 else "<i8").astype(dtype)

    def _inflate(self, data):
        stream = zlib.decompressobj()
        try:
            inflated = stream.decompress(data, self.budget.left + 1)
        except zlib.error as error:
            self.fail(f"does not decompress ({error}); the text is damaged")
        if len(inflated) > self.budget.left:
            self.fail(f"decompresses to more than {self.budget.n_bytes >> 20} MiB; no coil needs that")
        if not stream.eof:
            self.fail("ends inside its compressed data; the text is truncated")
        return inflated


def load_json(path):
    """The JSON value of a file.

    Raises
    ------
    FormatError
        With line and column; NaN and infinity are no JSON.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FormatError(f"is larger than {MAX_FILE_BYTES >> 20} MiB; no coil is")
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}") from None
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise FormatError(f"byte {error.start} is not UTF-8 text, as JSON is") from None
    except json.JSONDecodeError as error:
        raise FormatError(
            f"line {error.lineno}, column {error.colno}: {error.msg}; not JSON, or truncated"
        ) from None
    except (RecursionError, ValueError) as error:  # thousands of brackets, digits without end
        raise FormatError(f"is JSON that no coil needs: {error}") from None


def _no_constant(text):
    raise FormatError(f"holds {text}, which is not a finite number")


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return np.inf


def shown(value, width=40):
    text = repr(value)
    return text if len(text) <= width else text[:width] + "..."
