"""What a run returns: records, strict JSON and its schemas, storage, export, the picture."""

from efield.results.outputs import check_output, check_output_file
from efield.results.parts import BestPlacement, Candidates, Check, ObjectiveValue, ResultWarning
from efield.results.provenance import provenance
from efield.results.result import OptimizeResult, SimulateResult
from efield.results.schema import json_schema

__all__ = [
    "BestPlacement",
    "Candidates",
    "Check",
    "ObjectiveValue",
    "OptimizeResult",
    "ResultWarning",
    "SimulateResult",
    "check_output",
    "check_output_file",
    "json_schema",
    "provenance",
]
