"""Where jobs run: in this process, or by Dask in local workers, on a running scheduler, or on SLURM."""

import importlib
import importlib.util
from contextlib import contextmanager
from dataclasses import dataclass

from efield.cohort.one import failed, run_job
from efield.errors import CohortError, MissingExtraError
from efield.kernels._jit import thread_count
from efield.memory import available_bytes

MEMORY = "4GB"
"""Of a worker, unless told otherwise: enough for a head of several million tetrahedra."""

SLURM_THREADS = 4
"""Cores of a SLURM job, unless told otherwise."""

NEVER_SPILL = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.daemon": True,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
    "distributed.admin.large-graph-warning-threshold": "1GB",
}
"""A worker holds one subject and nothing to spill: above its memory it is ended, and its
subject tried once more."""


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes
    ----------
    count : int or None
        Processes or SLURM jobs. 1 is this process; None as many as cores and memory allow where Dask is
        installed, else 1.
    threads : int or None
        Cores of each; None shares this machine's.
    memory : str or int
        Of each, such as ``"4GB"``.
    scheduler : str or None
        Address of a running Dask scheduler.
    slurm : bool

    Raises
    ------
    CohortError
        A number below 1, memory that is not one, a scheduler and SLURM together.
    """

    count: int | None = None
    threads: int | None = None
    memory: str | int = MEMORY
    scheduler: str | None = None
    slurm: bool = False

    def __post_init__(self):
        for name in ("count", "threads"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise CohortError(f"{name} of workers must be a whole number of at least 1, not {value!r}")
        if self.scheduler is not None and self.slurm:
            raise CohortError("give the address of a scheduler or slurm, not both")
        if self.scheduler is not None and self.count is not None:
            raise CohortError("a running scheduler has its own workers; leave out their number")
        if self.slurm and self.count is None:
            raise CohortError("say how many SLURM jobs may run at a time: the number of workers")
        _ = self.memory_bytes

    @property
    def memory_bytes(self):
        """Bytes a worker may use."""
        return parse_bytes(self.memory)

    def run(self, jobs):
        """Run jobs and yield their outcomes as they come.

        Raises
        ------
        MissingExtraError
            More than one process without Dask.
        """
        if not jobs:
            return
        count = self._count(len(jobs))
        if count == 1 and self.scheduler is None and not self.slurm:
            yield from map(run_job, jobs)
            return
        distributed = _need("distributed", "cohort")
        with self._cluster(count) as address, distributed.Client(address, set_as_default=False) as client:
            yield from _outcomes(distributed, client, jobs)

    def _count(self, n_jobs):
        if self.count is not None:
            return min(self.count, n_jobs)
        if not _installed("distributed"):
            return 1
        available = available_bytes()
        fit = n_jobs if available is None else available // self.memory_bytes
        return max(1, min(thread_count(), n_jobs, fit))

    @contextmanager
    def _cluster(self, count):
        """Address of a scheduler, or a cluster; one that was started here is closed."""
        if self.scheduler is not None:
            yield self.scheduler
            return
        import dask

        with (
            dask.config.set(NEVER_SPILL),
            self._slurm(count) if self.slurm else self._local(count) as cluster,
        ):
            yield cluster

    def _local(self, count):
        distributed = _need("distributed", "cohort")
        threads = self.threads or max(1, thread_count() // count)
        return distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,  # one subject at a time; its kernels use the threads below
            processes=True,
            memory_limit=self.memory_bytes,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="CRITICAL",
            env={"EFIELD_NUM_THREADS": str(threads)},
        )

    @contextmanager
    def _slurm(self, count):
        jobqueue = _need("dask_jobqueue", "slurm")
        threads = self.threads or SLURM_THREADS
        with jobqueue.SLURMCluster(
            cores=1,
            processes=1,
            job_cpu=threads,
            memory=f"{self.memory_bytes}B",
            job_script_prologue=[f"export EFIELD_NUM_THREADS={threads}"],
            scheduler_options={"dashboard_address": None},
        ) as cluster:
            cluster.adapt(
                minimum_jobs=count, maximum_jobs=count
            )  # replaces a job that reached its time limit
            yield cluster


def _outcomes(distributed, client, jobs):
    futures = {client.submit(run_job, job, pure=False): job for job in jobs}
    for future in distributed.as_completed(futures, loop=client.loop):
        try:
            outcome = future.result()
        except distributed.KilledWorker:
            outcome = failed(
                futures[future],
                "its worker was ended twice, most likely for memory; allow each more, or use a coarser mesh",
            )
        except Exception as error:  # a worker without efield, an older one, a scheduler that went away
            outcome = failed(futures[future], f"its worker failed: {type(error).__name__}: {error}")
        yield outcome


def parse_bytes(text):
    """Bytes of ``"4GB"``, ``"3.5 GiB"`` or a number.

    Raises
    ------
    CohortError
    """
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    words = str(text).strip().lower()
    number = words.rstrip("bikmg ")
    try:
        size = int(float(number) * units[words.removeprefix(number).strip()])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size < 1:
        raise CohortError(f"memory {text!r} is no size; write it as 4GB or 3.5GiB")
    return size


def _installed(name):
    return importlib.util.find_spec(name) is not None


def _need(name, extra):
    """An optional package, imported now.

    Raises
    ------
    MissingExtraError
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the package {name.replace('_', '-')}: pip install 'efield[{extra}]'; with one "
            "worker, a cohort runs without it"
        ) from error
