"""Fields in Gmsh files (``$NodeData``, ``$ElementData``) and the scripts that show them.

SimNIBS leaves beside a simulation a ``.geo`` with the coil and a ``.msh.opt`` with the view's options, which
Gmsh reads when it opens the mesh; both are written here from the format's description.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.navigation.words import CONVENTION, pose_words

ARROW_MM = 40.0
"""Length of the arrows that show a coil's axes."""


@dataclass(frozen=True, eq=False)
class View:
    """One field of a Gmsh file.

    Attributes
    ----------
    name : str
    numbers : (n,) int array
        Of the nodes or elements, as the file numbers them.
    values : (n, k) array
    after : int
        Where the section ends.
    """

    name: str
    numbers: np.ndarray
    values: np.ndarray
    after: int

    def values_of(self, path, wanted):
        """Rows (len(wanted), k) of some nodes or elements.

        Raises
        ------
        FormatError
            One of them has no value, or one that is not finite.
        """
        order = np.argsort(self.numbers, kind="stable")
        ordered = self.numbers[order]
        place = np.minimum(np.searchsorted(ordered, wanted), max(len(ordered) - 1, 0))
        missing = np.ones(len(wanted), bool) if not len(ordered) else ordered[place] != wanted
        if missing.any():
            raise FormatError(
                f"{path}: field {self.name!r} has no value for {np.count_nonzero(missing)} of {len(wanted)} "
                f"nodes or tetrahedra, the first is number {wanted[np.argmax(missing)]}"
            )
        rows = self.values[order[place]]
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise FormatError(f"{path}: field {self.name!r} is not finite at number {wanted[bad[0]]}")
        return rows


def read_view(path, data, offset, section, header):
    """Parse the section whose body begins at `offset`.

    Parameters
    ----------
    path : path-like
        For messages.
    data : bytes
    offset : int
    section : {"NodeData", "ElementData"}
    header : object with ``ascii`` and ``order``

    Returns
    -------
    View
    """
    strings, offset = _lines(path, data, offset, section)
    _, offset = _lines(path, data, offset, section)
    integers, offset = _lines(path, data, offset, section)
    try:
        components, count = (int(word) for word in integers[1:3])
    except ValueError:
        raise FormatError(f"{path}: ${section}: bad integer tags {integers}; the file is damaged") from None
    name = strings[0].strip().strip('"') if strings else ""
    if components not in (1, 3, 9) or count < 0:
        raise FormatError(f"{path}: ${section} {name!r} has {components} components of {count} values")
    mark = f"$End{section}".encode()
    read = _text_rows if header.ascii else _binary_rows
    numbers, values, end = read(path, data, offset, f"${section} {name!r}", count, components, mark, header)
    return View(name, numbers, values, end + len(mark))


def _lines(path, data, offset, section):
    """A count and that many lines; and where the next begin."""
    count, offset = _line(path, data, offset, section)
    if not count.isdecimal() or len(count) > 2:
        raise FormatError(f"{path}: ${section}: expected a number of tags, found {count[:40]!r}")
    lines = []
    for _ in range(int(count)):
        line, offset = _line(path, data, offset, section)
        lines.append(line)
    return lines, offset


def _line(path, data, offset, section):
    end = data.find(b"\n", offset)
    if end < 0:
        raise FormatError(f"{path}: ${section} ends within its tags; the file is truncated")
    return data[offset:end].strip().decode("utf-8", "replace"), end + 1


def _binary_rows(path, data, offset, what, count, components, mark, header):
    row = np.dtype([("number", f"{header.order}i4"), ("value", f"{header.order}f8", (components,))])
    end = offset + count * row.itemsize
    if end > len(data):
        raise FormatError(
            f"{path}: {what} needs {end - offset} bytes, {len(data) - offset} are left; truncated"
        )
    rows = np.frombuffer(data, row, count, offset)
    while data[end : end + 1] in (b"\n", b"\r", b" "):
        end += 1
    if not data.startswith(mark, end):
        raise FormatError(f"{path}: {what}: {mark.decode()} is missing; a count in the file is wrong")
    return rows["number"].astype(np.int64), rows["value"].astype(np.float64), end


def _text_rows(path, data, offset, what, count, components, mark, header):
    end = data.find(mark, offset)
    if end < 0:
        raise FormatError(f"{path}: {what} has no {mark.decode()}; the file is truncated")
    words = data[offset:end].split()
    if len(words) != count * (1 + components):
        raise FormatError(f"{path}: {what} has {len(words)} numbers, not {count * (1 + components)}")
    try:
        table = np.array(words, dtype=np.float64).reshape(count, 1 + components)
        numbers = np.array(words[:: 1 + components], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{path}: {what}: {error}") from None
    return numbers, table[:, 1:], end


def write_coil_geo(path, records):
    """Write a ``.geo`` in which Gmsh shows coils: their centres and axes.

    Parameters
    ----------
    path : path-like
    records : sequence of objects with ``matsimnibs`` and ``name``
    """
    lines = [f"// Written by efield: coil placements, mm, RAS. {CONVENTION}"]
    for record in records:
        pose = np.asarray(record.matsimnibs, dtype=np.float64)
        name = record.name.replace('"', "'")
        lines += [f"// {name}: {pose_words(pose)}", f'View "{name}: x, y (pos_ydir), z"{{']
        for axis, length in zip(pose[:3, :3].T, (0.5, 1.0, 0.5), strict=True):
            place, arrow = _numbers(pose[:3, 3]), _numbers(length * ARROW_MM * axis)
            lines.append(f"VP({place}){{{arrow}}};")
        lines += [f'T3({_numbers(pose[:3, 3] + ARROW_MM * pose[:3, 1])}, 0){{"y"}};', "};"]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _numbers(values):
    return ", ".join(repr(float(value)) for value in values)


def write_view_options(path, *, tags, fields, merge=()):
    """Write the ``.msh.opt`` by which Gmsh opens a mesh with its field shown on some tissues.

    Parameters
    ----------
    path : path-like
        Of the mesh; ``.opt`` is added to its name.
    tags : sequence of int
        Tissues to show.
    fields : sequence of str
        Names of the mesh's fields in their order; the last one is shown.
    merge : sequence of path-like
        Files to open with it, such as the coil's ``.geo``.
    """
    path = Path(path)
    lines = [
        "// Written by efield.",
        "Mesh.SurfaceFaces = 0; Mesh.SurfaceEdges = 0; Mesh.VolumeFaces = 0; Mesh.VolumeEdges = 0;",
        "Hide {:}",
        f"Show {{ Volume{{{', '.join(str(int(tag)) for tag in tags)}}}; }}",
    ]
    for i, _ in enumerate(fields):
        lines.append(f"View[{i}].Visible = {int(i == len(fields) - 1)};")
    lines += [f'Merge "{Path(name).name}";' for name in merge]
    with atomic_path(path.with_name(path.name + ".opt")) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
