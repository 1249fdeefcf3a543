"""The hash lanes' edges: what is refused, what is kept, threads, and which implementation is chosen."""

import gc
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool import lanes
from nips.pool.binding import BoundWork
from tests.vectors.lanes import RECORD, Way, Work, find_way, make_work, native, needs_native, pack, shares_of


@pytest.fixture(params=["pure", "best"])
def module(request: pytest.FixtureRequest) -> Way:
    return find_way(request.param)


def test_wrong_sizes_are_refused(module: Way) -> None:
    work = make_work()
    job = work.job(module)
    bound = job.bind(work.binding, work.extranonce1)
    column = RECORD.pack(0, 0, 0, 0, 0, 0, 0, bytes(8))
    calls: list[tuple[str, Callable[[], object]]] = [
        ("prevhash has 32 bytes, not 31", lambda: module.job(b"", b"", b"", bytes(31), 0)),
        ("prevhash has 32 bytes, not 0", lambda: module.job(b"", b"", b"", b"", 0)),
        ("branches are up to 32 of 32 bytes, not 33 bytes", lambda: module.job(b"", b"", bytes(33), bytes(32), 0)),
        ("branches are up to 32 of 32 bytes, not 1056", lambda: module.job(b"", b"", bytes(1056), bytes(32), 0)),
        ("nbits is a u32", lambda: module.job(b"", b"", b"", bytes(32), 1 << 32)),
        ("nbits is a u32", lambda: module.job(b"", b"", b"", bytes(32), -1)),
        ("nbits is a u32", lambda: module.job(b"", b"", b"", bytes(32), "0")),
        ("binding has 32 bytes, not 33", lambda: job.bind(bytes(33), bytes(4))),
        ("extranonce1 has 4 bytes, not 3", lambda: job.bind(bytes(32), bytes(3))),
        ("extranonce2 has 8 bytes, not 7", lambda: bound.hash(bytes(7), 0, 0, 0)),
        ("extranonce2 has 8 bytes, not 9", lambda: bound.hash(bytes(9), 0, 0, 0)),
        ("ntime is a u32", lambda: bound.hash(bytes(8), 1 << 32, 0, 0)),
        ("nonce is a u32", lambda: bound.hash(bytes(8), 0, -1, 0)),
        ("version is a u32", lambda: bound.hash(bytes(8), 0, 0, 1 << 200)),
        ("version is a u32", lambda: bound.hash(bytes(8), 0, 0, None)),
        ("1 shares are 20 bytes, not 19", lambda: module.hash_shares([bound], bytes(19))),
        ("1 shares are 20 bytes, not 40", lambda: module.hash_shares([bound], bytes(40))),
        ("0 shares are 0 bytes, not 20", lambda: module.hash_shares([], bytes(20))),
        ("2 shares are 40 bytes, not 20", lambda: module.hash_shares([bound, bound], bytes(20))),
        ("records of 28 bytes do not fill 29", lambda: module.hash_records({0: bound}, column + b"\0")),
        ("a place in a receipt", lambda: module.hash_records({1 << 24: bound}, column)),
        ("a place in a receipt", lambda: module.hash_records({-1: bound}, column)),
        ("a place in a receipt", lambda: module.hash_records({"0": bound}, column)),
    ]
    for text, call in calls:
        with pytest.raises(ValueError, match=text):
            call()
    wrong: list[Callable[[], object]] = [
        lambda: module.job(),
        lambda: module.job("", b"", b"", bytes(32), 0),
        lambda: module.job(b"", b"", b"", bytes(32), 0, 0),
        lambda: module.job(b"", b"", b"", bytes(32), nbits=0),
        lambda: job.bind("00" * 16, bytes(4)),
        lambda: job.bind(bytes(32)),
        lambda: bound.hash("00000000", 0, 0, 0),
        lambda: bound.hash(bytes(8), 0, 0),
        lambda: type(bound)(),
        lambda: module.hash_shares([job], bytes(20)),
        lambda: module.hash_shares([None], bytes(20)),
        lambda: module.hash_shares(None, bytes(20)),
        lambda: module.hash_shares([bound], "0" * 20),
        lambda: module.hash_records({0: job}, column),
        lambda: module.hash_records([bound], column),
        lambda: module.hash_records({0: bound}, None),
    ]
    for call in wrong:
        with pytest.raises(TypeError):
            call()


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=80)
    | st.builds(bytearray, st.binary(max_size=40))
    | st.builds(lambda raw: memoryview(raw)[::2], st.binary(max_size=80))
    | st.lists(st.none() | st.binary(max_size=8), max_size=3)
    | st.dictionaries(st.integers(-1, 1 << 25) | st.text(max_size=2), st.none() | st.integers(), max_size=3)
)


@pytest.mark.parametrize("name", ["pure", "best"])
@given(st.lists(ODD, max_size=6), st.integers(0, 4))
def test_odd_arguments_never_crash(name: str, arguments: list[Any], which: int) -> None:
    """Whatever is handed in, the answer is a result or one of the errors that say so."""
    way = find_way(name)
    work = make_work(branches=0)
    job = work.job(way)
    bound = job.bind(work.binding, work.extranonce1)
    mine = [bound if n == 0 and argument is None else argument for n, argument in enumerate(arguments)]
    call: Any = [way.job, job.bind, bound.hash, way.hash_shares, way.hash_records][which]
    with suppress(TypeError, ValueError, BufferError):
        call(*mine)
    share = shares_of(1)[0]
    assert bound.hash(*share) == work.hash(*share)


@needs_native
def test_nothing_is_kept_nor_dropped() -> None:
    """Reference counts and memory are as before, after calls that work and calls that fail."""
    work = make_work(branches=2)
    job = work.job(find_way("best"))
    bound = job.bind(work.binding, work.extranonce1)
    shares, column = bytes(20 * 300), bytes(28 * 300)
    watched = (job, bound, type(job), type(bound), None, shares, column, work.binding, work.coinb1)

    def use() -> None:
        other = work.job(find_way("best"))
        bounds = [job.bind(work.binding, work.extranonce1), *[bound] * 298, other.bind(bytes(32), bytes(4))]
        native.hash_shares(bounds, shares)
        native.hash_shares(iter(bounds), shares)
        native.hash_records({0: bound, 1 << 16: bounds[0]}, column)
        bound.hash(bytes(8), 1, 2, 3)
        native.sha256(work.coinb1, 0)
        native.kernels()
        fails: list[Callable[[], object]] = [
            lambda: native.Job(b"", work.coinb1, work.branches, bytes(31), 0),
            lambda: native.Job(b"", work.coinb1, work.branches, bytes(32), -1),
            lambda: job.bind(work.binding, bytes(5)),
            lambda: bound.hash(bytes(8), 1, 2, -3),
            lambda: native.hash_shares([*[bound] * 299, None], shares),
            lambda: native.hash_shares([bound], shares),
            lambda: native.hash_shares([bound] * 300, shares, 99),
            lambda: native.hash_records({0: bound, 1: None}, column),  # type: ignore[dict-item]  # refused
            lambda: native.hash_records({0: bound, -1: bound}, column),
            lambda: native.hash_records({0: bound}, column[1:]),
            lambda: native.hash_records({0: bound}, column, 99),
            lambda: native.sha256(work.coinb1, 99),
        ]
        for fail in fails:
            with pytest.raises((TypeError, ValueError)):
                fail()

    for _ in range(3):
        use()
    gc.collect()
    counts = [sys.getrefcount(thing) for thing in watched]
    tracemalloc.start()
    try:
        use()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(30):
            use()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    after = [sys.getrefcount(thing) for thing in watched]
    # None is everybody's: others come and go with it by the dozen, 30 rounds of a leak would be more.
    assert after[:4] + after[5:] == counts[:4] + counts[5:]
    assert abs(after[4] - counts[4]) < 30
    # What one round allocates is over 30 KB: its 300 hashes thrice, its arrays, its jobs.
    assert grown < 5_000


def test_work_outlives_the_name_of_its_job(module: Way) -> None:
    work, (share,) = make_work(), shares_of(1)
    bound = work.job(module).bind(work.binding, work.extranonce1)
    gc.collect()
    assert bound.hash(*share) == work.hash(*share)


@needs_native
def test_threads_hash_beside_each_other() -> None:
    work = make_work(branches=1)
    job = work.job(find_way("best"))
    shares = [shares_of(600, seed=1000 * n) for n in range(4)]
    expected = [b"".join(work.hash(*share) for share in batch) for batch in shares]
    bounds = [job.bind(work.binding, work.extranonce1) for _ in range(600)]
    found: list[bytes] = [b""] * 4

    def hash_batch(n: int) -> None:
        for _ in range(20):
            found[n] = native.hash_shares(bounds, pack(shares[n]))
            assert found[n] == expected[n]

    threads = [threading.Thread(target=hash_batch, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.fixture
def choice() -> Iterator[None]:
    """What was chosen is chosen again after the test."""
    native_before = lanes.is_native()
    yield
    if native_before:
        lanes.use_native()


def test_the_choice_is_said_and_can_be_made(choice: None, log: Any, vectors: Any) -> None:
    case = vectors("binding")["shares"][0]
    share = bytes.fromhex(case["extranonce2"]), case["ntime"], case["nonce"], case["version"]

    def hashed() -> set[str]:
        work = BoundWork(log.job, case["miner"], int(case["share_bits"], 16), bytes.fromhex(case["extranonce1"]))
        record = RECORD.pack(0, 0, 0, 0, *share[1:], share[0])
        return {
            work.hash(*share).hex(),
            lanes.hash_shares([work.bound], lanes.SHARE.pack(*share)).hex(),
            lanes.hash_records({0: work.bound}, record).hex(),
        }

    lanes.use_pure("NONCESTR_PURE is set")
    assert not lanes.is_native()
    assert lanes.implementation() == "pure Python: NONCESTR_PURE is set"
    assert hashed() == {case["hash"]}
    assert lanes.use_native() == lanes.is_native() == (native is not None)
    assert lanes.implementation().startswith("native, " if native else "pure Python: the native lanes are not built")
    assert hashed() == {case["hash"]}


@needs_native
def test_the_implementations_refuse_each_others_work() -> None:
    work = make_work()
    column = RECORD.pack(0, 0, 0, 0, 0, 0, 0, bytes(8))
    for mine, other in ((find_way("pure"), find_way("best")), (find_way("best"), find_way("pure"))):
        bound = work.job(other).bind(work.binding, work.extranonce1)
        with pytest.raises(TypeError, match="lanes gave"):
            mine.hash_shares([bound], bytes(20))
        with pytest.raises(TypeError, match="lanes gave"):
            mine.hash_records({0: bound}, column)


@needs_native
def test_a_kernel_that_hashes_wrongly_is_not_used(choice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "sha256", lambda message, number: bytes(32 * native.kernels()[0][number][1]))
    assert lanes.use_native() is False
    assert lanes.implementation() == "pure Python: the native scalar hash wrongly on this CPU"


def test_a_branch_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        lanes.job_work(b"", b"", (bytes(31), bytes(33)), bytes(32), 0)


def test_without_the_extension_the_pure_twin_serves() -> None:
    code = (
        "import sys; sys.modules['nips.pool._lanes'] = None\n"
        "from nips.pool import lanes\n"
        "work = lanes.job_work(b'', b'', (), bytes(32), 0).bind(bytes(32), bytes(4))\n"
        "print(lanes.implementation().split('(')[0], lanes.hash_shares([work], bytes(20)).hex())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    empty = Work(b"", b"", b"", bytes(32), 0, bytes(32), bytes(4)).hash(bytes(8), 0, 0, 0).hex()
    assert told == f"pure Python: the native lanes are not built  {empty}\n"
