"""``efield completion``: commands and options completed by the shell."""

import click
from click.shell_completion import get_completion_class

EPILOG = """
\b
Once for all:
  efield completion bash >> ~/.bashrc
  efield completion zsh >> ~/.zshrc
  efield completion fish > ~/.config/fish/completions/efield.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx, shell):
    """Print what makes a shell complete efield's commands and options with Tab."""
    make = get_completion_class(shell)
    click.echo(make(ctx.find_root().command, {}, "efield", "_EFIELD_COMPLETE").source())
