# ruff: noqa: S608 - this module writes SQL; its text is constant or generated here, every value is bound
"""From a NIP-01 filter to SQL over the event store's two tables.

    event(row, id, pubkey, created_at, kind, address, expires_at, json)
    tag(name, value, kind, created_at, event)        the first value of every single-letter tag

A filter becomes a merge of index ranges, each already in the order wanted (newest first, ties lowest id first): one
range a (author, kind), a (tag value, kind), a kind. SQLite merges the arms of a compound SELECT lazily, so a page of
500 costs about 500 rows however many match. Values are named parameters, bound once and used in every arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from nips.nip01 import Filter

# Arms of one merge. Above, the rows are found by IN and sorted: right for many ranges with few rows each.
# SQLite allows 500 arms; planning each costs some 10 microseconds.
MAX_ARMS = 64


@dataclass(slots=True)
class _Parameters:
    values: dict[str, object] = field(default_factory=dict)
    _names: dict[object, str] = field(default_factory=dict)

    def name(self, value: object) -> str:
        """The placeholder under which the value is bound."""
        found = self._names.get(value)
        if found is None:
            found = f":v{len(self._names)}"
            self._names[value] = found
            self.values[found[1:]] = value
        return found

    def names(self, values: Sequence[object]) -> str:
        return ",".join(self.name(value) for value in values)


@dataclass(frozen=True, slots=True)
class Query:
    """SQL and its named parameters. Rows are (created_at, id, row) of matching events."""

    sql: str
    parameters: dict[str, object]


def _blobs(values: frozenset[str]) -> list[object]:
    return [bytes.fromhex(value) for value in sorted(values)]


def match_query(asked: Filter, *, known_kinds: frozenset[int], now_s: int) -> Query:
    """The rows that match the filter and have not expired, each once, in no order.

    `known_kinds` are the kinds that the store holds: they stand in for a filter that names none.
    """
    bound = _Parameters()
    bind = bound.name
    kinds = sorted(known_kinds if asked.kinds is None else asked.kinds & known_kinds)
    driver = None if asked.ids is not None else _driving_tag(asked)
    rest = [f"(e.expires_at IS NULL OR e.expires_at > {bind(now_s)})"]
    for letter, wanted in asked.tags:
        if letter != driver:
            values = bound.names(sorted(wanted))
            rest.append(
                f"EXISTS (SELECT 1 FROM tag x WHERE x.name = {bind(letter)} AND x.value IN ({values})"
                " AND x.kind = e.kind AND x.created_at = e.created_at AND x.event = e.row)"
            )
    if asked.ids is not None:
        rest.append(f"e.id IN ({bound.names(_blobs(asked.ids))})")
    if asked.authors is not None and (driver is not None or asked.ids is not None):
        rest.append(f"e.pubkey IN ({bound.names(_blobs(asked.authors))})")

    def arm(source: str, at: str, where: list[str]) -> str:
        where = list(where)
        if asked.since is not None:
            where.append(f"{at} >= {bind(asked.since)}")
        if asked.until is not None:
            where.append(f"{at} <= {bind(asked.until)}")
        return f"SELECT {at} AS created_at, e.id AS id, e.row AS row FROM {source} WHERE {' AND '.join(where + rest)}"

    if not kinds or frozenset() in (asked.ids, asked.authors, *(wanted for _, wanted in asked.tags)):
        # An empty array asks for nothing.
        arms = [arm("event e", "e.created_at", ["0"])]
    elif asked.ids is not None:
        where = f"e.kind IN ({bound.names(kinds)})" if asked.kinds is not None else "1"
        arms = [arm("event e", "e.created_at", [where])]
    elif driver is not None:
        values_wanted = sorted(dict(asked.tags)[driver])
        source = "tag t CROSS JOIN event e ON e.row = t.event"
        if len(values_wanted) * len(kinds) <= MAX_ARMS:
            arms = [
                arm(source, "t.created_at", [f"t.name = {bind(driver)} AND t.value = {bind(v)} AND t.kind = {bind(k)}"])
                for v, k in product(values_wanted, kinds)
            ]
        else:
            where = (
                f"t.name = {bind(driver)} AND t.value IN ({bound.names(values_wanted)})"
                f" AND t.kind IN ({bound.names(kinds)})"
            )
            arms = [arm(source, "t.created_at", [where])]
    elif asked.authors is not None:
        authors = _blobs(asked.authors)
        if len(authors) * len(kinds) <= MAX_ARMS:
            arms = [
                arm("event e", "e.created_at", [f"e.pubkey = {bind(a)} AND e.kind = {bind(k)}"])
                for a, k in product(authors, kinds)
            ]
        else:
            where = f"e.pubkey IN ({bound.names(authors)}) AND e.kind IN ({bound.names(kinds)})"
            arms = [arm("event e", "e.created_at", [where])]
    elif asked.kinds is not None and len(kinds) <= MAX_ARMS:
        arms = [arm("event e", "e.created_at", [f"e.kind = {bind(k)}"]) for k in kinds]
    elif asked.kinds is not None:
        arms = [arm("event e", "e.created_at", [f"e.kind IN ({bound.names(kinds)})"])]
    else:
        arms = [arm("event e", "e.created_at", ["1"])]
    # An event with two wanted values of the driving tag comes twice: UNION and DISTINCT drop repeats.
    if driver is None:
        return Query(" UNION ALL ".join(arms), bound.values)
    if len(arms) == 1:
        return Query(arms[0].replace("SELECT ", "SELECT DISTINCT ", 1), bound.values)
    return Query(" UNION ".join(arms), bound.values)


def page_query(asked: Filter, limit: int, *, known_kinds: frozenset[int], now_s: int) -> Query:
    """(created_at, id, json) of the newest `limit` matches: newest first, ties lowest id first (NIP-01)."""
    match = match_query(asked, known_kinds=known_kinds, now_s=now_s)
    return Query(
        "SELECT m.created_at, m.id, f.json FROM "
        f"({match.sql} ORDER BY created_at DESC, id LIMIT {limit:d}) m CROSS JOIN event f ON f.row = m.row",
        match.parameters,
    )


def count_query(asked: Filter, *, known_kinds: frozenset[int], now_s: int) -> Query:
    """The ids of all matches."""
    match = match_query(asked, known_kinds=known_kinds, now_s=now_s)
    return Query(f"SELECT m.id FROM ({match.sql}) m", match.parameters)


def records_query(asked: Filter, limit: int, *, known_kinds: frozenset[int], now_s: int) -> Query:
    """(created_at, id) of up to `limit` matches, in no order."""
    match = match_query(asked, known_kinds=known_kinds, now_s=now_s)
    return Query(f"SELECT m.created_at, m.id FROM ({match.sql}) m LIMIT {limit:d}", match.parameters)


def _driving_tag(asked: Filter) -> str | None:
    """The tag whose index leads: the one with the fewest values. `a` never leads where author, kind or another tag
    can: in a pool's relay nearly every event carries the same one."""
    letters = sorted(asked.tags, key=lambda pair: (pair[0] == "a", len(pair[1])))
    if not letters:
        return None
    letter = letters[0][0]
    if letter == "a" and (asked.authors is not None or asked.kinds is not None):
        return None
    return letter
