"""Key files: made once with mode 0600, refused when others can read them, never quoted."""

import stat
from pathlib import Path

import pytest

from nips.nip46 import Bunker
from noncestr.errors import KeyFileError
from noncestr.keys.files import (
    BunkerFile,
    find,
    fresh,
    load,
    load_bunker,
    load_or_create,
    write_bunker,
    write_ncryptsec,
)

# scrypt's cost in tests: a key that nothing hangs on.
QUICK = 4


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "keys", "pool")
    path = tmp_path / "keys" / "pool.nsec"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_or_create(tmp_path / "keys", "pool").pubkey == key.pubkey
    assert load_or_create(tmp_path / "keys", "edge").pubkey != key.pubkey
    assert sorted(file.name for file in path.parent.iterdir()) == ["edge.nsec", "pool.nsec"]


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path, "pool")
    path = tmp_path / "pool.nsec"
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(path)


def test_a_broken_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "pool.nsec"
    load_or_create(tmp_path, "pool")
    text = path.read_text().strip()
    broken = text[:-1] + ("q" if text[-1] != "q" else "p")
    path.write_text(broken)
    with pytest.raises(KeyFileError) as caught:
        load(path)
    assert broken[5:20] not in str(caught.value)
    with pytest.raises(KeyFileError, match="cannot read"):
        load(tmp_path / "none.nsec")


def test_a_key_that_can_not_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot make the folder of keys"):
        load_or_create(tmp_path / "file" / "keys", "pool")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noncestr.keys.files.write_whole", full)
    with pytest.raises(KeyFileError, match=r"cannot write the key file .*pool\.nsec: No space left"):
        load_or_create(tmp_path / "keys", "pool")


def test_a_torn_draft_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "pool.new").write_text("nsec1torn")
    assert load_or_create(tmp_path, "pool").pubkey
    assert not (tmp_path / "pool.new").exists()


def test_a_key_under_a_passphrase(tmp_path: Path) -> None:
    key = load_or_create(tmp_path, "pool")
    path = tmp_path / "pool.ncryptsec"
    write_ncryptsec(path, key, "correct horse", QUICK)
    (tmp_path / "pool.nsec").unlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(tmp_path, "pool", lambda: "correct horse").pubkey == key.pubkey
    with pytest.raises(KeyFileError, match="does not open") as caught:
        load(path, lambda: "battery staple")
    assert "battery" not in str(caught.value)


def test_two_files_of_one_key(tmp_path: Path) -> None:
    key = load_or_create(tmp_path, "pool")
    write_ncryptsec(tmp_path / "pool.ncryptsec", key, "x", QUICK)
    with pytest.raises(KeyFileError, match="one of them"):
        load_or_create(tmp_path, "pool", lambda: "x")


def test_a_key_elsewhere(tmp_path: Path) -> None:
    own, user, signer = fresh(), fresh(), fresh()
    file = BunkerFile(Bunker(signer.pubkey, ("wss://relay.example",), "used up"), user.pubkey, own)
    path = tmp_path / "pool.bunker"
    write_bunker(path, file)
    assert find(tmp_path, "pool") == path
    again = load_bunker(path)
    assert (again.signer.signer, again.signer.relays, again.signer.secret) == (signer.pubkey, file.signer.relays, None)
    assert (again.user, again.own.pubkey) == (user.pubkey, own.pubkey)
    assert "nsec" not in repr(again)
    with pytest.raises(KeyFileError, match="at hand"):
        load_or_create(tmp_path, "pool")
    for text in ("", "bunker://x\nnpub1\nnsec1", path.read_text() + "more\n"):
        path.write_text(text)
        with pytest.raises(KeyFileError, match="keys connect"):
            load_bunker(path)
