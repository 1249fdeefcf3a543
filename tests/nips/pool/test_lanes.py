"""The hash lanes: every kernel of the native module and the pure-Python twin against hashlib and the vectors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.lanes import (
    KERNELS,
    RECORD,
    SHARE,
    Way,
    Work,
    find_way,
    make_work,
    native,
    needs_native,
    noise,
    pack,
    sha,
    shares_of,
    split,
)


@pytest.fixture(params=["pure", "best", *KERNELS])
def way(request: pytest.FixtureRequest) -> Way:
    return find_way(request.param)


@pytest.fixture(params=["pure", "best"])
def module(request: pytest.FixtureRequest) -> Way:
    return find_way(request.param)


# NIST's SHA-256 examples (FIPS 180-2, and "SHA-256 additional examples").
NIST = [
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (b"\xbd", "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b"),
    (b"\xc9\x8c\x8e\x55", "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504"),
    (bytes(55), "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7"),
    (bytes(56), "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb"),
    (bytes(57), "65a16cb7861335d5ace3c60718b5052e44660726da4cd13bb745381b235a1785"),
    (bytes(64), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"),
    (bytes(1000), "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53"),
    (b"\x41" * 1000, "c2e686823489ced2017f6059b8b239318b6364f6dcd835d0a519105a1eadd6e4"),
    (b"\x55" * 1005, "f4d62ddec0f3dd90ea1380fa16a5ff8dc4c54b21740650f24afc4120903552b0"),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]


@needs_native
@pytest.mark.parametrize("number", range(len(KERNELS)), ids=KERNELS)
def test_the_core_is_sha256(number: int) -> None:
    """In every lane: NIST's examples, and every length around the borders of the first five blocks."""
    name, width, usable = native.kernels()[0][number]
    assert name == KERNELS[number]
    if not usable:
        pytest.skip(f"this CPU has not what {name} needs")
    assert len(NIST) == 13
    for message, digest in NIST:
        assert native.sha256(message, number).hex() == digest * width
    for size in range(330):
        message = noise(size, size)
        assert native.sha256(message, number) == sha(message) * width


@needs_native
def test_a_kernel_that_is_not_there_is_refused() -> None:
    for number in (-2, len(KERNELS), 1 << 30):
        with pytest.raises(ValueError, match="kernel"):
            native.hash_shares([], b"", number)
        with pytest.raises(ValueError, match="kernel"):
            native.sha256(b"", number)
    with pytest.raises(ValueError, match="name a kernel"):
        native.sha256(b"", -1)


def vector_works(vectors: Any) -> tuple[list[Work], list[tuple[bytes, int, int, int]], list[bytes]]:
    works, shares, hashes = [], [], []
    for case in vectors("binding")["shares"]:
        part = {name: bytes.fromhex(case[name]) for name in ("coinb1", "coinb2", "prevhash", "binding", "extranonce1")}
        work = Work(branches=bytes.fromhex("".join(case["merkle"])), nbits=int(case["nbits"], 16), **part)
        works.append(work)
        shares.append((bytes.fromhex(case["extranonce2"]), case["ntime"], case["nonce"], case["version"]))
        hashes.append(bytes.fromhex(case["hash"]))
    return works, shares, hashes


def test_share_vectors(way: Way, vectors: Any) -> None:
    works, shares, hashes = vector_works(vectors)
    assert len(works) == 6
    # A job for each, and one job for all.
    for jobs in ([work.job(way) for work in works], [works[0].job(way)] * 6):
        bounds = [job.bind(work.binding, work.extranonce1) for job, work in zip(jobs, works, strict=True)]
        assert split(way.hash_shares(bounds, pack(shares))) == hashes
        assert [bound.hash(*share) for bound, share in zip(bounds, shares, strict=True)] == hashes


def test_receipt_vectors(way: Way, vectors: Any) -> None:
    """The example's receipt column, hashed as it stands."""
    works, _, hashes = vector_works(vectors)
    column = bytes.fromhex("".join(case["record"] for case in vectors("share_record")["cases"]))
    numbers = [row[0] for row in RECORD.iter_unpack(column)]
    assert numbers == [0, 0, 1, 2, 2, 2]
    job = works[0].job(way)
    bounds = {n: job.bind(work.binding, work.extranonce1) for n, work in zip(numbers, works, strict=True)}
    assert split(way.hash_records(bounds, column)) == hashes


def test_merkle_vectors(way: Way, vectors: Any) -> None:
    """Branches of the vectors, over a coinbase of ours."""
    for case in vectors("merkle")["cases"]:
        work = make_work()._replace(branches=bytes.fromhex("".join(case["branches"])))
        (share,) = shares_of(1)
        bound = work.job(way).bind(work.binding, work.extranonce1)
        assert way.hash_shares([bound], pack([share])) == work.hash(*share)


def test_every_place_of_the_extranonce(way: Way) -> None:
    """coinb1 and coinb2 of every length modulo a block: extranonce2 in one block or over two, at any byte of a word."""
    for size in range(66):
        work = make_work(size, (size * 7 + 3) % 150, size % 3, seed=size)
        shares = shares_of(3, seed=size)
        bound = work.job(way).bind(work.binding, work.extranonce1)
        assert split(way.hash_shares([bound] * 3, pack(shares))) == [work.hash(*share) for share in shares]


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 1000, 100_000])
def test_coinbases_short_and_long(module: Way, size: int) -> None:
    for work in (make_work(coinb1=size), make_work(coinb2=size)):
        (share,) = shares_of(1)
        assert work.job(module).bind(work.binding, work.extranonce1).hash(*share) == work.hash(*share)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 13, 14, 15, 16, 17, 30, 33, 63, 64, 65, 255, 256, 300])
def test_any_number_of_shares(way: Way, count: int) -> None:
    """Full lanes, what is left over, and enough to give the interpreter's lock away."""
    base = make_work(branches=1)
    works = [base._replace(extranonce1=noise(4, n)) for n in range(count)]
    job, shares = base.job(way), shares_of(count)
    bounds = [job.bind(work.binding, work.extranonce1) for work in works]
    expected = [work.hash(*share) for work, share in zip(works, shares, strict=True)]
    for given_as in (list, tuple):
        assert split(way.hash_shares(given_as(bounds), pack(shares))) == expected
    assert split(way.hash_shares(iter(bounds), memoryview(bytearray(pack(shares))))) == expected


@st.composite
def mixed(draw: st.DrawFn) -> tuple[list[Work], list[tuple[int, tuple[bytes, int, int, int]]]]:
    """Sessions of up to three jobs, and shares of any of them in any order."""
    u32 = st.integers(0, 0xFFFFFFFF)
    hash32 = st.binary(min_size=32, max_size=32)
    works = []
    for _ in range(draw(st.integers(1, 3))):
        branches = b"".join(draw(st.lists(hash32, max_size=32)))
        job = draw(st.binary(max_size=140)), draw(st.binary(max_size=200)), branches, draw(hash32), draw(u32)
        sessions = draw(st.lists(st.tuples(hash32, st.binary(min_size=4, max_size=4)), min_size=1, max_size=3))
        works.extend(Work(*job, *session) for session in sessions)
    share = st.tuples(st.binary(min_size=8, max_size=8), u32, u32, u32)
    return works, draw(st.lists(st.tuples(st.integers(0, len(works) - 1), share), max_size=40))


@pytest.mark.parametrize("name", ["pure", "best", *KERNELS])
@given(case=mixed(), statuses=st.integers(0, 255))
def test_shares_of_many_sessions_and_jobs_keep_their_order(name: str, case: Any, statuses: int) -> None:
    """Shares one by one, many in a call, and as a receipt's records hash as the definition says."""
    works, shares = case
    way = find_way(name)
    jobs: dict[Any, Any] = {}
    bounds = []
    for work in works:
        job = jobs.setdefault(work[:5], work.job(way))
        bounds.append(job.bind(work.binding, work.extranonce1))
    expected = [works[n].hash(*share) for n, share in shares]
    assert [bounds[n].hash(*share) for n, share in shares] == expected
    assert split(way.hash_shares([bounds[n] for n, _ in shares], pack([share for _, share in shares]))) == expected
    order = list(jobs)
    places = [n | order.index(work[:5]) << 16 for n, work in enumerate(works)]
    column = b"".join(
        RECORD.pack(n, places[n] >> 16, statuses, 7, ntime, nonce, version, extranonce2)
        for n, (extranonce2, ntime, nonce, version) in shares
    )
    assert split(way.hash_records(dict(zip(places, bounds, strict=True)), column)) == expected
    # Without the first session's work, its records meet no target; the others are not touched.
    less = dict(zip(places[1:], bounds[1:], strict=True))
    wanted = [b"\xff" * 32 if n == 0 else value for (n, _), value in zip(shares, expected, strict=True)]
    assert split(way.hash_records(less, column)) == wanted


def test_every_bit_counts(module: Way) -> None:
    work, (share,) = make_work(coinb1=20, coinb2=20, branches=2), shares_of(1)
    seen = {work.job(module).bind(work.binding, work.extranonce1).hash(*share)}
    bits = 0
    for field, value in work._asdict().items():
        size = 4 if field == "nbits" else len(value)
        number = value if field == "nbits" else int.from_bytes(value, "big")
        for bit in range(8 * size):
            flipped = number ^ 1 << bit
            other = work._replace(**{field: flipped if field == "nbits" else flipped.to_bytes(size, "big")})
            seen.add(other.job(module).bind(other.binding, other.extranonce1).hash(*share))
        bits += 8 * size
    raw = int.from_bytes(pack([share]), "big")
    flipped_shares = b"".join((raw ^ 1 << bit).to_bytes(SHARE.size, "big") for bit in range(8 * SHARE.size))
    bound = work.job(module).bind(work.binding, work.extranonce1)
    seen.update(split(module.hash_shares([bound] * (8 * SHARE.size), flipped_shares)))
    assert len(seen) == 1 + bits + 8 * SHARE.size
