"""Positions of the 10-10 system, marked on the head itself."""

from efield.targeting.registry import Aim, targeting_method

MIRRORED = {"F3": "F4", "F5": "F6", "AF3": "AF4"}


def _position(case, left):
    name = left if case.side == "left" else MIRRORED[left]
    return Aim(case.place(case.ten_ten.positions[name]), f"{name} of the 10-10 system")


@targeting_method("eeg-f3")
def f3(case):
    """F3 (F4 on the right) of the 10-10 system.

    Jurcak et al. 2007, NeuroImage 34:1600, for the system; the DLPFC as MRI shows it lies about half-way
    between F3 and AF3 (n = 12, PMID 20633422).
    """
    return _position(case, "F3")


@targeting_method("eeg-f5")
def f5(case):
    """F5 (F6 on the right) of the 10-10 system, nearest to the DLPFC in one study.

    Rusjan et al. 2010, Hum Brain Mapp 31:1643 (n = 15).
    """
    return _position(case, "F5")


@targeting_method("eeg-af3")
def af3(case):
    """AF3 (AF4 on the right) of the 10-10 system.

    The DLPFC as MRI shows it lies about half-way between F3 and AF3 (n = 12, PMID 20633422).
    """
    return _position(case, "AF3")
