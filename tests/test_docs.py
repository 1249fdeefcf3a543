"""What the documents tell people to type exists: commands, options, make's verbs, keys of the configuration."""

import dataclasses
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from noncestr.cli import command_line
from noncestr.config.file import ENV_PREFIX
from noncestr.config.offers import OfferConfig
from noncestr.config.sections import ARRAYS, PortConfig, sections

ROOT = Path(__file__).parents[1]
DOCS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
# What stands for something in a line to type, and something that could stand there.
STANDS_FOR = {"SAT": "5", "N": "2"}


def code(text: str) -> Iterator[str]:
    """Lines of indented and fenced blocks, and what stands between backticks; a line that goes on is one."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()
    for span in re.findall(r"`([^`]+)`", text):
        yield " ".join(span.split())


def typed(text: str) -> Iterator[list[str]]:
    """The words after each `noncestr` that is typed, alternatives (a|b) each on their own."""
    for line in code(text):
        found = re.search(r"(?:^|[\s/])noncestr (?=[a-z])(.*)", line)
        if found is None:
            continue
        # Beside a command stands what it is for: after two spaces, if no option follows.
        words = re.split(r"\s#|\s{2,}(?![-\s])|\s[>|]\s", found[1])[0]
        words = shlex.split(re.sub(r"[\[\]]", " ", words).replace(" | ", " "))
        ways = words[1].split("|") if len(words) > 1 else [""]
        yield from ([words[0], way, *words[2:]] for way in ways) if ways != [""] else [words]


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """The name of what is called, itself, and the words for it. Raises AssertionError for what does not exist."""
    command, rest, name = typer.main.get_command(command_line()), list(words), "noncestr"
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{name} has no {rest[0]}: {' '.join(words)}"
        command, name = command.commands[rest[0]], f"{name} {rest[0]}"
        rest.pop(0)
    return name, command, rest


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_command_and_option_that_is_named_exists(path: Path) -> None:
    for words in typed(path.read_text("utf-8")):
        name, command, rest = command_of(words)
        known = {option for key in command.params for option in (*key.opts, *key.secondary_opts)}
        for option in (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)):
            assert option in known, f"{name} has no {option}: {' '.join(words)}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_line_to_be_typed_parses(path: Path) -> None:
    """With all that it needs, each value in its place; what stands for something else is put in."""
    lines = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    blocks = "\n".join(line for line in lines if re.match(r" {4}(\S*/)?noncestr ", line))
    for words in typed(blocks):
        name, command, rest = command_of(words)
        if "..." in rest:
            # A part of a line: the rest of it stands elsewhere.
            continue
        command.make_context(name, [STANDS_FOR.get(word, word) for word in rest]).close()


def test_lines_are_found_at_all() -> None:
    found = [" ".join(words) for path in DOCS for words in typed(path.read_text("utf-8"))]
    assert len(found) > 80
    assert {"edge sessions", "config check"} <= set(found)
    assert list(typed("x `noncestr edge status|drain` y\n\n    noncestr up --workers 2   # many\n")) == [
        ["up", "--workers", "2"],
        ["edge", "status"],
        ["edge", "drain"],
    ]
    with pytest.raises(AssertionError, match="no spill"):
        command_of(["edge", "spill"])


def test_every_verb_of_make_exists() -> None:
    verbs = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = 0
    for path in DOCS:
        for line in code(path.read_text("utf-8")):
            found = re.fullmatch(r"make ([a-z][a-z0-9-]*)(?: [A-Z_]+=\S*)*(?:\s+#.*)?", line)
            if found is not None:
                assert found[1] in verbs, f"{path.name}: {line}"
                named += 1
    assert named > 10


def keys_of(cls: type) -> set[str]:
    return {key.name for key in dataclasses.fields(cls)}


def test_every_key_of_the_configuration_that_is_named_exists() -> None:
    tables = {name: keys_of(cls) for name, cls in sections().items()}
    tables |= {"ports": keys_of(PortConfig), "offers": keys_of(OfferConfig)}
    hints = {name: typing.get_type_hints(cls) for name, cls in sections().items()}
    for name, found in hints.items():
        tables |= {f"{name}.{key}": keys_of(cls) for key, cls in found.items() if dataclasses.is_dataclass(cls)}
    assert set(ARRAYS) <= set(tables)
    named = 0
    for path in DOCS:
        for span in code(path.read_text("utf-8")):
            for section, key in re.findall(r"\[\[?([a-z]+(?:\.[a-z]+)?)\]\]? ([a-z][a-z_]*)(?=$|[ =,;:.)])", span):
                assert section in tables, f"{path.name}: [{section}] in {span}"
                assert key in tables[section], f"{path.name}: [{section}] {key}"
                named += 1
            for variable in re.findall(rf"{ENV_PREFIX}([A-Z_]+)", span):
                section, _, key = variable.lower().partition("_")
                if section in tables:
                    assert key in tables[section] or any(name.startswith(f"{section}.") for name in tables), variable
    assert named > 20
