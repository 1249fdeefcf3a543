"""The configuration's section [mint]: ecash for nutzaps and tokens, and the demo's own mint."""

from dataclasses import dataclass

from nips.nut00 import InvalidMintUrl, normal_mint_url
from noncestr.config.checks import between
from noncestr.config.key import config_key as _key

# [payouts] backend: Lightning by melting the treasury's ecash at the first of the mints.
MINT = "mint"


def mint_urls(values: tuple[str, ...]) -> str | None:
    """What is wrong with URLs of mints."""
    for value in values:
        try:
            normal_mint_url(value)
        except InvalidMintUrl as error:
            return f"{value}: {error}"
    return None


@dataclass(frozen=True, slots=True)
class MintConfig:
    """Ecash: nutzaps and tokens are paid from a treasury of it (docs/payouts.md)."""

    enabled: bool = _key(
        True,
        "Run a demo mint (Nutshell with pretended Lightning) beside the pool, and fill the treasury; regtest only.",
    )
    urls: tuple[str, ...] = _key(
        (), "Mints whose ecash the treasury holds, the first choice first: miners are paid at one they name.", mint_urls
    )
    return_days: int = _key(
        90, "Ecash nobody has claimed after so many days is taken back, and owed again.", between(1, 3650)
    )
