"""A recorded session in numbers: the field of every placement, one row each."""

import csv
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield import forward
from efield.errors import FormatError, OutputError, PlacementError
from efield.io.atomic import atomic_path
from efield.metrics import field_metrics, region_metrics
from efield.model.placement import describe_placement
from efield.results.outputs import check_output
from efield.results.parts import ResultWarning
from efield.results.plain import plain
from efield.results.provenance import provenance
from efield.results.result import UNITS, _Record
from efield.solve.prepared import prepare
from efield.tissues import TISSUE_TAGS

SESSION_SCHEMA = "efield.session/1"
TABLE, RESULT = "session.csv", "result.json"
SHARES = ("mean", "median", "p95", "p99")
SIMULATED = "simulated"


@dataclass(frozen=True, eq=False)
class SessionResult(_Record):
    """The fields of a session in numbers.

    Parameters
    ----------
    rows : tuple of dict
        One a placement, in the order of the session; `COLUMNS` names and orders the keys. None where a
        number does not exist; ``status`` says why a placement was not simulated.
    didt : float
        A/s at which every V/m holds, but for ``target_mean_at_recorded_didt``.
    target : dict
        The region of the ``target_`` columns.
    session : dict
        ``source``, ``format``, ``n_placements``, ``skipped`` (name, where, reason of each).
    warnings : tuple of ResultWarning
    timings : dict
    provenance : dict
    """

    rows: tuple
    didt: float
    target: dict
    session: dict
    warnings: tuple
    timings: dict
    provenance: dict

    schema = SESSION_SCHEMA

    def _body(self):
        return plain(
            {
                "schema": self.schema,
                "frame": {"space": self.provenance["space"], "axes": "RAS", "length": "mm"},
                "units": UNITS,
                "session": self.session,
                "didt": self.didt,
                "target": self.target,
                "placements": self.rows,
                "timings_s": self.timings,
                "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
                "provenance": self.provenance,
            }
        )

    @classmethod
    def _from_json(cls, body, folder):
        return cls(
            rows=tuple(body["placements"]),
            didt=body["didt"],
            target=body["target"],
            session=body["session"],
            warnings=tuple(ResultWarning(**w) for w in body["warnings"]),
            timings=body["timings_s"],
            provenance=body["provenance"],
        )

    def save(self, directory):
        """Write ``session.csv`` and ``result.json`` into a folder, the latter last.

        Returns
        -------
        Path

        Raises
        ------
        OutputError
            Something could not be written.
        """
        directory = check_output(directory)
        text = self.to_json()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".efield-", dir=directory) as work:
                self._write_table(Path(work, TABLE))
                Path(work, RESULT).write_text(text, encoding="utf-8")
                (directory / RESULT).unlink(missing_ok=True)
                for name in (TABLE, RESULT):
                    os.replace(Path(work, name), directory / name)
        except OSError as error:
            raise OutputError(f"cannot write results to {directory}: {error}") from error
        return directory

    def export(self, path, format=None):
        """Write the table (``csv``) or the JSON (``json``) alone.

        Raises
        ------
        FormatError
            Another format.
        OutputError
            The file cannot be written.
        """
        name = format or Path(path).suffix.lstrip(".")
        if name not in ("csv", "json"):
            raise FormatError(f"cannot write a session as {name!r} to {path}; known: csv, json")
        with atomic_path(path) as temporary:
            if name == "csv":
                self._write_table(temporary)
            else:
                temporary.write_text(self.to_json(), encoding="utf-8")
        return Path(path)

    def _write_table(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in plain(list(self.rows)):
                writer.writerow(["" if row[column] is None else row[column] for column in COLUMNS])


COLUMNS = (
    *(
        "index",
        "name",
        "kind",
        "time_s",
        "recorded_at",
        "status",
        "recorded_didt_A_per_s",
        "intensity_percent",
    ),
    *("x_mm", "y_mm", "z_mm", "ydir_x", "ydir_y", "ydir_z", "yaw_to_midline_deg", "distance_mm"),
    *(f"target_{share}" for share in SHARES),
    *("target_peak_ratio", "target_mean_at_recorded_didt"),
    *(f"grey_{share}" for share in SHARES),
    *("grey_peak", "grey_peak_x_mm", "grey_peak_y_mm", "grey_peak_z_mm", "grey_half_value_volume_mm3"),
)
"""Columns of ``session.csv``; fields in V/m at the run's dI/dt. ``grey_`` is all grey matter."""


def simulate_session(
    head, coil, session, region, *, didt=1e6, element_order=None, progress=None, warnings=()
):
    """Simulate every placement of a session and keep the numbers, not the fields.

    Parameters
    ----------
    head : HeadModel or PreparedHead
    coil : Coil
    session : Session
    region : TargetRegion
        Of the ``target_`` columns.
    didt : float
        A/s.
    element_order : {1, 2}
        As in :func:`efield.simulate`.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.
    warnings : sequence of ResultWarning

    Returns
    -------
    SessionResult
        A placement that puts the coil into the head keeps its row, with the reason as ``status``.

    Raises
    ------
    PlacementError
        The session has no placement.
    """
    if not len(session):
        raise PlacementError(f"{session.source}: nothing to simulate: {session.summary()}")
    report = progress or (lambda stage, fraction: None)
    start = time.perf_counter()
    report("setup", 0.0)
    prepared = prepare(head, element_order=element_order)
    report("forward", 0.0)
    rows = [_described(prepared.head, one, i) for i, one in enumerate(session, 1)]
    for row, one in zip(rows, session, strict=True):
        try:
            forward.require_outside(prepared.head, coil, one)
        except PlacementError as error:
            row["status"] = str(error)
    outside = [i for i, row in enumerate(rows) if row["status"] == SIMULATED]
    for first in range(0, len(outside), prepared.block):
        part = outside[first : first + prepared.block]
        fields = forward.simulate(prepared, coil, [session[i] for i in part], didt=didt)
        for i, field in zip(part, fields, strict=True):
            rows[i] |= _measured(field, region, session[i].didt)
        report("forward", (first + len(part)) / len(outside))
    seconds = time.perf_counter() - start
    skipped = [{"name": one.name, "where": one.where, "reason": one.reason} for one in session.skipped]
    return SessionResult(
        rows=tuple(rows),
        didt=forward.check_didt(didt),
        target=region.summary(),
        session={
            "source": session.source,
            "format": session.format,
            "n_placements": len(session),
            "n_simulated": len(outside),
            "skipped": skipped,
        },
        warnings=tuple(warnings),
        timings={"forward": seconds, "total": seconds},
        provenance=provenance(
            prepared.head,
            coil,
            element_order=prepared.element_order,
            files=(*session.files, *region.files),
            target=region.name,
        ),
    )


def _described(head, placement, i):
    """A row with everything but the field."""
    info = describe_placement(head, placement)
    when = placement.recorded_at
    return {
        **dict.fromkeys(COLUMNS),
        "index": i,
        "name": placement.name,
        "kind": placement.kind,
        "time_s": placement.time_s,
        "recorded_at": None if when is None else when.isoformat(),
        "status": SIMULATED,
        "recorded_didt_A_per_s": placement.didt,
        "intensity_percent": placement.intensity_percent,
        **dict(zip(("x_mm", "y_mm", "z_mm"), info["center_mm"], strict=True)),
        **dict(zip(("ydir_x", "ydir_y", "ydir_z"), info["ydir"], strict=True)),
        "yaw_to_midline_deg": info["yaw_to_midline_deg"],
        "distance_mm": info["distance_mm"],
    }


def _measured(field, region, recorded_didt):
    """The columns that come from a field."""
    head = field.head
    metrics = field_metrics(head, field.magnitude, np.asarray(region.elements))
    row = {f"target_{share}": metrics[share] for share in SHARES}
    row["target_peak_ratio"] = metrics["target_peak_ratio"]
    if recorded_didt is not None:
        row["target_mean_at_recorded_didt"] = metrics["mean"] * recorded_didt / field.didt
    grey = np.flatnonzero(head.tags == TISSUE_TAGS["grey_matter"])
    if len(grey):
        whole = region_metrics(field.magnitude[grey], head.mesh.volumes_mm3[grey])
        row |= {f"grey_{share}": whole[share] for share in SHARES}
    row["grey_peak"] = metrics["peak"]
    row["grey_half_value_volume_mm3"] = metrics["half_value_volume_mm3"]
    place = metrics["peak_mm"] or (None, None, None)
    return row | dict(zip(("grey_peak_x_mm", "grey_peak_y_mm", "grey_peak_z_mm"), place, strict=True))
