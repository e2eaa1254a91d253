"""Results in words, for pictures and summaries."""

_OBJECTIVES = {
    "mean_magnitude": "mean |E| in the target",
    "magnitude_of_mean": "|mean E| in the target",
    "directional": "mean of E along the given direction in the target",
    "normal": "mean of E along the cortical normal in the target",
}


def objective_words(name):
    """What an objective measures; its own name where it is not one of the usual ones."""
    if name.startswith("percentile:"):
        return f"{name.removeprefix('percentile:')}th percentile of |E| in the target"
    return _OBJECTIVES.get(name, name)


def yaw_words(yaw_deg):
    """Where +y of the coil points: ``"54.0° from posterior towards the subject's right"``."""
    side = "left" if yaw_deg > 0 else "right"
    return f"{abs(yaw_deg):.1f}° from posterior towards the subject's {side}"


def didt_words(didt):
    """dI/dt in the unit of stimulators: ``"1 A/µs"``."""
    return f"{didt / 1e6:.4g} A/µs"


def digits(value, n=3):
    """A number by `n` digits, but by all of those before the point: 0.0343, 1.12, 1,084."""
    text = f"{value:#.{n}g}"
    return f"{value:,.0f}" if "e+" in text or text.endswith(".") else text
