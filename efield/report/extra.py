"""Packages that only reports need."""

from importlib import import_module

from efield.errors import MissingExtraError


def need(module, extra):
    """Import an optional package.

    Raises
    ------
    MissingExtraError
        It is not installed; names the pip extra that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"this needs the package {package}: pip install 'efield[{extra}]' ({error})"
        ) from error
