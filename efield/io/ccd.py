"""SimNIBS ``.ccd`` coil files: magnetic dipoles as text.

Line 1 is a comment with a title and ``;``-separated ``key=value`` fields (old files have
none). Then come the number of dipoles and one row ``x y z mx my mz`` per dipole: positions
in metres, moments in A m^2 per ampere of coil current. Lines that start with ``#`` and blank
lines may stand anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.stimulator import DIDT_RANGE

__all__ = ["CcdRecord", "read_ccd", "write_ccd"]

MAX_SPAN_M = 2.0
"""No TMS coil spans two metres: a file that seems to has its positions in millimetres."""

COLUMNS = "x y z mx my mz"


@dataclass(frozen=True, eq=False)
class CcdRecord:
    """What a ``.ccd`` file says, in the file's units.

    Parameters
    ----------
    positions_m : (n, 3) array
        Dipole positions, metres.
    moments : (n, 3) array
        Dipole moments, A m^2 per ampere of coil current.
    title : str
        Line 1 up to its first ``;``.
    header : mapping of str to str
        The ``key=value`` fields of line 1 as written; `get` finds them in any case.
    """

    positions_m: np.ndarray
    moments: np.ndarray
    title: str = ""
    header: Mapping[str, str] = field(default_factory=dict)

    def get(self, key):
        """Text of a header field, in any case; None when it is absent, empty or the word None."""
        for name, value in self.header.items():
            if name.casefold() == key.casefold() and value.casefold() not in ("", "none"):
                return value
        return None

    @property
    def didt_max(self):
        """Largest dI/dt of the stimulator as the file gives it, A/us, or None."""
        return self._didt("dIdtmax")

    @property
    def didt_displayed(self):
        """Largest dI/dt that the stimulator displays, A/us, or None; it differs from the measured one."""
        return self._didt("dIdtstim")

    @property
    def limits_mm(self):
        """(3, 2) suggested limits of a sampled field along x, y and z, mm, or None."""
        limits = [self._numbers(axis, 2) for axis in "xyz"]
        return None if any(limit is None for limit in limits) else np.array(limits)

    @property
    def resolution_mm(self):
        """Suggested spacing of a sampled field, mm, or None."""
        value = self._numbers("resolution", 1)
        if value is not None and value[0] <= 0:
            raise FormatError(f"header field resolution={value[0]:g} must be positive")
        return None if value is None else value[0]

    def _numbers(self, key, count):
        text = self.get(key)
        if text is None:
            return None
        try:
            values = _finite_numbers(text.split(","))
        except ValueError as error:
            raise FormatError(f"header field {key}={text!r}: {error}") from None
        if len(values) != count:
            raise FormatError(f"header field {key}={text!r}: expected {count} value(s), found {len(values)}")
        return values

    def _didt(self, key):
        value = self._numbers(key, 1)
        if value is None:
            return None
        low, high = (limit / 1e6 for limit in DIDT_RANGE)
        if not low <= value[0] <= high:
            raise FormatError(
                f"header field {key}={value[0]:g} lies outside {low:g} to {high:g} A/us; a .ccd states A/us"
            )
        return value[0]


def read_ccd(path):
    """Read a ``.ccd`` coil file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    CcdRecord

    Raises
    ------
    FormatError
        The file cannot be read, is binary, has a bad header field, a row that is not six finite
        numbers, a count that does not match its rows, or positions in millimetres. The message
        names file and line.
    """
    path = Path(path)
    lines = _read_lines(path)
    title, header = _parse_header(lines[0]) if lines[0].startswith("#") else ("", {})
    rows = [(i, s) for i, s in enumerate(lines, 1) if s and not s.startswith("#")]
    if not rows:
        raise FormatError(f"{path}: no number of dipoles and no dipoles; not a .ccd coil, or truncated")
    count = _parse_count(path, *rows[0])
    # Rows are parsed before they are counted: a bad row is the more telling complaint.
    dipoles = np.array([_parse_row(path, i, s) for i, s in rows[1:]]).reshape(-1, 6)
    if len(dipoles) != count:
        raise FormatError(
            f"{path}, line {rows[0][0]}: announces {count} dipoles but {len(dipoles)} rows follow; "
            "the file is truncated or its count is wrong"
        )
    record = CcdRecord(dipoles[:, :3], dipoles[:, 3:], title, header)
    _check_units(path, record.positions_m)
    _check_fields(path, record)
    return record


def write_ccd(path, record):
    """Write a ``.ccd`` coil file, atomically; `read_ccd` gives the same numbers back.

    Parameters
    ----------
    path : path-like
    record : CcdRecord

    Raises
    ------
    FormatError
        Arrays of the wrong shape or not finite, no dipoles, or title or header fields that would not
        survive the format or be read.
    OutputError
        The file cannot be written.
    """
    positions, moments = np.asarray(record.positions_m, float), np.asarray(record.moments, float)
    if positions.shape != moments.shape or positions.shape[1:] != (3,) or not len(positions):
        raise FormatError(
            f"{path}: positions {positions.shape} and moments {moments.shape} must both be (n, 3), n > 0"
        )
    dipoles = np.hstack([positions, moments])
    bad = np.argwhere(~np.isfinite(dipoles))
    if len(bad):
        raise FormatError(f"{path}: column {bad[0][1] + 1} ({COLUMNS}) of dipole {bad[0][0]} is not finite")
    _check_units(path, dipoles[:, :3])
    _check_fields(path, record)
    head = _format_header(path, record)
    body = "".join(" ".join(map(repr, row)) + "\n" for row in dipoles.tolist())
    with atomic_path(path) as temporary:
        Path(temporary).write_text(
            f"{head}\n{len(dipoles)}\n# {COLUMNS}: magnetic dipoles, m and A m^2 per A\n{body}",
            encoding="utf-8",
            newline="\n",
        )


def _read_lines(path):
    """Stripped lines of a text file; at least one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    if b"\0" in data:
        raise FormatError(f"{path}: binary data at byte {data.index(0)}; a .ccd coil is a text file")
    text = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in text.split("\n")]


def _parse_header(line):
    title, *fields = (part.strip() for part in line.removeprefix("#").split(";"))
    pairs = (field.partition("=") for field in fields if "=" in field)
    return title, {key.strip(): value.strip() for key, _, value in pairs}


def _format_header(path, record):
    parts = [record.title, *(f"{key}={value}" for key, value in record.header.items())]
    head = "# " + ";".join(parts)
    if not head.isprintable() or _parse_header(head) != (record.title, dict(record.header)):
        raise FormatError(
            f"{path}: title {record.title!r} and fields {dict(record.header)!r} do not fit a .ccd header: "
            "they are one line, ';' separates fields, '=' ends a key, outer blanks are dropped"
        )
    return head


def _parse_count(path, number, line):
    try:
        count = int(line)
    except ValueError:
        raise FormatError(
            f"{path}, line {number}: expected the number of dipoles, found {_shown(line)}"
        ) from None
    if count < 1:
        raise FormatError(f"{path}, line {number}: the number of dipoles must be at least 1, not {count}")
    return count


def _parse_row(path, number, line):
    fields = line.split()
    if len(fields) != 6:
        raise FormatError(
            f"{path}, line {number}: expected six columns ({COLUMNS}), found {len(fields)}: {_shown(line)}"
        )
    try:
        return _finite_numbers(fields)
    except ValueError as error:
        raise FormatError(f"{path}, line {number}: {error}") from None


def _finite_numbers(texts):
    """Floats of `texts`; ValueError naming the first that is no finite decimal number."""
    values = []
    for text in texts:
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value) or "_" in text:  # Python's float takes 1_0 for ten
            raise ValueError(f"{_shown(text)} is not a finite number")
        values.append(value)
    return values


def _check_units(path, positions):
    span = np.ptp(positions, axis=0).max()
    if max(span, np.abs(positions).max()) > MAX_SPAN_M:
        raise FormatError(
            f"{path}: dipoles span {span:g} and reach {np.abs(positions).max():g}, which as metres is no "
            f"coil (limit {MAX_SPAN_M:g} m); positions of a .ccd are metres, these look like millimetres: "
            "divide them by 1000"
        )


def _check_fields(path, record):
    """Raise, with file and line, where a header field cannot be used."""
    try:
        _ = record.didt_max, record.didt_displayed, record.limits_mm, record.resolution_mm
    except FormatError as error:
        raise FormatError(f"{path}, line 1: {error}") from None


def _shown(text, width=40):
    return repr(text if len(text) <= width else text[:width] + "...")
