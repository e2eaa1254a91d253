"""What `efield compare` returns: one row a method, as JSON, CSV, Markdown and a picture."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.results.outputs import check_output, check_output_file
from efield.results.parts import ResultWarning
from efield.results.plain import dumps, plain
from efield.results.result import UNITS

COMPARE_SCHEMA = "efield.compare/1"

COLUMNS = (
    ("to_optimum_mm", "to optimum, mm", ".1f"),
    ("mean", "mean E, V/m", "#.4g"),
    ("p99", "p99, V/m", "#.4g"),
    ("percent_of_optimum", "% of optimum", ".1f"),
    ("half_value_volume_mm3", "half-value volume, mm3", ".0f"),
    ("off_target", "off-target p99.9, V/m", "#.4g"),
    ("coil_cortex_mm", "coil-cortex, mm", ".1f"),
    ("expected_loss_percent", "expected loss, %", ".1f"),
    ("probability_optimum_better", "P(optimum better)", ".2f"),
)
"""Numbers of a row: key, heading, format."""

_ROW_KEYS = ("method", "summary", "measured", "error", "placement", "noise", *(key for key, _, _ in COLUMNS))


@dataclass(frozen=True, eq=False)
class TargetingComparison:
    """Methods compared on one head.

    Attributes
    ----------
    rows : tuple of dict
        One a method: ``method``, ``summary``, ``measured``, ``error``, ``placement`` (as in other results),
        the numbers of `COLUMNS` and ``noise``. A method that failed has its ``error`` and None elsewhere; a
        number that does not exist is None.
    target : dict
        Summary of the region.
    didt : float
    warnings : tuple of ResultWarning
    timings : dict
    provenance : dict
    """

    rows: tuple
    target: dict
    didt: float
    warnings: tuple
    timings: dict
    provenance: dict

    schema = COMPARE_SCHEMA

    @classmethod
    def from_json(cls, body, path):
        """What :meth:`to_dict` made; `path` is for messages.

        Raises
        ------
        FormatError
            A key is missing.
        """
        try:
            return cls(
                rows=tuple({key: row[key] for key in _ROW_KEYS} for row in body["methods"]),
                target=body["target"],
                didt=body["didt"],
                warnings=tuple(ResultWarning(**w) for w in body["warnings"]),
                timings=body["timings_s"],
                provenance=body["provenance"],
            )
        except (KeyError, TypeError) as error:
            raise FormatError(f"{path} lacks or misnames a key of {COMPARE_SCHEMA}: {error}") from error

    def __getitem__(self, method):
        """The row of a method by name."""
        return next(row for row in self.rows if row["method"] == method)

    def to_dict(self, volatile=True):
        """Everything as plain Python values; without `volatile` byte-stable between runs."""
        provenance = dict(self.provenance)
        if not volatile:
            provenance.pop("run", None)
        body = {
            "schema": COMPARE_SCHEMA,
            "frame": {"space": self.target["space"], "axes": "RAS", "length": "mm"},
            "units": dict(UNITS),
            "didt": self.didt,
            "target": self.target,
            "methods": list(self.rows),
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
            "provenance": provenance,
        }
        if volatile:
            body["timings_s"] = self.timings
        return plain(body)

    def to_json(self, volatile=True):
        """:meth:`to_dict` as strict JSON text."""
        return dumps(self.to_dict(volatile))

    def to_csv(self):
        """One row a method; empty cells where a number does not exist."""
        header = ["method", *(key for key, _, _ in COLUMNS), "yaw_to_midline_deg"]
        header += ["scalp_x_mm", "scalp_y_mm", "scalp_z_mm", "measured", "error"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for row in self.rows:
            place = row["placement"] or {"yaw_to_midline_deg": None, "scalp_mm": [None] * 3}
            numbers = [row[key] for key, _, _ in COLUMNS]
            cells = [row["method"], *numbers, place["yaw_to_midline_deg"], *place["scalp_mm"]]
            writer.writerow([*cells, row["measured"], row["error"]])
        return text.getvalue()

    def to_markdown(self):
        """The same as a table for people, with failures below it; E is that in the target."""
        headings = ["method", *(heading for _, heading, _ in COLUMNS)]
        lines = ["| " + " | ".join(headings) + " |", "|---" + "|---:" * len(COLUMNS) + "|"]
        for row in self.rows:
            if row["error"] is None:
                cells = ["" if row[key] is None else format(row[key], form) for key, _, form in COLUMNS]
                lines.append("| " + " | ".join([row["method"], *cells]) + " |")
        failed = {}
        for row in self.rows:
            if row["error"] is not None:
                failed.setdefault(row["error"], []).append(row["method"])
        if failed:
            reasons = [f"- {', '.join(methods)}: {reason}" for reason, methods in failed.items()]
            lines += ["", "Not applied:", "", *reasons]
        return "\n".join(lines) + "\n"

    def export(self, path, format=None):
        """Write one file: ``json``, ``csv``, ``md`` or ``png``, told by the suffix unless given.

        Raises
        ------
        FormatError
            Unknown format.
        OutputError
            The file cannot be written.
        """
        path = Path(path)
        name = (format or path.suffix.lstrip(".")).lower()
        writers = {"json": self.to_json, "csv": self.to_csv, "md": self.to_markdown}
        if name not in (*writers, "png"):
            raise FormatError(f"unknown export format {name!r} for {path}; known: json, csv, md, png")
        check_output_file(path)
        with atomic_path(path) as temporary:
            if name == "png":
                from efield.results.comparison_picture import save_comparison_picture

                save_comparison_picture(self, temporary)
            else:
                temporary.write_text(writers[name](), encoding="utf-8")
        return path

    def save(self, directory):
        """Write ``comparison.csv``, ``.md``, ``.png`` and, last, ``.json`` into a folder.

        Raises
        ------
        OutputError
            Something could not be written.
        """
        directory = check_output(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("csv", "md", "png", "json"):
            self.export(directory / f"comparison.{name}")
        return directory
