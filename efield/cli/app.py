"""The ``efield`` command and what all its subcommands share: exit codes and messages.

Modules of subcommands import what computes inside their functions, so that ``efield --help``
is quick.
"""

import signal
import sys
import threading
import warnings
from contextlib import contextmanager

import click

from efield.cli import exits
from efield.cli.cohort import cohort
from efield.cli.coil import coil
from efield.cli.compare import compare
from efield.cli.completion import completion
from efield.cli.doctor import doctor
from efield.cli.dose import dose
from efield.cli.export import export
from efield.cli.head import head
from efield.cli.optimize import optimize
from efield.cli.report import figures, report
from efield.cli.sham import sham
from efield.cli.simulate import simulate
from efield.errors import ConvergenceError, EfieldError, OutputError, ResourceError

EPILOG = """
\b
The path, from a mesh to the navigation system:
  efield head check head.msh               is this mesh fit for use?
  efield optimize head.msh --coil c.ccd --target -38.5,52.1,41 --out result
  efield report result                     look at it: one HTML file
  efield export result --format brainsight targets.txt

\b
Further:
  efield optimize                          the left DLPFC of the built-in head, nothing else needed
  efield simulate head.msh --placement result/result.json --out field
  efield compare                           every way of finding the DLPFC, in one table
  efield cohort heads.csv --out study      the same for many subjects
  efield figures result                    PDF figures of it, for a paper
  efield sham mni152 --placement result/result.json
  efield dose field mni152 --placement result/result.json --wanted 100 --stimulator "MagPro X100 MCF-B65"
  efield coil list
  efield doctor                            versions, threads, what is missing
  efield completion bash                   complete commands and options with Tab

\b
Positions are millimetres, RAS, in the head's own space.
Exit codes: 0 success, 2 unusable input, 1 a run that failed, 130 interrupted.
"""


class _Commands(click.Group):
    """Turns what goes wrong into a message and an exit code."""

    def resolve_command(self, ctx, args):
        """Point to the group that a command is in: `efield check` means `efield head check`."""
        homes = [name for name, group in self.commands.items() if args[0] in getattr(group, "commands", {})]
        if args[0] not in self.commands and homes:
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'efield {homes[0]} {args[0]}'?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx):
        try:
            with warnings.catch_warnings(), _tidy_termination():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except EfieldError as error:
            raise exits.Failure(str(error), _exit_code(error)) from error
        except MemoryError as error:
            raise exits.Failure("out of memory; use a smaller head", exits.FAILURE) from error
        except KeyboardInterrupt as error:
            raise exits.Failure("interrupted", exits.INTERRUPTED) from error


def _exit_code(error):
    failed = isinstance(error, (ConvergenceError, ResourceError, OutputError))
    return exits.FAILURE if failed else exits.INPUT


@contextmanager
def _tidy_termination():
    """Let SIGTERM unwind the stack, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(exits.TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    click.echo(f"efield: warning: {message}", err=True)


def _show_version(ctx, param, wanted):
    if wanted:
        from efield.version import version

        click.echo(f"efield {version()}")
        ctx.exit()


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def main():
    """Where the TMS coil must lie on one person's head, and how strong its field is.

    A head is a tetrahedral mesh, a coil is a set of magnetic dipoles; the electric field comes
    from finite elements, and the best placement from every position and angle on the scalp.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows "?"
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


RESULTS = (optimize, simulate, compare, cohort, report, figures, export, sham, dose)
OTHERS = (head, coil, doctor, completion)

for _command in (*RESULTS, *OTHERS):
    main.add_command(_command)
