"""How long the stages of a command take relative to each other: seconds on the built-in head, two threads.

Heads and computers differ; the shares hardly do, and the estimate of the remaining time goes by them alone.
"""

LOAD, SETUP, FORWARD = {"load": 1.0}, {"setup": 3.0}, 1.2
"""FORWARD: of one placement."""

COIL_FILE = {"read": 1.0, "fit": 10.0}
"""A coil's file; what is fitted to wires or to a sampled field."""

SEARCH = {
    "adjoint": 1.0,
    "places": 0.1,
    "exterior": 2.0,
    "search": 0.2,
    "modes": 7.0,
    "refine": 0.2,
    "check": 1.4,
}

WRITE = {"write": 2.0}
"""A result with its field."""

CERTIFICATE = 100.0

SETTING, POLISHED = 2.5, 12
"""Of a coil's movable parts: one setting, and settings looked at to polish one part."""


def optimize_shares(*, certify, error_bar, deform, n_parts, out):
    """Stages of ``efield optimize``.

    Parameters
    ----------
    certify, error_bar : bool
    deform : int or None
        Settings of each of `n_parts` movable parts.
    out : path or None
    """
    settings = 0 if deform is None else deform**n_parts + POLISHED * n_parts
    return {
        **LOAD,
        **SETUP,
        "deform": SETTING * settings,
        **SEARCH,
        "discretization": 4.4 if error_bar else 0.0,
        "robustness": 1.2,
        "certificate": CERTIFICATE if certify else 0.0,
        **writing(out),
    }


def compare_shares(out):
    """Stages of ``efield compare``: those of a search, and what every method adds."""
    return {**LOAD, "targeting": 1.0, **SETUP, **SEARCH, "robustness": 1.2, "fields": 12.0, **writing(out)}


def simulate_shares(n_placements, out):
    """Stages of ``efield simulate``, and of whatever solves for some placements."""
    return {**LOAD, **SETUP, "forward": FORWARD * n_placements, **writing(out)}


def writing(out):
    """The stage of writing a result, where there is one."""
    return {} if out is None else WRITE
