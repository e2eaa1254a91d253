"""A run that would not fit says so before it starts."""

import pytest

import efield
from efield import memory
from efield.analytic.shapes import box


def test_too_large_a_head_is_refused_with_both_sizes(monkeypatch):
    head = efield.HeadModel.from_mesh(box(2, 10.0), conductivity={int(t): 1.0 for t in box(2, 10.0).tags})
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**20)
    with pytest.raises(efield.ResourceError, match=r"48 tetrahedra needs about 0\.5 GiB and 0\.0 GiB are"):
        efield.prepare(head)


@pytest.mark.parametrize(
    ("order", "million", "peak_gib"),
    [(1, 0.2597, 0.614), (1, 1.6086, 1.27), (1, 4.1, 2.56), (2, 1.6086, 3.12), (2, 4.1, 7.24)],
)
def test_what_was_measured_is_asked_for(order, million, peak_gib):
    """Peaks of whole searches, as benchmarks and docs state them; and not half as much again."""
    n_tets, peak = round(1e6 * million), int(peak_gib * 2**30)
    with pytest.raises(efield.ResourceError):
        memory.require_memory(n_tets, peak, element_order=order)
    memory.require_memory(n_tets, int(1.25 * peak), element_order=order)


def test_a_system_that_does_not_say_is_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.require_memory(10**9)


def test_what_this_machine_says_is_plausible():
    available = memory.available_bytes()
    assert available is None or 2**20 < available < 2**50
