"""The ways besides Nostr: a mail service by template, ntfy's publishing by GET."""

from urllib.parse import parse_qs, urlsplit

import pytest

from noncestr.errors import NoncestrError
from noncestr.notices.lines import MAX_NTFY_TEXT, MailLine, NtfyLine, read_mail
from zapper.adapters.http_client import open_http_client
from zapper.errors import AddressRefused, HttpFailed

pytestmark = pytest.mark.anyio


class FakeHttp:
    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def get_json(self, url):
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_ntfy_is_published_by_get():
    http = FakeHttp({"id": "x", "event": "message"})
    assert await NtfyLine(http).send("https://ntfy.sh/rigs", "Paid: 1 sat & more", "a\nb ü" + "x" * 9000)
    parts = urlsplit(http.asked[0])
    assert (parts.netloc, parts.path) == ("ntfy.sh", "/rigs/publish")
    query = parse_qs(parts.query)
    assert query["title"] == ["Paid: 1 sat & more"]
    assert query["message"][0].startswith("a\nb üxxx")
    assert len(query["message"][0]) == MAX_NTFY_TEXT
    assert http.asked[0].isascii()


@pytest.mark.parametrize(
    "answer",
    [{"code": 42901, "http": 429}, [], None, HttpFailed("ntfy.sh", "status 500"), AddressRefused("ntfy.sh", "private")],
)
async def test_a_server_that_does_not_take_it(answer, caplog):
    caplog.set_level("DEBUG")
    assert not await NtfyLine(FakeHttp(answer)).send("https://ntfy.sh/secret-topic", "t", "x")
    assert "secret-topic" not in caplog.text


async def test_no_server_of_this_house_is_asked(free_tcp_port):
    async with open_http_client() as http:
        line = NtfyLine(http)
        for address in (
            f"http://127.0.0.1:{free_tcp_port}/t",
            f"https://127.0.0.1:{free_tcp_port}/t",
            "https://[::1]/t",
        ):
            assert not await line.send(address, "t", "x")


async def test_mail_goes_by_the_template(monkeypatch):
    sent = []

    class Line:
        def __init__(self, urls):
            self.urls = urls

        async def send(self, title, text):
            sent.append((*self.urls, title, text))
            return []

    monkeypatch.setattr("noncestr.notices.lines.OperatorLine", Line)
    mail = MailLine("mailtos://user:pass@smtp.example.com?to={to}")
    assert await mail.send("a+b@example.com", "t", "x")
    assert sent == [("mailtos://user:pass@smtp.example.com?to=a%2Bb%40example.com", "t", "x")]


def test_the_real_library_mails_to_that_address():
    """apprise reads the template as we mean it: one recipient, whatever stands before the place."""
    from apprise import Apprise

    for address in ("a+b@example.com", "miner@mail.example.org"):
        url = MailLine("mailtos://user:pass@smtp.example.com?to={to}&from=pool@example.com")._url(address)
        (plugin,) = Apprise(url)
        assert [to for _, to in plugin.targets] == [address]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mailtos://u:hunter2@x.com",
        "mailtos://u:hunter2@x.com?to={to}&cc={to}",
        "nonsense://u:hunter2@x.com?to={to}",
    ],
)
def test_templates_that_will_not_do(text, tmp_path, caplog):
    path = tmp_path / "mail"
    path.write_text(f"# ours\n{text}\n")
    path.chmod(0o600)
    with pytest.raises(NoncestrError) as caught:
        read_mail(path)
    assert "hunter2" not in str(caught.value) + caplog.text


def test_a_file_that_others_read(tmp_path):
    path = tmp_path / "mail"
    path.write_text("mailtos://u:hunter2@x.com?to={to}")
    path.chmod(0o640)
    with pytest.raises(NoncestrError, match="chmod 600"):
        read_mail(path)
    path.chmod(0o600)
    assert "hunter2" not in repr(read_mail(path))
    with pytest.raises(NoncestrError, match="cannot read"):
        read_mail(tmp_path / "none")
