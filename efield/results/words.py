"""Results in words, for pictures and summaries."""

import numpy as np

_AXES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))

_OBJECTIVES = {
    "mean_magnitude": "mean |E| in the target",
    "magnitude_of_mean": "|mean E| in the target",
    "directional": "mean of E along the given direction in the target",
    "normal": "mean of E along the cortical normal in the target",
}


def direction_words(vector):
    """Name a direction in RAS: ``"anterior and left"``.

    Components below a third of the largest are left out; the largest comes first.
    """
    vector = np.asarray(vector, dtype=np.float64)
    order = np.argsort(-np.abs(vector), kind="stable")
    kept = [int(i) for i in order if abs(vector[i]) >= abs(vector[order[0]]) / 3]
    words = [_AXES[i][int(vector[i] > 0)] for i in kept]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def objective_words(name):
    """What an objective measures; its own name where it is not one of the usual ones."""
    if name.startswith("percentile:"):
        return f"{name.removeprefix('percentile:')}th percentile of |E| in the target"
    return _OBJECTIVES.get(name, name)


def didt_words(didt):
    """dI/dt in the unit of stimulators: ``"1 A/µs"``."""
    return f"{didt / 1e6:.4g} A/µs"
