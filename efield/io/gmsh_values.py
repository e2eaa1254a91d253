"""Numbers of a Gmsh section, one after the other, from text or from bytes.

Both sources check every request against what is left before they allocate, so a corrupt
count ends in an error that says where, never in a huge array.
"""

import numpy as np

from efield.errors import FormatError


class BinaryValues:
    """Numbers of a binary file from byte `offset` on.

    Parameters
    ----------
    path : path-like
        For messages.
    data : bytes
        The whole file.
    offset : int
    section : str
        Name of the section, for messages.
    order : {"<", ">"}
        Byte order.
    size_bytes : {4, 8}
        Width of a ``size_t``.
    """

    ascii = False

    def __init__(self, path, data, offset, section, order, size_bytes):
        self.path, self.data, self.offset, self.section = path, data, offset, section
        self.order, self.size_bytes = order, size_bytes

    def fail(self, problem):
        """FormatError that says where in the file the problem is."""
        return FormatError(f"{self.path}: ${self.section}, byte {self.offset}: {problem}")

    def take(self, dtype, count, what):
        """The next `count` items of `dtype`."""
        dtype = np.dtype(dtype)
        left = len(self.data) - self.offset
        if count * dtype.itemsize > left:
            raise self.fail(
                f"{count} {what} need {count * dtype.itemsize} bytes, but {left} are left; "
                "the file is truncated or a count in it is wrong"
            )
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += values.nbytes
        return values

    def ints(self, count, what="integers"):
        """The next `count` C ints."""
        return self.take(f"{self.order}i4", count, what)

    def sizes(self, count, what="counts"):
        """The next `count` size_t."""
        return self.take(f"{self.order}u{self.size_bytes}", count, what)

    def doubles(self, count, what="coordinates"):
        """The next `count` doubles."""
        return self.take(f"{self.order}f8", count, what)

    def remaining(self):
        """Everything left as C ints, and the position stays."""
        return np.frombuffer(self.data, f"{self.order}i4", (len(self.data) - self.offset) // 4, self.offset)

    def skip_ints(self, count):
        """Move on by `count` C ints."""
        self.offset += 4 * count

    def close(self):
        """Check that the section ends here; return the offset after its end mark."""
        mark = f"$End{self.section}".encode()
        start = self.offset
        while self.data[start : start + 1] in (b"\n", b"\r", b" "):
            start += 1
        if not self.data.startswith(mark, start):
            found = self.data[start : start + 20]
            raise self.fail(f"expected {mark.decode()}, found {found!r}; a count in the file is wrong")
        return start + len(mark)


class TextValues:
    """Numbers of an ASCII section whose text starts at byte `offset`.

    Parameters
    ----------
    path, data, offset, section
        As in :class:`BinaryValues`.
    dtype : data-type
        ``float`` or, for sections without fractions, ``np.int64``, six times quicker.
    """

    ascii = True

    def __init__(self, path, data, offset, section, dtype=np.float64):
        self.path, self.data, self.begin, self.section = path, data, offset, section
        self.position = 0
        mark = f"$End{section}".encode()
        self.end = data.find(mark, offset)
        if self.end < 0:
            raise FormatError(f"{path}: ${section} has no {mark.decode()}; the file is truncated")
        self.after = self.end + len(mark)
        self.tokens = self._parse(dtype)

    def _parse(self, dtype):
        text = self.data[self.begin : self.end].strip()
        if not text:
            return np.empty(0, dtype)
        try:
            return np.fromstring(text, dtype, sep=" ")
        except (ValueError, DeprecationWarning):  # a warning in older numpy
            raise self._bad_token(dtype) from None

    def _lines(self):
        """The section's lines with their numbers in the file, for messages."""
        first = self.data.count(b"\n", 0, self.begin) + 1
        return enumerate(self.data[self.begin : self.end].split(b"\n"), first)

    def _bad_token(self, dtype):
        convert = int if np.issubdtype(dtype, np.integer) else float
        for number, line in self._lines():
            for token in line.split():
                try:
                    convert(token)
                except ValueError:
                    shown = token[:30].decode("latin-1")
                    return FormatError(f"{self.path}: ${self.section}, line {number}: bad number {shown!r}")
        return FormatError(f"{self.path}: ${self.section} holds something that is no number")

    def fail(self, problem):
        """FormatError that says at which line the problem is."""
        number = seen = 0
        for number, line in self._lines():  # noqa: B007
            seen += len(line.split())
            if seen > self.position:
                break
        return FormatError(f"{self.path}: ${self.section}, line {number}: {problem}")

    def doubles(self, count, what="coordinates"):
        """The next `count` numbers."""
        left = len(self.tokens) - self.position
        if count > left:
            raise self.fail(
                f"{count} {what} announced, but {left} numbers are left in the section; "
                "the file is truncated or a count in it is wrong"
            )
        values = self.tokens[self.position : self.position + count]
        self.position += count
        return values

    def ints(self, count, what="integers"):
        """The next `count` numbers, which must be integers."""
        values = self.doubles(count, what)
        if values.dtype.kind == "i":
            return values
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int64)
        if not np.array_equal(whole, values):
            self.position -= count
            raise self.fail(f"{what} must be integers, not {values[whole != values][0]}")
        return whole

    def sizes(self, count, what="counts"):
        """The next `count` numbers, which must be integers of at least 0."""
        values = self.ints(count, what)
        if count and values.min() < 0:
            self.position -= count
            raise self.fail(f"{what} must not be negative, not {values.min()}")
        return values

    def remaining(self):
        """Everything left, and the position stays."""
        return self.tokens[self.position :]

    def skip_ints(self, count):
        """Move on by `count` numbers."""
        self.position += count

    def close(self):
        """Check that all is read; return the offset after the section's end mark."""
        left = len(self.tokens) - self.position
        if left:
            raise self.fail(f"{left} numbers are left over; a count in the file is wrong")
        return self.after
