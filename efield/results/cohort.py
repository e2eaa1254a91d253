"""What `efield cohort` returns: one table over all subjects, and paired statistics of methods."""

import csv
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import FormatError, MissingExtraError
from efield.io.atomic import atomic_path
from efield.results.comparison import COLUMNS as COMPARED
from efield.results.outputs import check_output, check_output_file
from efield.results.plain import dumps, plain
from efield.results.result import UNITS

COHORT_SCHEMA = "efield.cohort/1"

DONE, FAILED = "done", "failed"

CONFIDENCE = 0.95

_PLACE = ("yaw_to_midline_deg", "scalp_x_mm", "scalp_y_mm", "scalp_z_mm")
_POSE = tuple(f"m{i}{j}" for i in range(4) for j in range(4))
_METRICS = (
    "mean",
    "median",
    "p95",
    "p99",
    "peak",
    "half_value_volume_mm3",
    "target_peak_ratio",
    "scalp_cortex_mm",
)

_HEAD = ("subject", "status", "error", "space")
_TEXT = (*_HEAD, "objective", "warnings", "method", "measured", "method_error")

COLUMNS = {
    "optimize": (
        *_HEAD,
        "objective",
        "value",
        *_METRICS,
        "target_moved_mm",
        "check_relative_difference",
        *_PLACE,
        *_POSE,
        "warnings",
    ),
    "compare": (
        *_HEAD,
        "method",
        *(key for key, _, _ in COMPARED),
        *_PLACE,
        *_POSE,
        "measured",
        "method_error",
    ),
}
"""Columns of the table, by study: one row a subject, or one a subject and method."""

STATISTICS = (
    "method",
    "n",
    "mean",
    "sd",
    "mean_low",
    "mean_high",
    "percent_mean",
    "percent_sd",
    "percent_low",
    "percent_high",
    "difference",
    "difference_sd",
    "difference_low",
    "difference_high",
    "dz",
)
"""Columns of the statistics, see :func:`paired_statistics`."""

FILES = ("cohort.csv", "cohort.parquet", "statistics.csv", "cohort.pdf", "cohort.png", "cohort.json")


@dataclass(frozen=True, eq=False)
class CohortResult:
    """A study over many subjects.

    Attributes
    ----------
    study : {"optimize", "compare"}
    subjects : tuple of dict
        One a subject, in the order of the table: ``subject``, ``status`` ("done" or "failed"), ``error``,
        ``head``, ``folder`` and its ``rows`` of numbers.
    timings, provenance : dict
    reused : tuple of str
        Subjects that were complete already.
    """

    study: str
    subjects: tuple
    timings: dict
    provenance: dict
    reused: tuple = ()

    schema = COHORT_SCHEMA

    @classmethod
    def from_json(cls, body, path):
        """What :meth:`to_dict` made; `path` is for messages.

        Raises
        ------
        FormatError
            A key is missing.
        """
        try:
            own = ("subject", "status", "error")
            rows = [(row["subject"], {k: v for k, v in row.items() if k not in own}) for row in body["rows"]]
            subjects = tuple(
                {**one, "rows": [row for name, row in rows if name == one["subject"]]}
                for one in body["subjects"]
            )
            return cls(body["study"], subjects, body["timings_s"], body["provenance"])
        except (KeyError, TypeError) as error:
            raise FormatError(f"{path} lacks or misnames a key of {COHORT_SCHEMA}: {error}") from error

    @property
    def failed(self):
        """Names of the subjects that failed."""
        return tuple(one["subject"] for one in self.subjects if one["status"] == FAILED)

    @property
    def rows(self):
        """The table: dicts with the keys of `COLUMNS`, None where a number does not exist."""
        return [
            dict.fromkeys(COLUMNS[self.study])
            | {key: one[key] for key in ("subject", "status", "error")}
            | row
            for one in self.subjects
            for row in one["rows"] or [{}]
        ]

    @property
    def statistics(self):
        """:func:`paired_statistics` of a comparison; of an optimization, none."""
        return paired_statistics(self.rows) if self.study == "compare" else []

    def to_dict(self, volatile=True):
        """Everything as plain Python values; without `volatile` byte-stable between runs."""
        provenance = dict(self.provenance)
        if not volatile:
            provenance.pop("run", None)
        spaces = {row["space"] for row in self.rows} - {None}
        body = {
            "schema": COHORT_SCHEMA,
            "frame": {
                "space": spaces.pop() if len(spaces) == 1 else "mixed" if spaces else "subject",
                "axes": "RAS",
                "length": "mm",
            },
            "units": dict(UNITS),
            "study": self.study,
            "n_subjects": len(self.subjects),
            "n_failed": len(self.failed),
            "subjects": [
                {key: one[key] for key in ("subject", "status", "error", "head")}
                | {"folder": one["folder"] if one["status"] == DONE else None}
                for one in self.subjects
            ],
            "rows": self.rows,
            "statistics": self.statistics,
            "provenance": provenance,
        }
        if volatile:
            body["timings_s"] = self.timings
        return plain(body)

    def to_json(self, volatile=True):
        """:meth:`to_dict` as strict JSON text."""
        return dumps(self.to_dict(volatile))

    def to_csv(self):
        """The table; empty cells where a number does not exist."""
        return _csv(COLUMNS[self.study], self.rows)

    def export(self, path, format=None):
        """Write one file: ``csv`` (the table), ``json``, ``parquet``, and of a comparison ``png`` or ``pdf``.

        Raises
        ------
        FormatError
            Unknown format, or a picture of an optimization.
        OutputError
            The file cannot be written.
        """
        path = Path(path)
        name = (format or path.suffix.lstrip(".")).lower()
        writers = {
            "csv": lambda file: file.write_text(self.to_csv(), encoding="utf-8"),
            "json": lambda file: file.write_text(self.to_json(), encoding="utf-8"),
            "parquet": self._write_parquet,
            "png": lambda file: self._draw(file, "png"),
            "pdf": lambda file: self._draw(file, "pdf"),
        }
        if name not in writers:
            raise FormatError(f"unknown export format {name!r} for {path}; known: {', '.join(writers)}")
        check_output_file(path)
        with atomic_path(path) as temporary:
            writers[name](temporary)
        return path

    def save(self, directory):
        """Write the table, the statistics and picture of a comparison, and, last, ``cohort.json``.

        The table is written as Parquet, too, where pyarrow is installed.

        Raises
        ------
        OutputError
            Something could not be written.
        """
        directory = check_output(directory)
        directory.mkdir(parents=True, exist_ok=True)
        remove_tables(directory)
        self.export(directory / "cohort.csv")
        if importlib.util.find_spec("pyarrow") is not None:
            self.export(directory / "cohort.parquet")
        if self.study == "compare":
            with atomic_path(directory / "statistics.csv") as temporary:
                temporary.write_text(_csv(STATISTICS, self.statistics), encoding="utf-8")
            for name in ("pdf", "png"):
                self.export(directory / f"cohort.{name}")
        self.export(directory / "cohort.json")
        return directory

    def _write_parquet(self, path):
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError(
                "Parquet needs the package pyarrow: pip install 'efield[parquet]'"
            ) from error
        rows = plain(self.rows)
        columns = {
            key: pyarrow.array(
                [row[key] for row in rows], pyarrow.string() if key in _TEXT else pyarrow.float64()
            )
            for key in COLUMNS[self.study]
        }
        parquet.write_table(pyarrow.table(columns), path)

    def _draw(self, path, format):
        if self.study != "compare":
            raise FormatError("only a cohort of comparisons has a picture")
        from efield.results.cohort_picture import save_cohort_picture

        save_cohort_picture(self, path, format)


def remove_tables(directory):
    """Remove what an earlier run wrote over all subjects; their own folders stay."""
    for name in FILES:
        Path(directory, name).unlink(missing_ok=True)


def rows_of(result):
    """Rows of the cohort's table for one subject's result, as plain values, without the subject's name."""
    body = result.to_dict(volatile=False)
    space = {"space": body["frame"]["space"]}
    if body["schema"].startswith("efield.optimize"):
        check = body["check"] or {"relative_difference": None}
        row = {
            "objective": body["objective"]["name"],
            "value": body["objective"]["value"],
            **{key: body["metrics"][key] for key in _METRICS},
            "target_moved_mm": body["target"]["moved_mm"],
            "check_relative_difference": check["relative_difference"],
            **_place(body["placement"]),
            "warnings": " ".join(w["code"] for w in body["warnings"]),
        }
        return [space | row]
    return [
        space
        | {"method": row["method"], "measured": row["measured"], "method_error": row["error"]}
        | {key: row[key] for key, _, _ in COMPARED}
        | _place(row["placement"])
        for row in body["methods"]
    ]


def _place(placement):
    if placement is None:
        return dict.fromkeys((*_PLACE, *_POSE))
    scalp = placement["scalp_mm"] or [None] * 3
    pose = [number for row in placement["matsimnibs"] for number in row]
    return dict(zip((*_PLACE, *_POSE), [placement["yaw_to_midline_deg"], *scalp, *pose], strict=True))


def paired_statistics(rows):
    """Each method against the optimum of the same subject.

    Parameters
    ----------
    rows : sequence of dict
        Rows of a comparison's table.

    Returns
    -------
    list of dict
        One a method, in the order of the table. ``n`` subjects for which it has a number; of its mean |E| in
        the target (V/m) and of its percentage of the optimum the mean, the standard deviation (n - 1) and the
        95 % interval of the mean (Student's t); of the paired difference method - optimum (V/m) the same, and
        Cohen's d_z: its mean over its standard deviation. None where n is too small, or the differences do
        not vary.
    """
    methods = dict.fromkeys(row["method"] for row in rows if row["method"] is not None)
    return [_statistics(method, [r for r in rows if r["method"] == method]) for method in methods]


def _statistics(method, rows):
    found = [(r["mean"], r["percent_of_optimum"]) for r in rows if r["mean"] is not None]
    mean, percent = np.array(found, float).reshape(-1, 2).T
    difference = mean - mean / (percent / 100)
    difference[percent == 100] = 0.0  # the optimum itself, without rounding
    spread = _summary(difference)
    varies = spread["sd"] is not None and spread["sd"] > 1e-9 * np.abs(mean).max()
    return (
        {"method": method, "n": len(found)}
        | _named(_summary(mean), "mean", "sd", "mean_low", "mean_high")
        | _named(_summary(percent), "percent_mean", "percent_sd", "percent_low", "percent_high")
        | _named(spread, "difference", "difference_sd", "difference_low", "difference_high")
        | {"dz": spread["mean"] / spread["sd"] if varies else None}
    )


def _named(summary, *names):
    return dict(zip(names, summary.values(), strict=True))


def _summary(values):
    """Mean, standard deviation and interval of the mean."""
    from scipy import stats

    n = len(values)
    if n < 2:
        return {"mean": float(values[0]) if n else None, "sd": None, "low": None, "high": None}
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = sd / n**0.5 * float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1))
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def _csv(header, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row[key] for key in header] for row in rows)
    return text.getvalue()
