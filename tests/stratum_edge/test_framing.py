"""Line framing: whole, byte by byte, oversize with resync."""

from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.framing import HTTP_ANSWER, LineBuffer, is_http


def test_lines_come_whole_and_the_rest_waits():
    buffer = LineBuffer()
    assert buffer.feed(b'{"id":1}\n{"id":2}\n{"i') == [b'{"id":1}', b'{"id":2}']
    assert buffer.feed(b'd":3}') == []
    assert buffer.feed(b"\n") == [b'{"id":3}']


def test_an_oversize_line_is_reported_once_and_the_stream_goes_on_behind_it():
    buffer = LineBuffer(max_line=8)
    assert buffer.feed(b"123456789") == [None]
    assert buffer.feed(b"more and more") == []
    assert buffer.feed(b"end\nnext\n12345678\n") == [b"next", b"12345678"]
    assert buffer.feed(b"123456789\nok\n") == [None, b"ok"]


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.data())
def test_the_cuts_of_the_network_do_not_matter(lines, data):
    """Invariant: the same lines come out however the stream is cut; at most the limit is ever kept."""
    stream = b"".join(line + b"\n" for line in lines)
    buffer, found = LineBuffer(max_line=10), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += buffer.feed(stream[:size])
        stream = stream[size:]
        assert len(buffer._tail) <= 10
    assert found == [line if len(line) <= 10 else None for line in lines]


def test_http_is_known_by_its_first_word():
    assert is_http(b"GET / HTTP/1.1\r")
    assert not is_http(b'{"method":"GET "}')
    assert HTTP_ANSWER.startswith(b"HTTP/1.1 200 OK\r\n")
    head, _, body = HTTP_ANSWER.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert body.count(b"\n") == 1
