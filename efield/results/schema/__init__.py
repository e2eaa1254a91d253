"""The JSON Schemas of the files efield writes, one for each kind and version."""

import json
from importlib.resources import files

KINDS = ("efield.optimize/1", "efield.simulate/1", "efield.session/1", "efield.compare/1", "efield.cohort/1")


def json_schema(kind):
    """JSON Schema (draft 2020-12) of a kind, for example ``"efield.optimize/1"``, as a dict."""
    name = kind.removeprefix("efield.").replace("/", "-") + ".json"
    return json.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))
