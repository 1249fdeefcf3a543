"""4220 archives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.archive import MAX_URLS, ArchiveBody, Digest, build_archive, parse_archive
from nips.pool.chain import FIRST, Head
from tests.vectors.example_log import ACCOUNTING, POOL

number = st.integers(0, 2**53 - 1)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
lanes = st.integers(0, 65_535).map(str)
chains = st.builds("{}/{}".format, id64, st.sampled_from(["terms", "accounting", "payouts"]) | lanes)
digests = st.builds(Digest, id64, number)
bodies = st.builds(
    ArchiveBody,
    st.integers(0, 2**40),
    st.integers(2**40 + 1, 2**50),
    number,
    digests,
    digests,
    st.dictionaries(chains, st.builds(Head, number, id64), max_size=3),
    st.lists(text, max_size=MAX_URLS).map(tuple),
)


def body_of(archive):
    return ArchiveBody(*(getattr(archive, name) for name in ArchiveBody.__slots__))


def test_vectors(check_vectors, log):
    (archive,) = check_vectors("archive", parse_archive, 1, 25)
    assert archive.events == 10
    assert archive.stream.size == sum(map(len, log.archive_lines))
    assert (
        ACCOUNTING.sign(build_archive(POOL, archive.link, body_of(archive), archive.created_at))
        == (log.events["archive"])
    )


@given(bodies)
def test_there_and_back(body):
    event = ACCOUNTING.sign(build_archive(POOL, FIRST, body, 9))
    archive = parse_archive(event)
    assert body_of(archive) == body
    assert (archive.id, archive.signer, archive.link) == (event.id, ACCOUNTING.pubkey, FIRST)
    assert event.tag_value("x") == body.file.sha256


@given(st.data(), bodies)
def test_fuzz(fuzz, data, body):
    fuzz(data, parse_archive, ACCOUNTING.sign(build_archive(POOL, FIRST, body, 9)))


def test_too_many_places():
    digest = Digest("00" * 32, 1)
    body = ArchiveBody(0, 1, 0, digest, digest, {}, ("https://a",) * (MAX_URLS + 1))
    with pytest.raises(ValueError, match="at most 16"):
        build_archive(POOL, FIRST, body, 9)
