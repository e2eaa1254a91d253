"""The report: one HTML file that needs nothing else."""

import base64
import hashlib
import json
from importlib.resources import files

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.report import charts, facts
from efield.report.extra import need
from efield.report.solid import head_figure
from efield.report.theme import CONFIG
from efield.results.comparison import COLUMNS, TargetingComparison
from efield.results.opened import comparison_beside, open_result, result_file, with_field
from efield.results.outputs import check_output_file
from efield.results.parts import ResultWarning
from efield.results.result import OptimizeResult, SimulateResult
from efield.results.words import didt_words, digits, objective_words

FIELD_GONE = "The field (field.msh) is not in the result folder: no head, no distribution, no landmarks."
SCENE_GONE = "The coil and the target's elements (scene.npz) are not in the result folder."


def write_report(result, path, *, fiducials=None, progress=None):
    """Write a self-contained HTML report.

    Parameters
    ----------
    result : OptimizeResult, SimulateResult, TargetingComparison, or path-like
        A result, or the folder it was saved in. A folder may hold a comparison beside the result; the
        report then has both.
    path : path-like
    fiducials : Fiducials, optional
        Landmarks for the tape instructions; by default those that the head brings.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    Path

    Raises
    ------
    FormatError
        A result of another kind, or a damaged one.
    MissingExtraError
        plotly or Jinja2 is not installed: ``pip install 'efield[report]'``.
    OutputError
        The file cannot be written.
    """
    path = check_output_file(path)
    for module in ("plotly", "jinja2"):
        need(module, "report")
    report = progress or (lambda stage, fraction: None)
    report("read", 0.0)
    result, comparison = _gather(result)
    report("draw", 0.0)
    text = _render(_contents(result, comparison, fiducials))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _gather(result):
    """The result and the comparison, either of which may be None."""
    if isinstance(result, OptimizeResult | SimulateResult):
        return result, None
    if isinstance(result, TargetingComparison):
        return None, result
    folder = result_file(result).parent
    found = open_result(result)
    if isinstance(found, TargetingComparison):
        return None, found
    if not isinstance(found, OptimizeResult | SimulateResult):
        raise FormatError(f"{result} holds {found.schema}, which has no report; see `efield figures`")
    return with_field(found, folder), comparison_beside(folder)


def _contents(result, comparison, fiducials):
    """What the template shows."""
    shown = {"comparison": None if comparison is None else _compared(comparison)}
    figures = {} if comparison is None else {"compare": charts.comparison_figure(comparison)}
    if result is None:
        return shown | {
            "result": None,
            "title": f"{comparison.target['name']}: ways of finding it",
            "subtitle": f"{comparison.provenance['coil']} on {comparison.provenance['head']}",
            "at": f"V/m at {didt_words(comparison.didt)}",
            "warnings": comparison.warnings,
            "provenance": facts.provenance_rows(comparison),
            "methods": facts.compared_text(comparison),
            "figures": _present(figures),
        }
    head, layers = head_figure(result)
    parts = charts.distribution(result)
    figures |= {
        "head": head,
        "yaw": charts.yaw_figure(result),
        "tolerance": charts.tolerance_figure(result),
        "distribution": None if parts is None else charts.distribution_figure(parts),
    }
    return shown | {
        "result": result,
        "title": _title(result),
        "subtitle": f"{result.provenance['coil']} on {result.provenance['head']}",
        "headline": _headline(result),
        "at": f"V/m at {didt_words(result.didt)}",
        "missing": _missing(result),
        "layers": layers,
        "place": facts.place_rows(result),
        "measures": facts.measure_rows(result),
        "matrix": facts.matrix_text(result.placement),
        "landmarks": facts.landmark_facts(result, fiducials),
        "yaw_words": None if figures["yaw"] is None else charts.yaw_sentence(result),
        "distribution": None if parts is None else charts.distribution_rows(parts),
        "robustness": getattr(result, "robustness", None),
        "tolerance": charts.tolerance_rows(result) if getattr(result, "robustness", None) else [],
        "checks": facts.check_rows(result),
        "best": [(b.value, b.info) for b in getattr(result, "best", ())],
        "warnings": _warnings(result, comparison),
        "provenance": facts.provenance_rows(result, fiducials),
        "methods": " ".join(facts.methods_of(result, comparison)),
        "figures": _present(figures),
    }


def _title(result):
    what = "Best placement" if isinstance(result, OptimizeResult) else "Field of a placement"
    return f"{what} for {result.target['name']}"


def _headline(result):
    """The number that the run is about, and its words."""
    if isinstance(result, OptimizeResult):
        goal = result.objective
        return f"{goal.value:#.4g} {goal.unit}", objective_words(goal.name)
    return f"{result.metrics['mean']:#.4g} V/m", objective_words("mean_magnitude")


def _warnings(result, comparison):
    """Those of both, and that they are not of one thing."""
    if comparison is None:
        return result.warnings
    apart = facts.differences(result, comparison)
    others = [w for w in comparison.warnings if w not in result.warnings]
    if apart:
        others.append(
            ResultWarning("comparison", f"the comparison in this folder is of another {' and '.join(apart)}")
        )
    return [*result.warnings, *others]


def _missing(result):
    gone = [] if result.field is not None else [FIELD_GONE]
    return gone if result.scene is not None else [*gone, SCENE_GONE]


def _compared(comparison):
    rows = []
    for row in comparison.rows:
        cells = ["" if row[key] is None else format(row[key], form) for key, _, form in COLUMNS]
        rows.append((row["method"], row["summary"], row["error"], cells))
    return {"headings": [heading for _, heading, _ in COLUMNS], "rows": rows}


def _present(figures):
    return {name: figure for name, figure in figures.items() if figure is not None}


# --- rendering


def _render(contents):
    jinja2 = need("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("efield.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"point": facts.point, "digits": digits}
    folder = files("efield.report").joinpath("templates")
    script = folder.joinpath("report.js").read_text(encoding="utf-8")
    plotly = files("efield.report").joinpath("vendor", "plotly-gl3d.min.js").read_text(encoding="utf-8")
    figures = {name: _as_json(figure) for name, figure in contents["figures"].items()}
    return environment.get_template("report.html").render(
        contents,
        data={name: jinja2.utils.markupsafe.Markup(_in_script(text)) for name, text in figures.items()},
        style=jinja2.utils.markupsafe.Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
        scripts=[jinja2.utils.markupsafe.Markup(text) for text in (plotly, script)],
        hashes=" ".join(f"'sha256-{_digest(text)}'" for text in (plotly, script)),
    )


def _as_json(figure):
    """A figure with what plotly.js needs to draw it."""
    figure.layout.template = None  # the page has its own colours
    body = json.loads(need("plotly.io", "report").to_json(figure, validate=False, engine="json"))
    return json.dumps({**body, "config": CONFIG}, allow_nan=False, separators=(",", ":"))


def _in_script(text):
    """JSON that cannot end or open an element of HTML."""
    marks = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return text.translate(str.maketrans(marks))


def _digest(text):
    """SHA-256 of a script's text as a policy states it."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
