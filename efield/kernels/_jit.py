"""The one numba decorator, and the one way a kernel uses more than one thread.

Kernels are serial and release the GIL; :func:`run_chunks` hands fixed slices of the
output to a thread pool. So no numba threading layer is ever started (two threads may
call efield at once, forks are safe), a result does not depend on the thread count, and
compiling stays quick.
"""

import itertools
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numba
from numba.core.caching import FunctionCache

_warned = threading.Event()


def jit(function, *, flags=False):
    """Compile on first use, cached on disk where a cache directory can be written.

    ``error_model="numpy"`` is what lets division and ``1/sqrt`` vectorise; singular
    points are handled in the kernels.
    """
    dispatcher = numba.njit(function, nogil=True, error_model="numpy", fastmath=flags)
    try:
        dispatcher._cache = _DiskCache(function)  # what cache=True does, with numba's own class
    except RuntimeError as error:  # numba found no place for its cache
        _warn_uncached(error)
    return dispatcher


def jit_fused(function):
    """The same where a multiplication and an addition may become one instruction, rounded once.

    12 % of the time of a dipole sum. Not for geometric predicates: ``a * b - c * d`` is no longer
    exactly antisymmetric.
    """
    return jit(function, flags={"contract"})


def jit_estimated(function):
    """As :func:`jit_fused`, and ``1/sqrt`` may be an estimate with a Newton step: 3e-7 in float32."""
    return jit(function, flags={"contract", "afn", "arcp"})


def jit_summed(function):
    """As :func:`jit_fused`, and the terms of a sum may be added in the order that vectorises."""
    return jit(function, flags={"contract", "reassoc"})


class _DiskCache(FunctionCache):
    """A cache that costs a compilation, not the run, where its files are damaged or the disk is full."""

    def load_overload(self, *arguments):
        try:
            return super().load_overload(*arguments)
        except Exception:  # a file cut short raises whatever unpickling it happens to raise
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments):
        try:
            super().save_overload(*arguments)
        except OSError as error:
            _warn_uncached(error)


def _warn_uncached(error):
    if not _warned.is_set():
        _warned.set()
        warnings.warn(
            f"compiled kernels cannot be cached ({error}); every process compiles them again. "
            "Set NUMBA_CACHE_DIR to a writable directory.",
            RuntimeWarning,
            stacklevel=4,
        )


def thread_count():
    """Threads a kernel may use: EFIELD_NUM_THREADS, else the cores this process may use."""
    wanted = os.environ.get("EFIELD_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_pools = {}
_pools_lock = threading.Lock()


def _pool(n_threads):
    with _pools_lock:
        if n_threads not in _pools:
            _pools[n_threads] = ThreadPoolExecutor(n_threads, thread_name_prefix="efield")
        return _pools[n_threads]


def _after_fork():
    global _pools_lock  # the parent's threads and the lock they may hold are gone
    _pools_lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run_chunks(kernel, n, *args, min_chunk=2048, block=1):
    """Run ``kernel(start, stop, *args)`` over slices that cover ``range(n)``.

    Each slice must own its part of the output; then the result is the same bit for bit
    whatever the number of threads. Below `min_chunk` items the call stays in this thread.
    Slices start at multiples of `block`: a kernel that works through blocks of items and may fuse
    operations rounds the last few of a block otherwise than those in full vectors. Returns what the
    calls returned, in the order of their slices.
    """
    n_threads = min(thread_count(), max(1, n // min_chunk))
    if n_threads == 1:
        return [kernel(0, n, *args)]
    n_chunks = n_threads if n < 64 * min_chunk else 4 * n_threads
    edges = [n * i // n_chunks // block * block for i in range(n_chunks)] + [n]
    pool = _pool(n_threads)
    futures = [pool.submit(kernel, a, b, *args) for a, b in itertools.pairwise(edges)]
    return [future.result() for future in futures]
