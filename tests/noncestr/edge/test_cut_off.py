"""An edge without relays says so in time, once, and says when they are back."""

from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from noncestr.edge.cut_off import CutOff, watch_cut
from relay_bridge.roles import Role

GRACE_MS = 600_000


def said(*looks: tuple[int, bool]) -> list[str]:
    cut = CutOff()
    return [cut.news(connected=connected, grace_ms=GRACE_MS, mono=mono) for mono, connected in looks]


def test_short_breaks_are_not_worth_a_word() -> None:
    assert said((0, True), (1000, False), (150_999, False), (152_000, True), (153_000, False)) == [""] * 5


def test_a_long_one_is_said_twice_and_its_end() -> None:
    first, *quiet, over, after, back, again = said(
        (0, False), (149_999, False), (150_000, False), (599_999, False), (600_000, False), (700_000, False),
        (800_000, True), (801_000, True),
    )  # fmt: skip
    assert (first, quiet[0], after, again) == ("", "", "", "")
    assert "for 150 s: what is mined here is kept" in quiet[1]
    assert quiet[2] == ""
    assert "for 600 s: the pool may have closed" in over
    assert back == "a relay is reached again after 800 s"


@pytest.mark.anyio
@pytest.mark.parametrize(("grace_ms", "words"), [(None, "which it may after 600 s"), (4000, "may have closed")])
async def test_the_grace_is_the_terms(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, grace_ms: int | None, words: str
) -> None:
    monkeypatch.setattr("noncestr.edge.cut_off.LOOK_S", 0.001)
    times = chain([0.0], repeat(150.0))
    terms = SimpleNamespace(body=SimpleNamespace(limits=SimpleNamespace(lane_grace_ms=grace_ms)))
    looks = iter([False])

    def current() -> Any:
        """Before the first terms there is nothing to say."""
        for known in looks:
            raise LookupError(known)
        return terms

    relays = SimpleNamespace(status=lambda: [SimpleNamespace(connected=False, roles=(Role.LOG,))])
    with anyio.move_on_after(0.05):
        await watch_cut(relays, cast(Any, SimpleNamespace(current=current)), lambda: next(times))
    assert [words in record.message for record in caplog.records] == [True]
