"""``python -m efield.cli``, the same as ``efield``."""

from efield.cli import main

main(prog_name="efield")
