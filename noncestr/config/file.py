"""The configuration as it is read: one TOML file, and `NONCESTR_<SECTION>_<KEY>` in the environment overrides it.

A bad value is refused with a sentence that names the key, the value and what would be right; all at once.
"""

import dataclasses
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noncestr.config.contradictions import contradictions
from noncestr.config.offers import OfferConfig
from noncestr.config.sections import ARRAYS, Config, PortConfig, sections
from noncestr.errors import ConfigError
from noncestr.keys.passphrase import FILE_VARIABLE, VARIABLE

ENV_PREFIX = "NONCESTR_"


def _typed(expected: Any, value: object) -> Any:
    """The value as the key's type, from TOML or from text of the environment. Raises ValueError with what is right."""
    if expected is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise ValueError("must be true or false")
    if expected is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
            return int(value)
        raise ValueError("must be a whole number")
    if expected is str:
        if isinstance(value, str):
            return value
        raise ValueError("must be text in quotes")
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("must be an array of texts")


def _section(cls: type, name: str, found: Mapping[str, Any], env: Mapping[str, str], problems: list[str]) -> Any:
    """One table as its class; `name` as in messages and, for what is not in brackets already, in the environment."""
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    keys = {key.name: key for key in dataclasses.fields(cls)}
    table = name if name.startswith("[") else f"[{name}]"
    problems.extend(
        f"{table} {unknown}: there is no such key; known here: {', '.join(keys)}"
        for unknown in found
        if unknown not in keys
    )
    for key in keys.values():
        if dataclasses.is_dataclass(hints[key.name]):
            inner, within = f"{name}.{key.name}", found.get(key.name, {})
            values[key.name] = _section(hints[key.name], inner, _table(inner, within, problems), env, problems)
            continue
        variable = _variable(name, key.name)
        where = f"{table} {key.name}"
        if variable in env:
            raw: object = env[variable]
            where = variable
        elif key.name in found:
            raw = found[key.name]
        else:
            continue
        shown = "..." if key.metadata["secret"] else repr(raw)
        try:
            value = _typed(hints[key.name], raw)
        except ValueError as error:
            problems.append(f"{where} = {shown}: {error}")
            continue
        check = key.metadata["check"]
        complaint = check(value) if check is not None else None
        if complaint is not None:
            problems.append(f"{where} = {shown}: {complaint}")
            continue
        values[key.name] = value
    return cls(**values)


def _table(name: str, found: object, problems: list[str]) -> Mapping[str, Any]:
    if isinstance(found, dict):
        return found
    problems.append(f"{name}: must be a section, written [{name}]")
    return {}


def _variable(section: str, key: str) -> str:
    return f"{ENV_PREFIX}{section.replace('.', '_')}_{key}".upper()


def _variables(name: str, cls: type) -> Iterator[str]:
    """The environment's names of a section's keys and of those of the sections in it."""
    hints = typing.get_type_hints(cls)
    for key in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[key.name]):
            yield from _variables(f"{name}.{key.name}", hints[key.name])
        else:
            yield _variable(name, key.name)


def _tables(array: str, cls: type, found: object, problems: list[str]) -> tuple[Any, ...]:
    """An array of tables, as [[ports]]."""
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        problems.append(f"{array}: must be tables, each written [[{array}]]")
        return ()
    tables = []
    for number, table in enumerate(found, 1):
        name = table.get("name")
        where = f"[[{array}]] {name}" if isinstance(name, str) and name else f"[[{array}]] number {number}"
        problems.extend(f"{where}: {needed} is missing" for needed in ARRAYS[array] if needed not in table)
        tables.append(_section(cls, where, table, {}, problems))
    return tuple(tables)


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """The configuration of a TOML file (None: defaults) with the environment's overrides. Raises ConfigError."""
    found: dict[str, Any] = {}
    if path is not None:
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError((f"cannot read {path}: {error.strerror}",)) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError((f"{path} is not TOML: {error}",)) from None
    problems: list[str] = []
    known_sections = sections()
    problems.extend(
        f"[{unknown}]: there is no such section; known: {', '.join(known_sections)}"
        for unknown in found
        if unknown not in (*known_sections, *ARRAYS)
    )
    values: dict[str, Any] = {
        "ports": _tables("ports", PortConfig, found.get("ports", []), problems),
        "offers": _tables("offers", OfferConfig, found.get("offers", []), problems),
    }
    for name, cls in known_sections.items():
        values[name] = _section(cls, name, _table(name, found.get(name, {}), problems), env, problems)
    known = {variable for name, cls in known_sections.items() for variable in _variables(name, cls)}
    # No keys of the file: they are read where the key files are.
    known |= {VARIABLE, FILE_VARIABLE}
    problems.extend(
        f"{variable}: there is no such key (environment)"
        for variable in sorted(env)
        if variable.startswith(ENV_PREFIX) and variable not in known
    )
    config = Config(**values)
    problems.extend(contradictions(config))
    if problems:
        raise ConfigError(tuple(problems))
    return config
