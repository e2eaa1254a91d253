"""Open whatever result a folder holds."""

from dataclasses import replace
from pathlib import Path

from efield.errors import FormatError
from efield.results.cohort import CohortResult
from efield.results.comparison import TargetingComparison
from efield.results.fieldfile import load_field
from efield.results.result import OptimizeResult, SimulateResult
from efield.results.store import RESULT, load, read_result_json

FIELD = "field.msh"

COMPARISON = "comparison.json"

RECORDS = (RESULT, COMPARISON, "cohort.json")
"""Files by which a folder is told to be a result, first come first opened."""


def open_result(path):
    """Open a result folder, or the JSON in it, without its field.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    OptimizeResult, SimulateResult, TargetingComparison or CohortResult

    Raises
    ------
    FormatError
        No result, a damaged one, or a recorded session, of which only the table is kept.
    """
    file = result_file(path)
    body = read_result_json(file)
    schema = body["schema"]
    if file.name != RESULT:
        kinds = {kind.schema: kind for kind in (TargetingComparison, CohortResult)}
        if schema in kinds:
            return kinds[schema].from_json(body, file)
    else:
        kinds = {kind.schema: kind for kind in (OptimizeResult, SimulateResult)}
        if schema in kinds:
            return load(kinds[schema], file.parent)
    raise FormatError(f"{file} holds {schema}, which has no report, figures or other formats")


def with_field(result, folder):
    """A result with the field that its folder holds; as it is where the folder holds none.

    Raises
    ------
    FormatError
        The field is damaged.
    """
    path = Path(folder) / FIELD
    if not path.is_file():
        return result
    source = result.provenance
    stated = {k: v for k, v in source["conductivity"].items() if isinstance(v, float)}
    field = load_field(path, conductivity=stated)
    head = replace(field.head, name=source["head"], space=source["space"])  # which no mesh file states
    return replace(result, field=replace(field, head=head))


def comparison_beside(folder):
    """The comparison that lies in the folder of another result; None where there is none."""
    beside = Path(folder) / COMPARISON
    return open_result(beside) if beside.is_file() else None


def result_file(path):
    """The JSON of a result, named by itself or by its folder.

    Raises
    ------
    FormatError
        There is none.
    """
    path = Path(path)
    if path.suffix == ".json" and path.is_file():
        return path
    for name in RECORDS:
        if (path / name).is_file():
            return path / name
    what = "is no result" if path.is_file() else "does not exist"
    what = "holds none of " + ", ".join(RECORDS) if path.is_dir() else what
    raise FormatError(f"{path} {what}; give the folder that `--out` named")
