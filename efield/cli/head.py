"""``efield head``: what a mesh holds, and whether it is fit for use."""

import dataclasses

import click

from efield.cli import exits
from efield.cli.names import HEAD
from efield.cli.options import head_options, json_facts_option, log_to_stderr, talk_options, write_facts


@click.group()
def head():
    """Look into head meshes."""


@head.command()
@click.argument("head", type=HEAD)
@head_options
@json_facts_option
@talk_options
def info(head, unit, conductivity, json_file, quiet, verbose):
    """Say what is in a head: size, frame, tissues and their conductivities.

    HEAD is a built-in head (mni152, mni152-small) or a mesh file.
    """
    facts = _inspect(head, unit, conductivity, quiet, verbose).description
    write_facts(facts, None if quiet else _text(facts), json_file)


@head.command()
@click.argument("head", type=HEAD)
@head_options
@json_facts_option
@talk_options
def check(head, unit, conductivity, json_file, quiet, verbose):
    """Say what is wrong with a head; exit code 2 where it cannot be used.

    HEAD is a built-in head (mni152, mni152-small) or a mesh file, even one that does not load.
    """
    findings = _inspect(head, unit, conductivity, quiet, verbose).findings
    rows = [f"{finding.severity}: {finding.code}: {finding.message}" for finding in findings]
    facts = [dataclasses.asdict(finding) for finding in findings]
    write_facts(facts, None if quiet else "\n".join(rows) or "nothing wrong found", json_file)
    if any(finding.severity == "error" for finding in findings):
        raise click.exceptions.Exit(exits.INPUT)


def _inspect(head, unit, conductivity, quiet, verbose):
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.model.check import inspect_file

    with stage_progress(quiet, {"read": 1.0, "check": 2.0}) as progress:
        return inspect_file(head, unit=unit, conductivity=dict(conductivity) or None, progress=progress)


def _text(facts):
    rows = [
        f"{facts['name']}: {facts['n_nodes']:,} nodes, {facts['n_tets']:,} tetrahedra, "
        f"{facts['volume_mL']:.0f} mL, {facts['space']} space, RAS, mm"
    ]
    if facts["bounding_box_mm"] is not None:
        sides = zip("xyz", *facts["bounding_box_mm"], strict=True)
        rows.append("bounding box: " + ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in sides))
    scalp = facts["scalp"]
    if scalp is None:
        rows.append("scalp: none")
    else:
        closed = "closed" if scalp["closed"] else "OPEN"
        size = f"{scalp['n_triangles']:,} triangles, {scalp['area_cm2']:.0f} cm2"
        rows.append(f"scalp: {size}, {closed}, from the {scalp['source']}")
    rows += ["", f"{'tag':>4}  {'tissue':<16}{'tetrahedra':>12}{'mL':>9}{'edge mm':>9}{'S/m':>9}"]
    return "\n".join([*rows, *map(_tissue_row, facts["tissues"])])


def _tissue_row(tissue):
    sigma = tissue["conductivity"]
    words = f"{sigma:g}" if isinstance(sigma, float) else str(sigma or "unknown")
    return (
        f"{tissue['tag']:>4}  {tissue['name'] or 'unknown':<16}{tissue['n_tets']:>12,}"
        f"{tissue['volume_mL']:>9.1f}{tissue['mean_edge_mm']:>9.2f}{words:>9}"
    )
