"""The OpenMetrics text format, version 1.0: families of counters and gauges, and `# EOF`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """A metric: a counter only grows while the process lives, a gauge is what it is. `unit` is the name's ending.

    Raises ValueError for a name or label that is none, and for a unit that the name does not end with.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    unit: str = ""
    samples: list[tuple[Labels, int | float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.endswith("_total"):
            raise ValueError(f"{self.name} is no name of a metric")
        if self.unit and not self.name.endswith(f"_{self.unit}"):
            raise ValueError(f"{self.name} must end with its unit, {self.unit}")

    def add(self, value: int | float, **labels: str) -> "Family":
        """Add a sample; its labels must differ from those of the others."""
        if not all(_LABEL.fullmatch(name) for name in labels):
            raise ValueError(f"{sorted(labels)} are not all names of labels")
        if any(known == labels for known, _ in self.samples):
            raise ValueError(f"{self.name} has a sample of {labels} already")
        self.samples.append((labels, value))
        return self

    def lines(self) -> Iterable[str]:
        """The family as it is written."""
        yield f"# TYPE {self.name} {self.kind}"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"
        yield f"# HELP {self.name} {_escaped(self.help)}"
        ending = "_total" if self.kind == "counter" else ""
        for labels, value in self.samples:
            told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{ending}{'{' + told + '}' if told else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def exposition(families: Iterable[Family]) -> str:
    """The text; families without a sample are left out. Raises ValueError for a family that comes twice."""
    lines: list[str] = []
    names: set[str] = set()
    for family in families:
        if family.name in names:
            raise ValueError(f"{family.name} comes twice")
        names.add(family.name)
        if family.samples:
            lines.extend(family.lines())
    return "\n".join([*lines, "# EOF"]) + "\n"
