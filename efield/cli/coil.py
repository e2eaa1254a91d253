"""``efield coil``: the coils that can be used."""

import click

from efield.cli.options import json_facts_option, write_facts


@click.group()
def coil():
    """Look into coil models."""


@coil.command("list")
def list_coils():
    """List the built-in coils."""
    from efield.model.coils import BUILTIN_COILS, load_coil

    for name in BUILTIN_COILS:
        model = load_coil(name)
        click.echo(f"{name:<20}{len(model.moments)} dipoles; {model.name}")


@coil.command()
@click.argument("coil")
@json_facts_option
def info(coil, json_file):
    """Say what a coil is and which way its current and its field point.

    COIL is a built-in name or a .ccd file.
    """
    from efield.model.coil_info import describe_coil
    from efield.model.coils import load_coil

    facts = describe_coil(load_coil(coil))
    write_facts(facts, _text(facts), json_file)


def _text(facts):
    low, high = facts["bounds_mm"]
    extent = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in zip("xyz", low, high, strict=True))
    didt = facts["max_didt"]
    rows = [
        ("coil", facts["name"]),
        ("dipoles", facts["n_dipoles"]),
        ("extent", f"{extent} mm (coil frame; z into the head)"),
        ("casing", "unknown" if facts["casing_points"] is None else f"{facts['casing_points']} points"),
        ("largest dI/dt", "unknown" if didt is None else f"{didt / 1e6:g} A/µs"),
        ("current", facts["current"]),
        ("half turn", facts["half_turn"]["text"]),
        ("sha256", facts["sha256"]),
        *(("note", note) for note in facts["notes"]),
    ]
    return "\n".join(f"{label:<15}{text}" for label, text in rows)
