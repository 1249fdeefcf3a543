"""Where the passphrase of encrypted keys comes from."""

import io

import pytest

from noncestr.errors import KeyFileError
from noncestr.keys import passphrase
from noncestr.keys.passphrase import FILE_VARIABLE, VARIABLE, Passphrase, ask_twice, read_passphrase


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse\nnot this\n")
    path.chmod(0o600)
    return path


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_comes_before_the_variable(kept):
    assert Passphrase({FILE_VARIABLE: str(kept), VARIABLE: "other"})() == "correct horse"
    assert Passphrase({VARIABLE: "other"})() == "other"


def test_it_is_asked_for_once(monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(passphrase.getpass, "getpass", lambda prompt: asked.append(prompt) or "typed")
    ask = Passphrase({})
    assert (ask(), ask(), len(asked)) == ("typed", "typed", 1)
    assert "typed" not in repr(ask)


def test_nobody_to_ask(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(KeyFileError, match=FILE_VARIABLE):
        Passphrase({})()
    with pytest.raises(KeyFileError, match=FILE_VARIABLE):
        ask_twice()


def test_a_file_that_is_no_secret(kept):
    kept.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600") as caught:
        read_passphrase(kept)
    assert "horse" not in str(caught.value)
    kept.chmod(0o600)
    kept.write_text("\nx")
    with pytest.raises(KeyFileError, match="empty"):
        read_passphrase(kept)
    with pytest.raises(KeyFileError, match="cannot read"):
        read_passphrase(kept.with_name("none"))


def test_a_new_one_is_typed_twice(monkeypatch):
    answers = iter(["one", "one", "one", "two", "", ""])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(passphrase.getpass, "getpass", lambda _: next(answers))
    assert ask_twice() == "one"
    for _ in range(2):
        with pytest.raises(KeyFileError):
            ask_twice()
