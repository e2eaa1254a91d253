"""One file of a result, in one of several formats."""

from pathlib import Path

from efield.errors import FormatError, OutputError
from efield.io.atomic import atomic_path
from efield.io.fields import write_field
from efield.io.pose import write_pose
from efield.results.outputs import check_output_file
from efield.results.tables import write_best


def export(result, path, format=None):
    """Write one file of a result; see :meth:`efield.OptimizeResult.export`."""
    path = Path(path)
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in _EXPORTS:
        raise FormatError(f"unknown export format {name!r} for {path}; known: {', '.join(_EXPORTS)}")
    check_output_file(path)
    try:
        with atomic_path(path) as temporary:
            _EXPORTS[name](result, temporary)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path}: {error}") from error
    return path


def _write_picture(result, path):
    if result.candidates is None:
        raise FormatError("only the result of an optimization has a picture of the scalp")
    from efield.results.picture import save_scalp_picture

    save_scalp_picture(result, path)


def _write_table(result, path):
    if result.candidates is None:
        raise FormatError("only the result of an optimization has a table of placements")
    write_best(result, path)


def _field_writer(suffix):
    def write(result, path):
        if result.field is None:
            raise FormatError(
                "this result holds no field (one read from a folder never does); take the field "
                "files of that folder, or simulate the placement again"
            )
        write_field(path, result.field.head, result.field.E, format=suffix)

    return write


def _pose_writer(suffix):
    return lambda result, path: write_pose(path, result.placement.matsimnibs, format=suffix)


_EXPORTS = {
    "json": lambda result, path: path.write_text(result.to_json(), encoding="utf-8"),
    "csv": _write_table,
    "txt": _pose_writer("txt"),
    "npy": _pose_writer("npy"),
    "msh": _field_writer("msh"),
    "vtu": _field_writer("vtu"),
    "png": _write_picture,
}
