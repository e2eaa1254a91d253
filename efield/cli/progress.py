"""Progress bars on stderr, only where stderr is a terminal."""

import sys
from contextlib import contextmanager


@contextmanager
def stage_progress(quiet, shares=None):
    """Yield a function ``progress(stage, fraction)``, or None where nothing is to be shown.

    Parameters
    ----------
    quiet : bool
    shares : dict, optional
        Share of the whole time that each stage takes: adds a bar for the whole, with what remains.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    left = (TextColumn("left"), TimeRemainingColumn())
    with _bars(*columns, *left) as bars:
        yield _Stages(bars, shares or {})


@contextmanager
def working(what, quiet=False):
    """Show that something of unknown length goes on."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _bars(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bars:
        bars.add_task(what, total=None)
        yield


def _bars(*columns):
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Stages:
    """One bar a stage; a new stage completes the ones before, a repeated one starts again."""

    def __init__(self, bars, shares):
        self._bars = bars
        self._tasks = {}
        self._shares = shares
        self._whole = bars.add_task("all", total=1.0) if shares else None

    def __call__(self, stage, fraction):
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._finish(task)
            self._tasks[stage] = self._bars.add_task(stage, total=1.0)
        elif fraction == 0:
            self._bars.reset(self._tasks[stage])
        self._bars.update(self._tasks[stage], completed=fraction)
        if fraction >= 1:
            self._finish(self._tasks[stage])
        if self._whole is not None:
            self._bars.update(self._whole, completed=self._done())

    def _done(self):
        """Share of the whole that is done; it never goes back, though a stage may start again."""
        state = {task.id: task.completed for task in self._bars.tasks}
        done = sum(self._shares.get(stage, 0.0) * state[task] for stage, task in self._tasks.items())
        return max(state[self._whole], min(done, 1.0))

    def _finish(self, task):
        self._bars.update(task, completed=1.0)
        self._bars.stop_task(task)
