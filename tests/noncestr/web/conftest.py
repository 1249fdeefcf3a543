"""A strict reader of OpenMetrics 1.0, by the grammar of its specification, as far as counters and gauges go."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# escaped-char = normal-char / BS ("n" / DQUOTE / BS); normal-char is anything but LF, DQUOTE and BS.
ESCAPED = r'(?:[^\n"\\]|\\["n\\])*'
LABEL = rf'([a-zA-Z_][a-zA-Z0-9_]*)="({ESCAPED})"'
DESCRIPTOR = re.compile(rf"# (TYPE|UNIT|HELP) ({NAME}) ({ESCAPED})")
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL}(?:,{LABEL})*)?)\}})? ([+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")


@dataclass
class Family:
    kind: str = "unknown"
    unit: str = ""
    help: str = ""
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def read(text: str) -> dict[str, Family]:
    assert text.endswith("\n"), "every line ends"
    *lines, last = text[:-1].split("\n")
    assert last == "# EOF", "the end is marked"
    families: dict[str, Family] = {}
    name, told, begun = "", set[str](), False
    for line in lines:
        descriptor = DESCRIPTOR.fullmatch(line)
        if descriptor is not None:
            what, of, value = descriptor.groups()
            if of != name:
                assert of not in families, "a family stands in one place"
                name, told, begun = of, set(), False
                families[name] = Family()
            assert not begun, "a family's metadata stand before its samples"
            assert what not in told, "each of them once"
            told.add(what)
            family = families[name]
            if what == "TYPE":
                assert value in ("counter", "gauge")
                family.kind = value
            elif what == "UNIT":
                assert name.endswith(f"_{value}")
                family.unit = value
            else:
                family.help = unescape(value)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample is not None, f"no sample: {line!r}"
        assert name, "a sample stands in a family"
        family = families[name]
        assert sample[1] == name + ("_total" if family.kind == "counter" else "")
        labels = tuple((key, unescape(value)) for key, value in re.findall(LABEL, sample[2] or ""))
        assert len({key for key, _ in labels}) == len(labels), "no label twice"
        number = float(sample.groups()[-1])
        assert math.isfinite(number)
        assert family.kind == "gauge" or number >= 0, "a counter is not negative"
        assert labels not in family.samples, "no sample twice"
        family.samples[labels] = number
        begun = True
    return families


@pytest.fixture(scope="session")
def read_openmetrics() -> Callable[[str], dict[str, Family]]:
    return read
