"""P2PK locks."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nut11 import InvalidLock, Lock, build_secret, parse_secret

OWNER, POOL = "02" + "ab" * 32, "03" + "cd" * 32
NONCE = "11" * 32


def test_the_nuts_secret(vectors: Callable[[str], Any]) -> None:
    case = vectors("nut")["p2pk"]
    assert parse_secret(case["secret"]) == Lock(case["pubkey"])
    assert build_secret(Lock(case["pubkey"]), case["nonce"]) == case["secret"]


@given(st.none() | st.integers(0, 10**11 - 1), st.integers(1, 3))
def test_what_is_built_is_read(locktime: int | None, keys: int) -> None:
    lock = Lock(OWNER, locktime, () if locktime is None else (POOL,) * keys)
    assert parse_secret(build_secret(lock, NONCE)) == lock


def secret(*tags: Any, data: Any = OWNER, kind: str = "P2PK") -> str:
    return json.dumps([kind, {"nonce": NONCE, "data": data, "tags": list(tags)}])


def test_what_is_forgiven() -> None:
    assert parse_secret(json.dumps(["P2PK", {"nonce": NONCE, "data": OWNER}])) == Lock(OWNER)
    assert parse_secret(secret(["locktime", 5], ["n_sigs", 1], ["memo", "x"])) == Lock(OWNER, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "ab" * 32,
        "[]",
        '["P2PK"]',
        '["P2PK",[]]',
        secret(kind="HTLC"),
        secret(data=None),
        secret(data="ab" * 32),
        secret(data="04" + "ab" * 32),
        secret(["sigflag", "SIG_ALL"]),
        secret(["sigflag", "SIG_INPUTS", "x"]),
        secret(["n_sigs", "2"]),
        secret(["n_sigs_refund", "2"]),
        secret(["pubkeys", POOL]),
        secret(["refund", "x"]),
        secret(["locktime", "soon"]),
        secret(["locktime", "-1"]),
        secret(["locktime", "1", "2"]),
        secret(["locktime", "1"], ["locktime", "2"]),
        secret(["locktime"]),
        secret("locktime"),
        secret(["locktime", None]),
        secret(["memo", "x" * 1024]),
        "[" * 1000,
    ],
)
def test_what_one_key_can_not_open(text: str) -> None:
    with pytest.raises(InvalidLock):
        parse_secret(text)


@pytest.mark.parametrize(
    ("lock", "nonce"),
    [
        (Lock("ab" * 32), NONCE),
        (Lock(OWNER, 5, ("x",)), NONCE),
        (Lock(OWNER), "11"),
        (Lock(OWNER, 5), NONCE),
        (Lock(OWNER, None, (POOL,)), NONCE),
    ],
)
def test_locks_we_do_not_make(lock: Lock, nonce: str) -> None:
    with pytest.raises(ValueError, match="lock has"):
        build_secret(lock, nonce)


@given(st.text(max_size=200))
def test_no_text_is_a_lock_by_accident(text: str) -> None:
    with pytest.raises(InvalidLock):
        parse_secret(text)
