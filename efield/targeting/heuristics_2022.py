"""The updated heuristics of 2022 for the anterior and the posterior DLPFC."""

from efield.targeting.registry import Aim, targeting_method

FACTORS = {
    ("anterior", "left"): (0.1359, 0.3167),
    ("posterior", "left"): (0.1847, 0.2480),
    ("anterior", "right"): (0.1352, 0.2884),
    ("posterior", "right"): (0.1968, 0.2316),
}
"""X per circumference, Y per mean of nasion-inion and tragus-tragus."""


def _heuristic(case, part):
    across, down = FACTORS[part, case.side]
    measures = case.ten_ten.measures
    x = across * measures.circumference_cm
    y = down * (measures.nasion_inion_cm + measures.tragus_tragus_cm) / 2
    words = f"X {x:.2f} cm along the circumference, Y {y:.2f} cm from the vertex ({case.side}, {part})"
    return Aim(case.place(case.at_mark(x, y)), words)


@targeting_method("anterior-2022")
def anterior(case):
    """Anterior DLPFC from the head's measures.

    Mir-Moghtadaei et al. 2022, Brain Stimul; derived on the MNI template alone.
    """
    return _heuristic(case, "anterior")


@targeting_method("posterior-2022")
def posterior(case):
    """Posterior DLPFC from the head's measures.

    Mir-Moghtadaei et al. 2022, Brain Stimul; derived on the MNI template alone.
    """
    return _heuristic(case, "posterior")
