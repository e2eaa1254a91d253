"""Exit codes of the command line, and the error that carries one."""

import click

FAILURE = 1
"""A run that started and failed: the solver, memory, the disk."""

INPUT = 2
"""Input, options or outputs that cannot be used."""

INTERRUPTED = 130
TERMINATED = 143


class Failure(click.ClickException):
    """A short message for stderr and an exit code, without traceback."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file=None):
        click.echo(f"efield: {self.message}", file=file, err=file is None)
