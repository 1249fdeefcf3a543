"""`noncestr keys`: which keys there are and how they are kept. `noncestr signer run`: sign from elsewhere."""

import contextlib
from pathlib import Path
from typing import Annotated

import anyio
import typer

from nips.errors import NipError
from nips.nip19 import encode_npub
from nips.nip46 import parse_bunker
from noncestr.clock import WallClock
from noncestr.commands.options import BACKEND_OPTIONS, DataOption, folder_there
from noncestr.config.sections import LogConfig
from noncestr.errors import KeyFileError, NoncestrError
from noncestr.keys.files import (
    BUNKER,
    FORMS,
    NCRYPTSEC,
    NSEC,
    find,
    fresh,
    load,
    load_bunker,
    write_bunker,
    write_ncryptsec,
    write_nsec,
)
from noncestr.keys.passphrase import FILE_VARIABLE, Passphrase, ask_twice, read_passphrase
from noncestr.keys.remote_key import make_acquaintance
from noncestr.keys.signer_run import run_signer
from noncestr.logs import set_up_logging
from noncestr.moments import parse_relays
from noncestr.running import only_one

keys_app = typer.Typer(help="The pool's keys, and where they are kept.", no_args_is_help=True)
signer_app = typer.Typer(help="A remote signer (NIP-46), for keys that live on another host.", no_args_is_help=True)

# Those that sign a few times a minute at most; edge and zapper sign too often, and what they sign moves on at once.
REMOTE_ROLES = ("pool", "accounting")
_KEPT = {NSEC: "in the clear", NCRYPTSEC: "under a passphrase", BUNKER: "at a remote signer"}

NameArgument = Annotated[str, typer.Argument(help="pool, edge, accounting, zapper or another file of the keys folder.")]
NewPassphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="First line: the passphrase; asked for when not given.")
]


@keys_app.command("list")
def list_keys(data: DataOption = Path("data")) -> None:
    """Each key's npub and how its file keeps it. An encrypted key's npub needs the passphrase: it is not shown."""
    folder = data / "keys"
    names = sorted({path.stem for path in folder.glob("*") if path.suffix in FORMS})
    if not names:
        raise NoncestrError(f"there are no keys in {folder}")
    for name in names:
        path = find(folder, name)
        assert path is not None
        if path.suffix == NSEC:
            shown = encode_npub(load(path).pubkey)
        else:
            shown = encode_npub(load_bunker(path).user) if path.suffix == BUNKER else "-"
        # No table: an npub is only of use whole, and a narrow terminal would cut it.
        typer.echo(f"{name:<14} {_KEPT[path.suffix]:<19} {shown}")


@keys_app.command("encrypt")
def encrypt(name: NameArgument, data: DataOption = Path("data"), passphrase_file: NewPassphrase = None) -> None:
    """Put a key under a passphrase (NIP-49), one for all keys of a data folder. The pool must be stopped."""
    with only_one(folder_there(data)):
        path = _existing(data, name, NSEC)
        key = load(path)
        passphrase = ask_twice() if passphrase_file is None else read_passphrase(passphrase_file)
        sealed = path.with_suffix(NCRYPTSEC)
        write_ncryptsec(sealed, key, passphrase)
        # Only once the key was read back is the clear one given up.
        if load(sealed, lambda: passphrase).pubkey != key.pubkey:
            raise NoncestrError(f"{sealed} does not read back: {path} is left as it is")
        path.unlink()
    typer.echo(
        f"{sealed} holds the key of {encode_npub(key.pubkey)}; at start, {FILE_VARIABLE} names its passphrase's file"
    )


@keys_app.command("decrypt")
def decrypt(name: NameArgument, data: DataOption = Path("data")) -> None:
    """Keep a key in the clear again. The pool must be stopped."""
    with only_one(folder_there(data)):
        path = _existing(data, name, NCRYPTSEC)
        key = load(path, Passphrase())
        write_nsec(path.with_suffix(NSEC), key)
        path.unlink()
    typer.echo(f"{path.with_suffix(NSEC)} holds the key of {encode_npub(key.pubkey)}")


@keys_app.command("connect")
def connect(
    name: NameArgument,
    token: Annotated[str, typer.Argument(help="bunker://..., as the remote signer gives it out.")],
    data: DataOption = Path("data"),
) -> None:
    """Have a remote signer (NIP-46) sign for the pool or the accounting. The pool must be stopped.

    A key file of that name must be the same key: it is set aside as NAME.nsec.moved, to be put away by you.
    """
    if name not in REMOTE_ROLES:
        raise NoncestrError(f"a remote signer can have the key of {' or '.join(REMOTE_ROLES)}, not of {name[:32]!r}")
    try:
        signer = parse_bunker(token)
    except NipError as error:
        raise NoncestrError(str(error)) from None
    with only_one(data):
        folder = data / "keys"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = find(folder, name)
        if old is not None and old.suffix == BUNKER:
            raise NoncestrError(f"{old} names a remote signer already: move it away to connect anew")
        file = anyio.run(
            lambda: make_acquaintance(signer, fresh(), WallClock(), name=f"noncestr {name}"),
            backend_options=BACKEND_OPTIONS,
        )
        if old is not None and load(old, Passphrase()).pubkey != file.user:
            raise NoncestrError(
                f"the remote signer has the key of {encode_npub(file.user)}, {old} is another: a pool cannot change its"
                " key. Nothing was changed here"
            )
        if old is not None:
            old.rename(old.with_name(f"{old.name}.moved"))
        write_bunker(folder / f"{name}{BUNKER}", file)
    typer.echo(f"the {name} key, {encode_npub(file.user)}, is at the remote signer from now on")
    if old is not None:
        typer.echo(f"the key file is now {old.name}.moved: put it where the signer's owner keeps such things")


def _existing(data: Path, name: str, form: str) -> Path:
    path = find(data / "keys", name)
    if path is None or path.suffix != form:
        kept = "is not there" if path is None else f"is kept {_KEPT[path.suffix]}"
        raise KeyFileError(f"there is no {name}{form} in {data / 'keys'}: the key {kept}")
    return path


@signer_app.command("run")
def run(
    key: Annotated[Path, typer.Option("--key", help="The key to sign with: an .nsec or .ncryptsec file.")],
    relay: Annotated[
        list[str], typer.Option("--relay", help="Where to listen; ephemeral events must be welcome there.")
    ],
    offer: Annotated[bool, typer.Option("--offer", help="Give out a token that lets a new client in.")] = False,
) -> None:
    """Sign what a pool's host asks for, over relays. Who was let in is kept beside the key, in a .clients file."""
    set_up_logging(LogConfig())
    relays = [url for text in relay for url in parse_relays(text)]
    secret = load(key, Passphrase())
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(
            lambda: run_signer(
                secret,
                relays,
                key.with_suffix(".clients"),
                offer=offer,
                say=typer.echo,
                clock=WallClock(),
            ),
            backend_options=BACKEND_OPTIONS,
        )
