"""Will it fit? Asked before the work starts, not after it failed."""

from pathlib import Path

from efield.errors import ResourceError

BYTES_PER_TET = {1: 560, 2: 1950}
"""By order of the elements: a search of mean |E| with its error bar. At first order 300 are those of the
prepared head.

Peaks measured: first order 0.61, 1.27 and 2.56 GiB at 0.26, 1.6 and 4.1 million tetrahedra; second order 3.12
and 7.24 GiB at 1.6 and 4.1 million."""

BYTES_FIXED = 530_000_000
"""Interpreter, compiled kernels, exterior field and candidates."""


def available_bytes():
    """Memory that can be had without swapping, or None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def require_memory(n_tets, allowed=None, *, element_order=1):
    """Raise where a head of `n_tets` tetrahedra would not fit.

    Parameters
    ----------
    n_tets : int
    allowed : int, optional
        Bytes that this process may use; without it, what the machine has available.
    element_order : {1, 2}

    Raises
    ------
    ResourceError
        The estimate exceeds what is available.
    """
    needed = BYTES_FIXED + BYTES_PER_TET[element_order] * n_tets
    available = available_bytes() if allowed is None else allowed
    if available is not None and needed > available:
        remedy = "close other programs" if allowed is None else "allow more"
        raise ResourceError(
            f"a head of {n_tets:,} tetrahedra needs about {needed / 2**30:.1f} GiB and "
            f"{available / 2**30:.1f} GiB are available; {remedy}, crop the neck off the "
            "mesh or use a coarser one"
        )
