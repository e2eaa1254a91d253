"""``efield coil``: the coils that can be used, what they are, and their files."""

import click

from efield.cli import exits
from efield.cli.names import COIL, PATH
from efield.cli.options import json_facts_option, log_to_stderr, talk_options, write_facts

EPILOG = """
\b
A coil is a built-in name, a file, or the name of a file in one of your coil folders:
  .ccd      magnetic dipoles
  .tcd      dipoles, wires or sampled fields; several stimulators, movable parts
  .nii.gz   the vector potential A, sampled on a grid
Wires and sampled fields are replaced by equivalent dipoles; `info` and `fit` state their error.

\b
Your folders: those in EFIELD_COIL_PATH, and the coils SimNIBS brings where it is installed.
"""


@click.group(epilog=EPILOG)
def coil():
    """Look into coil models, convert them, fit dipoles to them."""


LIST_EPILOG = """
\b
To add coils of your own:
  EFIELD_COIL_PATH=~/coils efield coil list
  EFIELD_COIL_PATH=~/coils efield optimize --coil MyCoil
"""


@coil.command("list", epilog=LIST_EPILOG)
@json_facts_option
def list_coils(json_file):
    """List the built-in coils and the coil files in your folders."""
    from efield.model.coil_folders import coil_files, coil_folders
    from efield.model.coil_library import BUILTIN_COILS, UNVERIFIED

    builtin = []
    for name, build in BUILTIN_COILS.items():
        model = build()
        source = "not verified" if any(n.startswith(UNVERIFIED) for n in model.notes) else "from a source"
        builtin.append({"name": name, "n_dipoles": len(model.moments), "dimensions": source})
    facts = {
        "builtin": builtin,
        "folders": [str(folder) for folder in coil_folders()],
        "files": [str(path) for path in coil_files()],
    }
    rows = [f"{b['name']:<20}{b['n_dipoles']} dipoles; dimensions {b['dimensions']}" for b in builtin]
    rows += ["", *(facts["files"] or ["no coil files found; name folders in EFIELD_COIL_PATH"])]
    write_facts(facts, "\n".join(rows), json_file)


INFO_EPILOG = """
\b
Examples:
  efield coil info figure8-70mm
  efield coil info MagVenture_MST-Twin.tcd --json coil.json
"""


@coil.command(epilog=INFO_EPILOG)
@click.argument("coil", type=COIL)
@json_facts_option
@talk_options
def info(coil, json_file, quiet, verbose):
    """Say what a coil is and which way its current and its field point.

    COIL is a built-in name or a .ccd, .tcd or .nii.gz file. Stated too: largest dI/dt, measured and as the
    device displays it; movable parts and their ranges; the error of equivalent dipoles.
    """
    from efield.model.coil_info import describe_coil

    facts = describe_coil(_loaded(coil, quiet, verbose))
    write_facts(facts, None if quiet else _text(facts), json_file)


CONVERT_EPILOG = """
\b
Examples:
  efield coil convert coil.nii.gz coil.ccd            fit once, load at once ever after
  efield coil convert bent.tcd flat.ccd --deform 0,0  movable parts at given settings
  efield coil convert coil.ccd coil.tcd               with the casing from coil.stl, the pulse from coil.tsv
  efield coil convert two.tcd two.tcd --didt 1,-0.5   second stimulator reversed, at half
"""


@coil.command(epilog=CONVERT_EPILOG)
@click.argument("coil", type=COIL)
@click.argument("output", type=PATH)
@click.option("--deform", metavar="V,V,...", help="Settings of the movable parts, in the order of `info`.")
@click.option("--didt", metavar="W,W,...", help="dI/dt of each stimulator relative to the run's. [all 1]")
@talk_options
def convert(coil, output, deform, didt, quiet, verbose):
    """Write a coil in another format, with all that this has a place for.

    COIL as in `info`; OUTPUT is a .tcd file, or a .ccd file (the dipoles of one stimulator), beside which a
    casing is written as .stl and pulses as .tsv. Movable parts stay movable in a .tcd, which opens at the
    settings given, and wires stay wires. What is left out is said.
    """
    settings, weights = _numbers("--deform", deform), _numbers("--didt", didt)
    model = _loaded(coil, quiet, verbose)
    if settings is not None:
        model = model.deformed(settings)
    if weights is not None:
        model = model.weighted(weights)
    _save(model, output, quiet)


FIT_EPILOG = """
\b
Examples:
  efield coil fit coil.nii.gz                         the error of the equivalent dipoles
  efield coil fit coil.tcd coil_dipoles.tcd           ... and write them
  efield coil fit coil.tcd --spacing 6                a coil of few dipoles: more, and a smaller error

\b
The error is that of A at points that took no part in the fit, rms over rms. Below 0.1 % nothing that
follows can see it: 1 mm in the height of the coil is worth 4 %.
"""


@coil.command(epilog=FIT_EPILOG)
@click.argument("coil", type=COIL)
@click.argument("output", type=PATH, required=False)
@click.option(
    "--spacing",
    type=float,
    metavar="MM",
    help="Between dipoles; wider where it took more than 700. [8]",
)
@talk_options
def fit(coil, output, spacing, quiet, verbose):
    """Replace wires or a sampled field by dipoles and state their error.

    COIL is a .tcd or .nii.gz file. With OUTPUT, a .ccd or .tcd file, the dipoles are written there, with all
    else that the format has a place for, as by `convert`.
    """
    options = {} if spacing is None else {"spacing_mm": spacing}
    model = _loaded(coil, quiet, verbose, **options)
    if model.fit_error is None:
        raise exits.Failure(f"{coil} is made of dipoles already: there is nothing to fit", exits.INPUT)
    if not quiet:
        click.echo("\n".join(note for note in model.notes if "dipoles" in note))
    if output is not None:
        _save(model, output, quiet, wires=False)


def _loaded(coil, quiet, verbose, **options):
    """The coil; wires and sampled fields take seconds to fit."""
    if verbose:
        log_to_stderr()
    from efield.cli.progress import stage_progress
    from efield.cli.shares import COIL_FILE
    from efield.model.coils import load_coil

    with stage_progress(quiet, COIL_FILE) as progress:
        return load_coil(coil, **options, progress=progress)


def _save(coil, path, quiet, **how):
    """Write the coil; say what was written and what was not."""
    from efield.model.coil_files import save_coil

    left_out = save_coil(coil, path, **how)
    if not quiet:
        click.echo(f"{path}: written; it loads as {len(coil.moments)} dipoles")
        click.echo("".join(f"not written: {words}\n" for words in left_out), nl=False)


def _numbers(option, text):
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not numbers separated by commas", param_hint=option) from None


def _text(facts):
    low, high = facts["bounds_mm"]
    extent = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in zip("xyz", low, high, strict=True))
    rows = [
        ("coil", facts["name"]),
        ("dipoles", facts["n_dipoles"]),
        ("extent", f"{extent} mm (coil frame; z into the head)"),
        ("casing", _casing(facts)),
        ("largest dI/dt", _didt(facts["max_didt"])),
        *(("stimulator", _stimulator(s)) for s in facts["stimulators"]),
        *(("movable", _deformation(d)) for d in facts["deformations"]),
        ("current", facts["current"]),
        ("half turn", facts["half_turn"]["text"]),
        ("sha256", facts["sha256"]),
        *(("note", note) for note in facts["notes"]),
    ]
    return "\n".join(f"{label:<15}{text}" for label, text in rows)


def _casing(facts):
    if facts["casing_points"] is None:
        return "unknown: the dipoles themselves are kept off the scalp"
    bare = facts["bare_dipoles"]
    outside = f"; {bare} dipoles lie outside it or within 1 mm of it and are kept off the scalp, too"
    return f"{facts['casing_points']} points" + (outside if bare else "")


def _didt(didt):
    return "unknown" if didt is None else f"{didt / 1e6:g} A/µs"


def _stimulator(facts):
    displayed = facts["displayed_max_didt"]
    words = [
        " ".join(filter(None, (facts["brand"], facts["name"]))) or "unknown",
        f"largest dI/dt {_didt(facts['max_didt'])}",
        f"the device displays {_didt(displayed)}" if displayed is not None else None,
        *(f"pulse {w['name'] or ''} over {w['duration'] * 1e6:.0f} µs" for w in facts["waveforms"]),
    ]
    return ", ".join(filter(None, words))


def _deformation(facts):
    return (
        f"{facts['name']}: {facts['low']:g} to {facts['high']:g} {facts['unit']}, "
        f"{facts['initial']:g} at first; moves {', '.join(facts['moves'])}"
    )
