"""Text, numbers, JSON and XML of a file from outside, read with suspicion."""

import datetime
import json
import math
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np

from efield.errors import FormatError

MAX_BYTES = 256 * 2**20
"""A navigation file is far smaller; a larger one is something else."""

MAX_DEPTH = 100
"""Nesting of XML elements or JSON lists beyond which a file is no navigation file."""


def read_bytes(path):
    """The bytes of a file of sensible size.

    Raises
    ------
    FormatError
        The file cannot be read, is empty or larger than `MAX_BYTES`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise FormatError(f"cannot read {path!r}: {error}") from error
    if not data.strip():
        raise FormatError(f"{path} is empty")
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path} is larger than {MAX_BYTES >> 20} MiB; this is no navigation file")
    return data


def decode(path, data):
    """Text of a file: UTF-8, or UTF-16 where it says so by its first bytes."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: byte {error.start} is not {encoding[:6].upper()} text; save the file as UTF-8"
        ) from None


def number(text, where):
    """A finite float.

    Raises
    ------
    FormatError
        Anything else; `where` says what was read.
    """
    try:
        if isinstance(text, bool) or (isinstance(text, str) and "_" in text):  # float() would take both
            raise ValueError
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        raise FormatError(f"{where}: {str(text)[:40]!r} is not a number") from None
    if not math.isfinite(value):
        raise FormatError(f"{where}: {text} is not a finite number")
    return value


def timestamp(text, where):
    """A `datetime` from ISO 8601 text."""
    try:
        return datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise FormatError(f"{where}: {str(text)[:40]!r} is not a date and time (ISO 8601)") from None


def matrix(rows, where):
    """A (4, 4) array from nested lists of numbers."""
    if (
        not isinstance(rows, list)
        or len(rows) != 4
        or any(not isinstance(r, list) or len(r) != 4 for r in rows)
    ):
        raise FormatError(f"{where}: expected four rows of four numbers")
    return np.array(
        [
            [number(v, f"{where}, row {i + 1}, column {j + 1}") for j, v in enumerate(r)]
            for i, r in enumerate(rows)
        ]
    )


def parse_json(path, text):
    """The value a JSON text holds; NaN and Infinity are refused."""

    def refuse(token):
        raise FormatError(f"{path}: {token} is not a number; a pose must be finite")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}); was the file cut short?"
        ) from None
    except RecursionError:
        raise FormatError(f"{path}: JSON nested far too deep") from None
    except ValueError as error:  # an integer of thousands of digits
        raise FormatError(f"{path}: not valid JSON ({error})") from None


@dataclass(eq=False)
class Node:
    """One XML element.

    Attributes
    ----------
    tag : str
    attributes : dict of str to str
    line : int
        Where it begins.
    children : list of Node
    """

    tag: str
    attributes: dict
    line: int
    children: list = field(default_factory=list)

    def find(self, tag):
        """The first child with that tag, or None."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag):
        """The children with that tag."""
        return [child for child in self.children if child.tag == tag]


def parse_xml(path, data):
    """The root element of an XML file.

    A document type is accepted by name alone (Softaxic writes one): entities and external documents,
    through which an XML file can grow without bound or fetch others, are refused before they are read.

    Raises
    ------
    FormatError
        Not well-formed, nested deeper than `MAX_DEPTH`, or with entity definitions.
    """
    parser = expat.ParserCreate()
    root = Node("", {}, 0)
    stack = [root]

    def start(tag, attributes):
        if len(stack) > MAX_DEPTH:
            raise FormatError(
                f"{path}, line {parser.CurrentLineNumber}: elements nested deeper than {MAX_DEPTH}"
            )
        node = Node(tag, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)

    def doctype(name, system, public, has_subset):
        if system or public or has_subset:
            raise FormatError(
                f"{path}, line {parser.CurrentLineNumber}: the document type {name!r} defines or refers to "
                "entities, which is refused; remove the <!DOCTYPE ...> line"
            )

    def entity(name, *_):
        raise FormatError(f"{path}, line {parser.CurrentLineNumber}: entity {name!r} is refused")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise FormatError(
            f"{path}, line {error.lineno}: not well-formed XML ({expat.ErrorString(error.code)}); "
            "was the file cut short?"
        ) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read as XML: {error}") from None
    return root.children[0]
