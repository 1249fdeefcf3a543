"""The keys of mints that an audit compares ecash payouts with: asked for over HTTP, or read from files."""

from collections.abc import Sequence
from pathlib import Path

from accounting.ecash_proof import MintKeys
from accounting.mint_keys import InvalidMintKeys, ShownKeyset, mint_keys, read_mint_keys
from nips.errors import NipError
from noncestr.errors import NoncestrError
from zapper.adapters.cashu_mint import open_mint
from zapper.errors import MintError


async def ask_mint_keys(url: str) -> list[ShownKeyset]:
    """All keysets in sat of a mint, active or not, their ids computed again from their keys.

    The person at the command line names the mint, so that its address is not judged. Raises NoncestrError.
    """
    try:
        async with open_mint(url) as mint:
            keysets = await mint.keysets()
            return [ShownKeyset(mint.url, keyset, await mint.keys(keyset.id)) for keyset in keysets.values()]
    except NipError as error:
        raise NoncestrError(f"--mint {url}: {error}") from None
    except MintError as error:
        raise NoncestrError(f"--mint: {error}") from None


async def known_mints(urls: Sequence[str], files: Sequence[Path]) -> MintKeys:
    """What the mints named, and the files, show together. Raises NoncestrError."""
    shown: list[ShownKeyset] = []
    for path in files:
        try:
            shown += read_mint_keys(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, InvalidMintKeys) as error:
            raise NoncestrError(f"--mint-keys {path}: {error}") from None
    for url in urls:
        shown += await ask_mint_keys(url)
    return mint_keys(shown)
