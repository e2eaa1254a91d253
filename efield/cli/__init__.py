"""The command line: ``efield``."""

from efield.cli.app import main

__all__ = ["main"]
