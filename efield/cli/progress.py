"""Progress on stderr, only where it is a terminal: a bar for the whole with what remains, and one a stage."""

import datetime
import sys
from contextlib import contextmanager
from itertools import accumulate


@contextmanager
def stage_progress(quiet, shares):
    """Yield a function ``progress(stage, fraction)``, or None where nothing is to be shown.

    Parameters
    ----------
    quiet : bool
    shares : dict of str to float
        Time that each stage takes relative to the others, in their order, see :mod:`efield.cli.shares`: what
        the estimate of the remaining time goes by. The first stage begins at once; those before one that
        is reported count as done.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, _left_column(), console=Console(stderr=True), transient=True) as bars:
        stages = _Stages(bars, shares)
        stages(next(iter(shares)), 0.0)
        yield stages


@contextmanager
def stage(progress, name):
    """Tell `progress`, which may be None, when a stage begins and ends."""
    if progress is not None:
        progress(name, 0.0)
    yield
    if progress is not None:
        progress(name, 1.0)


def remaining(elapsed, done, since=0.0):
    """Seconds that remain if the rest goes as fast as what is done.

    Parameters
    ----------
    elapsed : float
        Seconds that it took to do the share `done`.
    done : float
        In [0, 1].
    since : float
        Seconds since then.

    Returns
    -------
    float or None
        None before anything is done.
    """
    return None if done == 0 else max(0.0, elapsed * (1 - done) / done - since)


def _left_column():
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task):
            at = task.fields["at"]
            seconds = remaining(at, task.completed, task.elapsed - at)
            return Text("" if seconds is None else f"{datetime.timedelta(seconds=round(seconds))} left")

    return Left()


class _Stages:
    """One bar a stage; a new stage completes the ones before, a repeated one starts again."""

    def __init__(self, bars, shares):
        self._bars = bars
        self._tasks = {}
        self._ends = dict(zip(shares, accumulate(shares.values()), strict=True))
        self._shares = shares
        self._whole = self._add("all")

    def __call__(self, stage, fraction):
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._raise_to(task, 1.0)
            self._tasks[stage] = self._add(stage)
        elif fraction == 0:
            self._bars.reset(self._tasks[stage], at=0.0)
        self._raise_to(self._tasks[stage], fraction)
        if stage in self._shares:
            done = self._ends[stage] - (1 - fraction) * self._shares[stage]
            self._raise_to(self._whole, done / sum(self._shares.values()))

    def _add(self, name):
        return self._bars.add_task(name, total=1.0, at=0.0)

    def _raise_to(self, task, done):
        """Set what is done and note when; a bar never goes back, though a stage may start again."""
        state = self._bars.tasks[task]
        if done > state.completed:
            self._bars.update(task, completed=done, at=state.elapsed)
