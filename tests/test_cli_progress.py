"""What commands say while they work: bars, the time that remains, --quiet and --verbose."""

import io
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from rich.progress import Progress
from small_heads import few_dipoles, write_wire_loop

from efield.analytic.shapes import random_layered_sphere
from efield.cli import main, progress, shares
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.model.coil_files import save_coil
from efield.model.head import HeadModel
from efield.model.placement import Placement


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="efield")


def commands(group=main, before=""):
    """Every command that can be run, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


AT_ONCE = {"completion", "doctor", "coil list", "dose stimulators", "dose convert"}
"""Commands that print what they know, in less than a second."""


def options(command):
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_that_computes_can_be_quiet_or_verbose(name, command):
    talk = {"--quiet", "-q", "--verbose", "-v"}
    assert talk <= options(command) or name in AT_ONCE


def test_exceptions_are_of_commands_that_there_are():
    assert {name for name, _ in commands()} >= AT_ONCE


# --- the estimate


def test_the_rest_goes_as_fast_as_what_is_done():
    assert progress.remaining(10.0, 0.0) is None
    assert progress.remaining(10.0, 0.25) == pytest.approx(30.0)
    assert progress.remaining(10.0, 0.25, since=12.0) == pytest.approx(18.0)
    assert progress.remaining(10.0, 0.25, since=31.0) == 0.0
    assert progress.remaining(10.0, 1.0) == 0.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def left(bars, task=0):
    """What the column says of a task."""
    return progress._left_column().render(bars.tasks[task]).plain


def test_the_whole_is_estimated_from_the_shares_of_its_stages():
    clock = Clock()
    bars = Progress(disable=True, get_time=clock)
    stages = progress._Stages(bars, {"setup": 1.0, "search": 3.0})
    stages("setup", 0.0)
    assert left(bars) == ""
    clock.now = 10.0
    stages("setup", 1.0)
    assert left(bars) == "0:00:30 left"
    clock.now = 14.0  # nothing was reported since: it counts down
    assert left(bars) == "0:00:26 left"
    clock.now = 100.0
    stages("search", 0.5)
    assert left(bars) == "0:01:00 left", "0.625 of the whole took 100 s"


def test_an_estimate_lasts_however_rare_the_reports():
    """A cohort's subjects may take hours each."""
    clock = Clock()
    bars = Progress(disable=True, get_time=clock)
    stages = progress._Stages(bars, {"subjects": 1.0})
    for count in range(1, 4):
        clock.now = 3600.0 * count
        stages("subjects", count / 4)
    assert left(bars) == "1:00:00 left"


def test_the_whole_never_goes_back():
    bars = Progress(disable=True)
    stages = progress._Stages(bars, {"setup": 0.2, "search": 0.8})
    seen = []
    steps = [("setup", 0.0), ("setup", 1.0), ("search", 0.5), ("setup", 0.0), ("search", 1.0), ("other", 1)]
    for step in steps:
        stages(*step)
        seen.append(bars.tasks[0].completed)
    assert seen == sorted(seen)
    assert seen[:3] == pytest.approx([0.0, 0.2, 0.6]) and seen[-1] == pytest.approx(1.0)


def test_a_stage_left_out_counts_as_done():
    clock = Clock()
    bars = Progress(disable=True, get_time=clock)
    stages = progress._Stages(bars, {"setup": 1.0, "modes": 2.0, "check": 1.0})
    clock.now = 30.0
    stages("check", 0.0)
    assert left(bars) == "0:00:10 left"


def test_a_stage_that_starts_again_has_its_own_time():
    clock = Clock()
    bars = Progress(disable=True, get_time=clock)
    stages = progress._Stages(bars, {"search": 1.0})
    clock.now = 50.0
    stages("search", 1.0)
    stages("search", 0.0)
    clock.now = 60.0
    stages("search", 0.5)
    assert left(bars, 1) == "0:00:10 left"


# --- on a terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_for_terminals_only(monkeypatch):
    with progress.stage_progress(False, shares.LOAD) as shown:
        assert shown is None
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    with progress.stage_progress(True, shares.LOAD) as shown:
        assert shown is None


def test_a_terminal_shows_a_bar_a_stage_and_what_remains(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress.stage_progress(False, {"setup": 1.0, "search": 1.0, "check": 1.0}) as shown:
        for step in (("search", 0.5), ("search", 1.0), ("setup", 0.0), ("check", 0)):
            shown(*step)
    drawn = sys.stderr.getvalue()
    for words in ("all", "setup", "search", "check", "left"):
        assert words in drawn


# --- every command has shares for the stages that it reports


@pytest.fixture
def seen(monkeypatch):
    """Shares that commands state, stages that they report, and how much is done in the end."""
    found = SimpleNamespace()

    @contextmanager
    def watched(quiet, stated):
        bars = Progress(disable=True)
        stages = progress._Stages(bars, stated)
        found.stated, found.reported = stated, {next(iter(stated))}

        def report(stage, fraction):
            found.reported.add(stage)
            stages(stage, fraction)
            found.done = bars.tasks[0].completed

        yield report

    monkeypatch.setattr(progress, "stage_progress", watched)
    return found


TARGET = ("--target", "-20,20,50", "--radius", 12, "--coil", "few.ccd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ball of two tissues, and a placement over it."""
    folder = tmp_path_factory.mktemp("ball")
    mesh = random_layered_sphere([66.0, 85.0], [2, 5], 14.0, seed=2)
    record = MeshRecord(np.asarray(mesh.nodes_mm), np.asarray(mesh.tets), np.asarray(mesh.tags))
    write_msh(folder / "ball.msh", record)
    over = Placement.on_scalp(HeadModel.from_mesh(mesh), [-30, 30, 70], yaw_deg=20, distance_mm=6.0)
    np.savetxt(folder / "pose.txt", over.matsimnibs)
    save_coil(few_dipoles(), folder / "few.ccd")
    write_wire_loop(folder / "loop.tcd")
    return folder


RUNS = {
    "optimize": "optimize ball.msh TARGET --objective magnitude_of_mean --out result",
    "simulate": "simulate ball.msh --placement pose.txt --out simulated",
    "sham": "sham ball.msh --placement pose.txt TARGET --spacer 20",
    "dose field": "dose field ball.msh --placement pose.txt TARGET --wanted 90 --max-didt 1e8",
    "dose motor": "dose motor ball.msh --placement pose.txt --motor-placement pose.txt TARGET "
    "--motor-target -20,20,50 --threshold 50 --max-didt 1e8",
    "report": "report result",
    "figures": "figures result --format svg",
    "export": "export result --format vtu field.vtu",
    "head info": "head info ball.msh",
    "head check": "head check ball.msh",
    "coil info": "coil info loop.tcd",
    "coil fit": "coil fit loop.tcd fitted.tcd",
    "coil convert": "coil convert loop.tcd loop.ccd",
}
"""In this order: later ones look at what earlier ones made."""


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore:.*equivalent dipoles reproduce")
def test_stages_and_shares_agree(seen, folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    words = [part for word in RUNS[name].split() for part in (TARGET if word == "TARGET" else (word,))]
    result = run(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert seen.reported <= seen.stated.keys()
    assert next(reversed(seen.stated)) in seen.reported
    assert 0.0 < seen.done <= 1.0 + 1e-9


ELSEWHERE = {"compare", "cohort"}
"""Their stages are checked where they are run, in tests of their own."""


def test_every_command_with_bars_is_among_them():
    quiet = {name for name, command in commands() if "--quiet" in options(command)}
    assert quiet - ELSEWHERE == RUNS.keys()
