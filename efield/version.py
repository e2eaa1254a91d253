"""The version of efield, without what computes."""

import importlib


def version():
    """Version of efield; the package itself states it and may not be imported by name here."""
    return importlib.import_module("efield").__version__
