"""Who asked for what: the index behind fan-out."""

from collections.abc import Hashable, Iterator

from nips.nip01 import Event, Filter

Key = tuple[Hashable, str]


class Subscriptions:
    """Filters by (connection, subscription id), found by an event's kind without looking at all of them."""

    def __init__(self) -> None:
        self._filters: dict[Key, tuple[Filter, ...]] = {}
        self._by_kind: dict[int, dict[Key, None]] = {}
        self._any_kind: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._filters)

    def add(self, key: Key, filters: tuple[Filter, ...]) -> None:
        """Put a subscription in place, over an older one of the same key (NIP-01)."""
        self.remove(key)
        self._filters[key] = filters
        for asked in filters:
            if asked.kinds is None:
                self._any_kind[key] = None
            else:
                for kind in asked.kinds:
                    self._by_kind.setdefault(kind, {})[key] = None

    def remove(self, key: Key) -> bool:
        """Forget a subscription; False if there is none."""
        filters = self._filters.pop(key, None)
        if filters is None:
            return False
        self._any_kind.pop(key, None)
        for asked in filters:
            for kind in asked.kinds or ():
                keys = self._by_kind.get(kind)
                if keys is not None:
                    keys.pop(key, None)
                    if not keys:
                        del self._by_kind[kind]
        return True

    def matching(self, event: Event) -> Iterator[Key]:
        """The subscriptions that ask for the event, each once."""
        by_kind = self._by_kind.get(event.kind, {})
        for key in by_kind:
            if any(asked.matches(event) for asked in self._filters[key]):
                yield key
        for key in self._any_kind:
            if key not in by_kind and any(asked.matches(event) for asked in self._filters[key]):
                yield key
