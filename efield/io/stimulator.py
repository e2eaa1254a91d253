"""Stimulators and their recorded pulses: the ``.tsv`` files that lie beside ``.ccd`` coils.

Line 1 names the columns, tab-separated: time (s), then a recorded signal and, under the same name
with ``_fit`` behind it, a curve fitted to it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path

__all__ = ["DIDT_RANGE", "Stimulator", "Waveform", "read_waveforms", "write_waveforms"]

MAX_PULSE_S = 1.0
"""No TMS pulse lasts a second: times that long are not in seconds."""

DIDT_RANGE = (1e5, 1e10)
"""Of the largest dI/dt, A/s: stimulators reach 1e7 to 1e9, so what lies outside is in another unit."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """dI/dt of a pulse over time, relative to its largest.

    Parameters
    ----------
    name : str or None
    time : (n,) array, s
    signal : (n,) array
    fit : (n,) array or None
        A smooth curve fitted to the signal.
    """

    name: str | None
    time: np.ndarray
    signal: np.ndarray
    fit: np.ndarray | None = None

    @property
    def duration(self):
        """Length of the record, s."""
        return float(self.time[-1] - self.time[0])


@dataclass(frozen=True, eq=False)
class Stimulator:
    """What drives a coil, as far as its file says.

    Parameters
    ----------
    name, brand : str or None
    max_didt : float or None
        Largest dI/dt, A/s, measured where the source says so.
    waveforms : tuple of Waveform
    displayed_max_didt : float or None
        What the device displays at its largest output, A/s; it differs from `max_didt` by -4 to 10 %.
    """

    name: str | None = None
    brand: str | None = None
    max_didt: float | None = None
    waveforms: tuple = ()
    displayed_max_didt: float | None = None


def read_waveforms(path):
    """Read a waveform file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    tuple of Waveform

    Raises
    ------
    FormatError
        Not readable, no header, a row of the wrong length or with a value that is not a finite number,
        times that do not rise or are not seconds. The message names file and line.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: byte {error.start} is not UTF-8 text; a waveform is text") from None
    lines = [line for line in enumerate(text.splitlines(), 1) if line[1].strip()]
    names = _column_names(path, lines)
    rows = [_row(path, number, line, names) for number, line in lines[1:]]
    if len(rows) < 2:
        raise FormatError(f"{path}: {len(rows)} samples are no waveform; the file is truncated")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    time = columns.pop(names[0])
    if not (np.diff(time) > 0).all():
        late = int(np.argmin(np.diff(time) > 0)) + 1
        raise FormatError(
            f"{path}, line {lines[late + 1][0]}: time {time[late]:g} is not after the one before"
        )
    if time[-1] - time[0] > MAX_PULSE_S:
        raise FormatError(f"{path}: lasts {time[-1] - time[0]:g} s, which is no TMS pulse; times are seconds")
    signals = [name for name in columns if not (name.endswith("_fit") and name[: -len("_fit")] in columns)]
    return tuple(Waveform(name, time, columns[name], columns.get(f"{name}_fit")) for name in signals)


def write_waveforms(path, waveforms):
    """Write pulses recorded at the same times, atomically; `read_waveforms` gives the same numbers back.

    Parameters
    ----------
    path : path-like
    waveforms : sequence of Waveform
        One without a name is written as ``signal``.

    Raises
    ------
    FormatError
        Pulses of different times, or names that do not survive the format.
    OutputError
        The file cannot be written.
    """
    columns = {"time": waveforms[0].time}
    for waveform in waveforms:
        if not np.array_equal(waveform.time, waveforms[0].time):
            raise FormatError(f"{path}: pulse {waveform.name!r} is recorded at other times than the first")
        name = waveform.name or "signal"
        columns[name] = waveform.signal
        if waveform.fit is not None:
            columns[f"{name}_fit"] = waveform.fit
    rows = [columns, *(map(repr, row) for row in np.column_stack(list(columns.values())).tolist())]
    with atomic_path(path) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
        read_waveforms(temporary)


def _column_names(path, lines):
    names = [name.strip() for name in lines[0][1].removeprefix("#").split("\t")] if lines else []
    if len(names) < 2 or len(set(names)) != len(names) or not names[0].casefold().startswith("time"):
        raise FormatError(
            f"{path}, line 1: expected the tab-separated names of a time column and its signals, found "
            f"{lines[0][1][:40] if lines else ''!r}"
        )
    return names


def _row(path, number, line, names):
    words = line.split("\t")
    if len(words) != len(names):
        raise FormatError(f"{path}, line {number}: {len(words)} columns, but line 1 names {len(names)}")
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = [np.nan]
    if not np.isfinite(row).all():
        raise FormatError(f"{path}, line {number}: {line[:40]!r} is not {len(names)} finite numbers")
    return row
