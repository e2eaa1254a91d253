"""One study over many subjects, resumed where it stopped."""

import time

from efield.cohort.one import Job, done, finished
from efield.cohort.study import Study
from efield.cohort.subjects import read_subjects, with_images
from efield.cohort.workers import MEMORY, Workers
from efield.errors import CohortError, OutputError
from efield.results.cohort import CohortResult, remove_tables
from efield.results.outputs import check_output
from efield.results.provenance import run_info
from efield.version import version

SUBJECTS = "subjects"
"""Folder of the subjects' folders."""


def run_cohort(
    subjects,
    out_dir,
    study="optimize",
    *,
    coil="figure8-70mm",
    target="dlpfc-left",
    unit="mm",
    conductivity=None,
    dti=None,
    anisotropy="vn",
    dti_frame="fsl",
    workers=None,
    threads=None,
    memory=MEMORY,
    scheduler=None,
    slurm=False,
    recompute=False,
    progress=None,
    **settings,
):
    """Run `optimize_coil` or `compare_targeting` over many subjects.

    A subject that is complete in `out_dir` with the same inputs and settings is not run again, so a run that
    was stopped goes on where it was. A subject that fails is named, and the others are done all the same.
    With more than one worker, guard a script by ``if __name__ == "__main__":``.

    Parameters
    ----------
    subjects : path or sequence of mapping
        A table (``.csv``, ``.tsv``) with the columns ``subject``, ``head`` and a subject's own
        (``dti``, ``coil``, ``target``, ``distance_mm``, ``direction``, ``hotspot``, ``landmarks``, ``map``,
        ``map_mask``, ``lowest``); a folder of ``m2m_<subject>``; or such rows.
    out_dir : path
        Gets the table, and one result folder a subject below ``subjects``.
    study : {"optimize", "compare"}
    coil, target
        As in the study, of subjects without their own. A target may be any text that the command line takes.
    unit, conductivity
        As in `load_head`.
    dti : path, optional
        Tensor image of subjects without their own; their name takes the place of ``{subject}`` in it.
    anisotropy, dti_frame
        How tensors become conductivity: the `mapping` and `frame` of `with_anisotropy`.
    workers : int, optional
        Processes, or SLURM jobs. 1 is this process, and needs no Dask. By default as many as cores and
        memory allow where Dask is installed, else 1.
    threads : int, optional
        Of each worker; by default this machine's cores shared among them.
    memory : str or int
        That each worker may use. A head that needs more is refused; a worker process above it is ended.
    scheduler : str, optional
        Address of a running Dask scheduler; `out_dir` and the heads are found by its workers.
    slurm : bool
        Submit the workers as SLURM jobs through dask-jobqueue, by its configuration.
    recompute : bool
        Run those again whose inputs or settings have changed, instead of refusing.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.
    **settings
        What else the study takes: ``objective``, ``search``, ``methods``, ``didt``, ...

    Returns
    -------
    CohortResult
        Saved in `out_dir`.

    Raises
    ------
    CohortError
        Subjects or settings that cannot be used; results of other settings in `out_dir`.
    MissingExtraError
        A package that the workers need is not installed.
    EfieldError
        A coil, target, objective or method that no subject could use.
    """
    start = time.perf_counter()
    report = progress or (lambda stage, fraction: None)
    plan = Study(study, coil, target, settings, unit, conductivity, anisotropy, dti_frame)
    crew = Workers(workers, threads, memory, scheduler, slurm)
    everyone = read_subjects(subjects)
    if dti is not None:
        everyone = with_images(everyone, str(dti))
    plan.check(everyone)
    facts = plan.facts()
    for subject in everyone:
        facts |= plan.of_tensors(subject)
    folder = check_output(out_dir).resolve() / SUBJECTS
    jobs = [Job(subject, plan, folder / subject.name, crew.memory_bytes) for subject in everyone]
    outcomes = _reusable(jobs, recompute)
    kept = tuple(outcomes)
    todo = [job for job in jobs if job.subject.name not in outcomes]
    if todo:
        _make_folder(folder)
        remove_tables(folder.parent)  # they would be of fewer subjects, or of other settings
    report("subjects", 0.0)
    for count, outcome in enumerate(crew.run(todo), 1):
        outcomes[outcome["subject"]] = outcome
        report("subjects", count / len(todo))
    result = CohortResult(
        study=study,
        subjects=tuple(
            {
                **outcomes[job.subject.name],
                "head": job.subject.head,
                "folder": f"{SUBJECTS}/{job.subject.name}",
            }
            for job in jobs
        ),
        timings={"total": time.perf_counter() - start},
        provenance={"efield": version(), "settings": facts, "run": run_info()},
        reused=kept,
    )
    result.save(folder.parent)
    return result


def _reusable(jobs, recompute):
    """Outcomes that are there already, by subject."""
    found, changed = {}, {}
    for job in jobs:
        there = finished(job)
        if there is None:
            continue
        rows, made_from = there
        try:
            wanted = job.study.fingerprint(job.subject)
        except OSError as error:
            raise CohortError(f"subject {job.subject.name!r}: cannot read {error.filename}") from error
        keys = sorted(k for k in wanted.keys() | made_from.keys() if wanted.get(k) != made_from.get(k))
        if keys:
            changed[job.subject.name] = keys
        else:
            found[job.subject.name] = done(job, rows)
    if changed and not recompute:
        keys = sorted(set().union(*changed.values()))
        raise CohortError(
            f"{jobs[0].folder.parent} holds results of other inputs or settings ({', '.join(keys)} differ) "
            f"for {', '.join(changed)}; choose another output folder, or recompute them (--recompute)"
        )
    return found


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error
