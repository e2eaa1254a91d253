"""Every command line that the documentation and the help show is one that exists, with its options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from efield.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(text):
    """Command lines in blocks of code, without comments, pipes and redirections."""
    for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for part in re.split(r"&&|\|(?![^']*')", line.split(" # ")[0].split("  #")[0]):
                found = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?efield (.*)", part)
                if found:
                    yield found.group(1).strip()


def of_help(command):
    """Examples in the epilogs of a command and all below it."""
    for line in (command.epilog or "").replace("\\\n", " ").splitlines():
        for part in line.split("|")[0].split(" && "):
            if part.strip().startswith("efield ") and "EFIELD" not in part:
                yield re.split(r"  +|\s>>?\s", part.strip().removeprefix("efield "))[0]
    for below in getattr(command, "commands", {}).values():
        yield from of_help(below)


def parsed(line):
    """Parse a command line as the shell and click would, and run nothing."""
    words = [word for word in shlex.split(line.replace("…", ""), comments=True) if word != "..."]
    for mark in (">", ">>", "2>"):
        words = words[: words.index(mark)] if mark in words else words
    command, context = main, click.Context(main, info_name="efield")
    while isinstance(command, click.Group):
        if words and words[0] in ("--help", "--version", "-h"):
            return
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    if "--help" not in words and not (command.name == "compare" and "list" in words):
        command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages(page):
    for line in shown(page.read_text(encoding="utf-8")):
        try:
            parsed(line)
        except click.UsageError as error:
            raise AssertionError(f"{page.name}: efield {line}: {error.format_message()}") from error


def test_help():
    lines = list(of_help(main))
    assert len(lines) > 30
    for line in lines:
        try:
            parsed(line)
        except click.UsageError as error:
            raise AssertionError(f"efield {line}: {error.format_message()}") from error


def test_what_does_not_exist_is_seen():
    for wrong in ("optimise", "optimize --no-such", "simulate head.msh", "head look x.msh", "report a b"):
        with pytest.raises(click.UsageError):
            parsed(wrong)
    assert list(shown("```bash\nA=b .venv/bin/efield doctor && efield report r  # look\n```")) == [
        "doctor",
        "report r",
    ]
