"""`noncestr.example.toml`: every key of the configuration with its meaning and its default."""

import dataclasses
import typing
from typing import Any

from noncestr.config.offers import OfferConfig
from noncestr.config.sections import PortConfig, sections


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def example_toml() -> str:
    """`noncestr.example.toml`: every key, its meaning, its default, its environment variable."""
    lines = [
        "# noncestr: every key with its default. Made by `noncestr config example`; a test holds the file to it.",
        "# Any key can be set in the environment instead: NONCESTR_<SECTION>_<KEY>, lists with commas.",
    ]
    for section, cls in sections().items():
        lines += _example_section(section, cls)
        if section == "stratum":
            lines += _example_table("ports", PortConfig, "More Stratum ports", "high")
        if section == "terms":
            lines += _example_table("offers", OfferConfig, "More offers, for ports to name", "lottery")
    return "\n".join(lines) + "\n"


def _example_section(name: str, cls: type) -> list[str]:
    hints = typing.get_type_hints(cls)
    lines, inner = ["", f"[{name}]  # {(cls.__doc__ or '').strip()}"], []
    for key in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[key.name]):
            inner += _example_section(f"{name}.{key.name}", hints[key.name])
        else:
            lines += [f"# {key.metadata['doc']}", f"{key.name} = {_toml(key.default)}"]
    return lines + inner


def _example_table(array: str, cls: type, what: str, name: str) -> list[str]:
    lines = ["", f"# {what}, as many as you like; what one leaves out is as it stands here.", f"# [[{array}]]"]
    for key in sorted(dataclasses.fields(cls), key=lambda key: key.name != "name"):
        shown = name if key.name == "name" else key.default
        lines.append(f"# {key.name} = {_toml(shown)}  # {key.metadata['doc']}")
    return lines
