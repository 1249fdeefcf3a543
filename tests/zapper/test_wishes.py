"""Ways to be paid: from settings, profile and nutzap info, in the miner's order, else in the pool's."""

import json
from typing import Any

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip61 import NUTZAP_INFO
from nips.pool.settings import SettingsBody, build_settings
from zapper.errors import PaymentBlocked
from zapper.wishes import Wish, settings_of, wishes_of

KEY, POOL = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32).pubkey
NOW = 1_800_000_000


def profile(content: Any, age_s: int = 100) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(0, NOW - age_s, (), json.dumps(content)))


def settings(pool: str = POOL, age_s: int = 100, **fields: Any) -> VerifiedEvent:
    return KEY.sign(build_settings(pool, SettingsBody(**fields), NOW - age_s))


INFO = KEY.sign(UnsignedEvent(NUTZAP_INFO, NOW - 5, (("mint", "https://m.example"), ("pubkey", "aa" * 32)), ""))
PROFILE = profile({"lud16": "a@b.example"})


def wishes(*events: VerifiedEvent, **options: Any) -> list[Wish]:
    return wishes_of(events, KEY.pubkey, pool=POOL, now_s=NOW, **options)


def test_without_settings_the_pools_order_counts() -> None:
    zap, nutzap = Wish("zap", "a@b.example", PROFILE), Wish("nutzap", "", INFO)
    assert wishes(PROFILE) == [zap]
    assert wishes(PROFILE, INFO) == [zap, nutzap]
    assert wishes(INFO) == [nutzap]
    assert wishes(PROFILE, INFO, order=("nutzap", "zap")) == [nutzap, zap]
    assert wishes(PROFILE, order=("onchain", "cashu", "lnurl")) == [Wish("lnurl", "a@b.example", PROFILE)]


def test_the_miners_order_and_places_come_first() -> None:
    said = settings(methods=("onchain", "cashu", "zap"), onchain="bcrt1q", mint="https://m", lightning="c@d.example")
    assert wishes(PROFILE, INFO, said) == [
        Wish("onchain", "bcrt1q", said),
        Wish("cashu", "https://m", said),
        Wish("zap", "c@d.example", said),
    ]
    only = settings(methods=("zap",))
    assert wishes(PROFILE, INFO, only) == [Wish("zap", "a@b.example", PROFILE)]
    assert wishes(PROFILE, settings(methods=("cashu",)))[0].destination == ""


def test_settings_for_another_pool_and_older_ones_do_not_count() -> None:
    other = settings("cc" * 32, methods=("cashu",))
    old, new = settings(age_s=50, methods=("cashu",)), settings(age_s=10, lightning="new@b.example")
    assert wishes(PROFILE, other) == [Wish("zap", "a@b.example", PROFILE)]
    assert wishes(PROFILE, old, new)[0] == Wish("zap", "new@b.example", new)
    found = settings_of([old, new, other], KEY.pubkey, pool=POOL, now_s=NOW)
    assert found is not None
    assert found.id == new.id


@pytest.mark.parametrize(
    ("events", "options", "word"),
    [
        ((), {}, "no profile"),
        ((), {"order": ("nutzap",)}, "10019"),
        ((PROFILE,), {"order": ("onchain",)}, "34216"),
        ((settings(methods=("onchain",)),), {}, "no bitcoin address"),
        ((), {"order": ()}, "no way"),
        ((profile({"name": "x"}),), {}, "no lightning address"),
    ],
)
def test_nobody_is_paid_by_what_nobody_said(events: Any, options: Any, word: str) -> None:
    with pytest.raises(PaymentBlocked, match=word):
        wishes(*events, **options)
