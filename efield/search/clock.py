"""Seconds per stage of a run, and the caller's progress callback."""

import time
from contextlib import contextmanager


class Clock:
    """Times stages and reports their progress; the callback may raise to cancel."""

    def __init__(self, progress):
        self._progress = progress
        self._start = time.perf_counter()
        self.timings = {}

    @contextmanager
    def stage(self, name):
        """Time one stage; entered again, it adds up."""
        self.report(name, 0.0)
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
        self.report(name, 1.0)

    def report(self, name, fraction):
        """Tell the caller how far a stage is."""
        if self._progress is not None:
            self._progress(name, fraction)

    def total(self):
        """Seconds per stage, and ``total`` since the start."""
        return {**self.timings, "total": time.perf_counter() - self._start}
