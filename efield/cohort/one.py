"""One subject: its result folder, whole or not there, and its rows of the cohort's table.

Runs in this process or in a worker. Files are made in a hidden folder beside the final one, which is then
renamed: a subject's folder is complete where it exists, whatever stops the run.
"""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from efield.cohort.study import Study
from efield.cohort.subjects import Subject
from efield.errors import CohortError, EfieldError
from efield.memory import require_memory
from efield.results.cohort import DONE, FAILED, rows_of
from efield.results.plain import dumps

RECORD = "subject.json"
"""In a subject's folder: what it was made from, and its rows."""

log = logging.getLogger("efield")


@dataclass(frozen=True)
class Job:
    """One subject's share of a cohort, as it is sent to a worker.

    Attributes
    ----------
    subject : Subject
    study : Study
    folder : Path
        Of its result; absolute, and the same on every machine.
    memory : int or None
        Bytes that the process may use.
    """

    subject: Subject
    study: Study
    folder: Path
    memory: int | None = None


def run_job(job):
    """Run one subject; whatever fails is its outcome, not an exception.

    Returns
    -------
    dict
        ``subject``, ``status``, ``error`` and ``rows``.
    """
    try:
        return done(job, _make(job))
    except EfieldError as error:
        return failed(job, str(error))
    except MemoryError:
        return failed(job, "out of memory; use a coarser mesh, or fewer workers")
    except Exception as error:  # a bug met by one subject must not cost the others
        log.exception("subject %s", job.subject.name)
        return failed(job, f"{type(error).__name__}: {error}")


def done(job, rows):
    """Outcome of a subject with a result."""
    return {"subject": job.subject.name, "status": DONE, "error": None, "rows": rows}


def failed(job, reason):
    """Outcome of a subject without one."""
    return {"subject": job.subject.name, "status": FAILED, "error": reason, "rows": []}


def _make(job):
    facts = job.study.fingerprint(job.subject)
    head = job.study.load_head(job.subject)
    require_memory(len(head.tets), job.memory, element_order=job.study.element_order)
    result = job.study.run(job.subject, head)
    rows = rows_of(result)
    work = job.folder.with_name(f".{job.folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    try:
        result.save(work)
        record = {"fingerprint": facts, "rows": rows}
        (work / RECORD).write_text(dumps(record), encoding="utf-8")
        if job.folder.exists():  # of other settings, and asked to be made again
            shutil.rmtree(job.folder)
        os.rename(work, job.folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return rows


def finished(job):
    """What a job left behind: its rows, and what it was made from.

    Returns
    -------
    (list of dict, dict) or None
        None where the subject has no folder.

    Raises
    ------
    CohortError
        The folder is not one that a cohort wrote.
    """
    if not job.folder.exists():
        return None
    try:
        record = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))
        return record["rows"], record["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CohortError(
            f"{job.folder} is in the way: it holds no usable {RECORD}, so no cohort wrote it; move it "
            "away or choose another output folder"
        ) from error
