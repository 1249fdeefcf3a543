"""The page's policy: nothing from elsewhere, and no header made of a stranger's text."""

import pytest

from client_web.headers import content_security_policy


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "pool.example", "192.168.1.7"])
def test_the_own_host_may_be_reached_by_websocket(host: str) -> None:
    policy = content_security_policy(host)
    assert f"connect-src 'self' ws://{host} wss://{host};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "host", [None, "", "a b", "x; script-src *", "evil.example/path", "h:123456", "a\r\nset-cookie: x", "*"]
)
def test_an_odd_host_is_not_echoed(host: str | None) -> None:
    assert "connect-src 'self';" in content_security_policy(host)


def test_configured_relays_are_allowed_and_paths_are_not_repeated() -> None:
    policy = content_security_policy("h", ("/relay", "wss://relay.example", "http://no.example"))
    assert "connect-src 'self' ws://h wss://h wss://relay.example;" in policy
