"""One file of a result, in one of several formats."""

from pathlib import Path

from efield.errors import FormatError, OutputError
from efield.io.atomic import atomic_path
from efield.io.fields import FIELD_FORMATS, field_format, write_field
from efield.io.gmsh_views import write_coil_geo
from efield.io.navigation.files import FORMATS as PLACEMENT_FORMATS
from efield.io.navigation.words import CONVENTION, pose_words
from efield.io.pose import write_pose
from efield.model.cortex import named_surface
from efield.model.session import NamedPlacement, save_placements
from efield.results.outputs import check_output_file
from efield.results.tables import write_best

SUFFIX_OF = {"mrk": "ant", "mkss": "invesalius", "stmpx": "softaxic", "xml": "localite", "mat": "simnibs"}
"""Placement formats that a suffix tells; the others must be asked for by name."""


def export(result, path, format=None, *, image=None, surface=None, quantity="magnE", recovered=False):
    """Write one file of a result; see :meth:`efield.OptimizeResult.export`."""
    path = Path(path)
    name = field_format(path, format)
    name = SUFFIX_OF.get(name, name) if format is None else name
    check_output_file(path)
    try:
        if name in OWN_FORMATS:
            OWN_FORMATS[name](result, path)
        elif name in FIELD_FORMATS:
            options = {"image": image, "surface": surface, "quantity": quantity, "recovered": recovered}
            _write_field(result, path, name, **options)
        elif name in PLACEMENT_FORMATS:
            save_placements(_placements(result), path, format=name, image=image)
        else:
            raise FormatError(
                f"unknown export format {name!r} for {path}; known: {', '.join(EXPORT_FORMATS)}"
            )
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path}: {error}") from error
    return path


def _write_json(result, path):
    with atomic_path(path) as temporary:
        temporary.write_text(result.to_json(), encoding="utf-8")


def _write_picture(result, path):
    if result.candidates is None:
        raise FormatError("only the result of an optimization has a picture of the scalp")
    from efield.results.picture import save_scalp_picture

    with atomic_path(path) as temporary:
        save_scalp_picture(result, temporary)


def _write_table(result, path):
    if result.candidates is None:
        raise FormatError("only the result of an optimization has a table of placements")
    with atomic_path(path) as temporary:
        write_best(result, temporary)


def _write_field(result, path, name, *, surface=None, recovered=False, **options):
    if result.field is None:
        raise FormatError(
            "this result holds no field (one read from a folder never does); take the field "
            "files of that folder, or simulate the placement again"
        )
    field = result.field
    write_field(
        path,
        field.head,
        field.E,
        format=name,
        surface=named_surface(field.head, surface),
        recovered=field.recovered() if recovered else None,
        facts=_facts(result),
        **options,
    )


def _facts(result):
    """What the ``.json`` beside an image says about the field."""
    pose = result.placement.matsimnibs
    words = {"matsimnibs": pose.tolist(), "placement": pose_words(pose), "convention": CONVENTION}
    names = {key: result.provenance[key] for key in ("head", "coil")}
    return {"didt_A_per_s": result.didt, **names, **words}


def _placements(result):
    """The placements of a result with names: the best ones, or the only one."""
    if result.candidates is None:
        return [NamedPlacement(result.placement.matsimnibs, name="simulated", didt=result.didt)]
    best = (one.placement.matsimnibs for one in result.best)
    return [NamedPlacement(pose, name=f"best {rank}", didt=result.didt) for rank, pose in enumerate(best, 1)]


OWN_FORMATS = {
    "json": _write_json,
    "csv": _write_table,
    "txt": lambda result, path: write_pose(path, result.placement.matsimnibs, format="txt"),
    "npy": lambda result, path: write_pose(path, result.placement.matsimnibs, format="npy"),
    "png": _write_picture,
    "geo": lambda result, path: write_coil_geo(path, _placements(result)),
    "field-csv": lambda result, path: _write_field(result, path, "csv"),
}
"""Formats in which a result speaks for itself; ``csv`` is its table of placements."""

EXPORT_FORMATS = tuple(dict.fromkeys([*OWN_FORMATS, *FIELD_FORMATS, *PLACEMENT_FORMATS]))
