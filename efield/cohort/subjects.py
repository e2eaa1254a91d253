"""The subjects of a cohort: a table of heads, or a folder of ``m2m_<subject>``."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from efield.errors import CohortError
from efield.model.heads import BUILTIN_HEADS
from efield.model.m2m import SubjectFolder, is_subject_folder
from efield.model.named_targets import NAMED_TARGETS
from efield.model.target_text import parse_target, parse_vector

DELIMITERS = {".csv": ",", ".tsv": "\t"}

FILES = ("head", "dti", "coil", "landmarks", "map", "map_mask")
"""Columns that may hold a path: relative to the table, unless it is a name."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Subject:
    """One subject of a cohort.

    Attributes
    ----------
    name : str
        Unique; names the folder of its results.
    head : str
        A built-in head, a mesh file or a folder ``m2m_<subject>``.
    own : dict
        What is this subject's own: some of the keys of `COLUMNS`.
    """

    name: str
    head: str
    own: dict = field(default_factory=dict)


def read_subjects(source):
    """The subjects of a table, of a folder, or of a sequence of mappings.

    Parameters
    ----------
    source : path or sequence of mapping
        A ``.csv`` or ``.tsv`` with the columns ``subject`` and ``head`` and, where subjects differ, those
        of `COLUMNS`; a folder that holds ``m2m_<subject>`` folders; or rows with the same keys.

    Returns
    -------
    tuple of Subject
        In the order of the table; of a folder, by name.

    Raises
    ------
    CohortError
        No subjects, one twice, a name that cannot name a folder, an unknown column, an empty cell.
    """
    if not isinstance(source, str | Path):
        rows, base, where = list(source), Path(), "subject {} of the list"
    elif Path(source).is_dir():
        rows, base, where = _folder_rows(Path(source)), Path(), f"{source}, folder {{}}"
    else:
        rows, base, where = _table_rows(Path(source)), Path(source).parent, f"{source}, row {{}}"
    subjects = tuple(_subject(row, base, where.format(i)) for i, row in enumerate(rows, start=1))
    if not subjects:
        raise CohortError(f"{source} names no subjects")
    seen = {}
    for subject in subjects:
        other = seen.setdefault(subject.name.casefold(), subject)
        if other is not subject:
            raise CohortError(
                f"{subject.name!r} and {other.name!r} name one folder; give each subject its own name"
            )
    return subjects


def with_images(subjects, pattern):
    """Subjects with a tensor image each: their own, else `pattern` with their name for ``{subject}``."""
    images = [Path(pattern.replace("{subject}", one.name)).expanduser().resolve() for one in subjects]
    return tuple(
        replace(one, own={"dti": str(image), **one.own}) for one, image in zip(subjects, images, strict=True)
    )


def _folder_rows(folder):
    if is_subject_folder(folder):
        raise CohortError(f"{folder} is one subject; give the folder that holds it, or a table of heads")
    found = sorted(path for path in folder.glob("m2m_*") if is_subject_folder(path))
    if not found:
        raise CohortError(f"{folder} holds no folders m2m_<subject>; give their folder or a table of heads")
    return [{"subject": SubjectFolder(path).subject, "head": str(path)} for path in found]


def _table_rows(path):
    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        raise CohortError(f"{path} is neither a folder nor a table: give a .csv or .tsv file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey="", strict=True)
            return [row for row in reader if any(row.values())]
    except OSError as error:
        raise CohortError(f"cannot read {path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeError) as error:
        raise CohortError(f"{path} is no table of text: {error}") from error


def _subject(row, base, where):
    if not isinstance(row, Mapping):
        raise CohortError(f"{where} is a {type(row).__name__}; give a mapping with the keys subject and head")
    cells = {key: _text(value) for key, value in row.items() if value is not None}
    unknown = [key for key in row if key not in ("subject", "head", *COLUMNS)]
    if unknown:
        named = "more cells than the header" if "" in unknown else f"the unknown column {unknown[0]!r}"
        raise CohortError(f"{where} has {named}; columns: subject, head, {', '.join(COLUMNS)}")
    for key in ("subject", "head"):
        if not cells.get(key):
            raise CohortError(f"{where} has no {key!r}; the columns subject and head are needed")
    if NAME.fullmatch(cells["subject"]) is None:
        raise CohortError(
            f"{where}: {cells['subject']!r} cannot name a folder; use letters, digits, '-', '_' and '.', a "
            "letter or a digit first"
        )
    cells |= {key: _located(cells[key], base) for key in FILES if cells.get(key)}
    own = {}
    for key in filter(cells.get, COLUMNS):
        try:
            own[key] = COLUMNS[key](cells[key])
        except ValueError as error:
            raise CohortError(f"{where}, column {key!r}: {error}") from error
    if own.get("target"):
        own["target"] = _located_target(own["target"], base)
    return Subject(cells["subject"], cells["head"], own)


def _text(value):
    """A value of a mapping as a table would hold it."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value).strip()


def _located(text, base):
    """A path of the table as one that holds anywhere; names stay."""
    if text in BUILTIN_HEADS:
        return text
    mni, body = ("mni:", text[4:]) if text.startswith("mni:") else ("", text)
    path = base / Path(body).expanduser()
    looks_like_a_path = path.exists() or path.suffix != "" or len(Path(body).parts) > 1
    return f"{mni}{path.resolve()}" if looks_like_a_path else text


def _located_target(text, base):
    return _located(text, base) if text.lower().endswith((".nii", ".nii.gz")) else text


def _vector(text):
    numbers = parse_vector(text.replace(" ", ",") if "," not in text else text)
    if numbers is None:
        raise ValueError(f"{text!r} is not three finite numbers x,y,z")
    return numbers


def _positive(text):
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not a finite number of at least 0")
    return number


def _yes(text):
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.lower() in ("yes", "true", "1")


def _target(text):
    if text not in NAMED_TARGETS:
        parse_target(text)  # its error is a ValueError that lists the forms
    return text


COLUMNS = {
    "dti": str,
    "coil": str,
    "target": _target,
    "distance_mm": _positive,
    "direction": _vector,
    "hotspot": _vector,
    "landmarks": str,
    "map": str,
    "map_mask": str,
    "lowest": _yes,
}
"""What a table may say of one subject alone: column, and how its text is read."""
