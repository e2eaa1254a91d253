"""Progress bars on stderr, only where stderr is a terminal."""

import sys
from contextlib import contextmanager


@contextmanager
def stage_progress(quiet):
    """Yield a function ``progress(stage, fraction)``, or None where nothing is to be shown."""
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
        yield _Stages(bars)


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

    def __init__(self, bars):
        self._bars = bars
        self._tasks = {}

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

    def _finish(self, task):
        self._bars.update(task, completed=1.0)
        self._bars.stop_task(task)
