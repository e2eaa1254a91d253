"""Options that several commands share, and the values they take."""

import logging
import sys

import click

from efield.cli import exits
from efield.cli.names import COIL, PATH, TARGET
from efield.model.target_text import parse_vector

DEFAULT_HEAD = "mni152"
DEFAULT_COIL = "figure8-70mm"
DEFAULT_TARGET = "dlpfc-left"


class Vector(click.ParamType):
    """Numbers between commas, by default three, ``x,y,z``."""

    def __init__(self, name="x,y,z"):
        self.name = name

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        count = self.name.count(",") + 1
        numbers = parse_vector(value, count)
        if numbers is None:
            words = {2: "two", 3: "three", 4: "four"}[count]
            self.fail(f"{value!r} is not {words} finite numbers {self.name}", param, ctx)
        return numbers


class Assignment(click.ParamType):
    """``TAG=VALUE``, the key a tissue tag or name."""

    name = "TAG=S/m"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        key, _, number = value.partition("=")
        try:
            return key.strip(), float(number)
        except ValueError:
            self.fail(f"{value!r} is not TAG=VALUE, for example bone=0.01 or 4=0.01 (S/m)", param, ctx)


def apply(*options):
    """One decorator from several, in the order that ``--help`` shows."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


head_options = apply(
    click.option("--unit", type=click.Choice(["mm", "m"]), default="mm", help="Unit of the mesh file. [mm]"),
    click.option(
        "--conductivity",
        type=Assignment(),
        multiple=True,
        help="Conductivity of a tissue by name or tag, over the defaults; may be repeated.",
    ),
)

mapping_options = apply(
    click.option(
        "--anisotropy",
        type=click.Choice(["vn", "dir"]),
        help="Conductivity from tensors: volume-normalised or direct mapping. [vn]",
    ),
    click.option(
        "--dti-frame",
        type=click.Choice(["fsl", "world"]),
        help="Axes of the tensors: FSL's (also of SimNIBS) or RAS, see docs/anisotropy.md. [fsl]",
    ),
)

tensor_options = apply(
    click.option(
        "--dti",
        type=PATH,
        metavar="NIFTI",
        help="Diffusion tensors in the head's space, as of FSL or SimNIBS: brain tissue becomes anisotropic.",
    ),
    mapping_options,
)

coil_option = click.option(
    "--coil",
    type=COIL,
    metavar="C",
    default=DEFAULT_COIL,
    show_default=True,
    help="Built-in coil, or a .ccd, .tcd or .nii.gz file.",
)

radius_option = click.option(
    "--radius",
    type=float,
    metavar="MM",
    help="Radius of the target: grey matter whose element centres lie in the ball. [5]",
)

target_option = click.option(
    "--target",
    type=TARGET,
    metavar="T",
    default=DEFAULT_TARGET,
    show_default=True,
    help="A name, x,y,z (mm, subject space), mni:x,y,z, a NIfTI mask, or mni: and a mask.",
)

placement_option = click.option(
    "--placement",
    type=PATH,
    metavar="FILE",
    required=True,
    help="result.json of a run, a 4 x 4 matsimnibs (mm), or a navigation file of one placement.",
)

didt_option = click.option(
    "--didt",
    type=float,
    metavar="A_PER_S",
    default=1e6,
    help="Rate of change of the coil current; every V/m is stated at it. [1e6]",
)

talk_options = apply(
    click.option("--quiet", "-q", is_flag=True, help="No progress and no summary."),
    click.option("--verbose", "-v", is_flag=True, help="Log what happens to stderr."),
)

output_options = apply(
    click.option(
        "--out", type=PATH, metavar="DIR", help="Write the result here: JSON, tables, picture, field files."
    ),
    click.option(
        "--json", "json_file", type=PATH, metavar="FILE", help="Write the result's JSON; - is stdout, alone."
    ),
    talk_options,
)


order_option = click.option(
    "--element-order",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="Of the finite elements; 2 is more accurate and slower, see docs/accuracy.md.",
)

image_option = click.option(
    "--image",
    type=PATH,
    metavar="NIFTI",
    help="Image navigated on, or whose grid is wanted, such as T1.nii.gz.",
)

json_facts_option = click.option(
    "--json", "json_file", type=PATH, metavar="FILE", help="Write the facts as JSON; - is stdout."
)


def one_placement(path):
    """The placement of a file that holds one."""
    from efield.errors import PlacementError
    from efield.model.placement import Placement
    from efield.model.session import load_placements

    session = load_placements(path)
    if len(session) != 1:
        raise PlacementError(f"{path} holds {len(session)} placements; give a file with one")
    return Placement(session[0].matsimnibs)


def log_to_stderr():
    """Show what efield logs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("efield")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


def check_outputs(out, json_file):
    """Refuse outputs that cannot be written, before anything is computed."""
    from efield.errors import OutputError
    from efield.results.outputs import check_output, check_output_file

    try:
        if out is not None:
            check_output(out)
        if json_file is not None and json_file != "-":
            check_output_file(json_file)
    except OutputError as error:
        raise exits.Failure(str(error), exits.INPUT) from error


def save_result(result, out, progress):
    """Save a result into the folder that ``--out`` names."""
    from efield.cli.progress import stage

    if out is not None:
        with stage(progress, "write"):
            result.save(out)


def write_json(result, json_file):
    """Write a result's JSON where ``--json`` asks for it."""
    if json_file == "-":
        click.echo(result.to_json(), nl=False)
    elif json_file is not None:
        result.export(json_file, format="json")


def write_facts(facts, text, json_file):
    """Print facts as text (nothing for None), or write them as JSON where ``--json`` asks for it."""
    from efield.io.atomic import atomic_path
    from efield.results.plain import dumps

    if json_file is None:
        if text is not None:
            click.echo(text)
    elif json_file == "-":
        click.echo(dumps(facts), nl=False)
    else:
        check_outputs(None, json_file)
        with atomic_path(json_file) as path:
            path.write_text(dumps(facts), encoding="utf-8")


def load_head_from_options(head, unit, conductivity, dti=None, anisotropy=None, dti_frame=None):
    """The head of the command line; built-in names and files alike."""
    from efield.model.heads import load_head

    for option, given in (("--anisotropy", anisotropy), ("--dti-frame", dti_frame)):
        if given is not None and dti is None:
            raise click.UsageError(f"{option} needs --dti")
    model = load_head(head, unit=unit, conductivity=dict(conductivity) or None)
    if dti is None:
        return model
    from efield.model.anisotropy import with_anisotropy

    return with_anisotropy(model, dti, mapping=anisotropy or "vn", frame=dti_frame or "fsl")
