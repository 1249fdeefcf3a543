"""[notices]: what miners may be told, by which ways."""

from dataclasses import dataclass

from noncestr.config.checks import between
from noncestr.config.key import config_key as _key


@dataclass(frozen=True, slots=True)
class NoticesSection:
    """What the pool writes to miners who ask for it in their settings."""

    messages: bool = _key(True, "Write private messages (NIP-17) to miners who ask for them, and of changed addresses.")
    mail: str = _key(
        "",
        "A file (mode 0600) with one apprise URL that holds {to}, mailtos://USER:PASSWORD@HOST?to={to}: e-mail for"
        ' those who confirmed their address; "": none.',
    )
    ntfy: bool = _key(False, "Write to ntfy topics on public servers for those who confirmed them.")
    per_day: int = _key(24, "Notices one miner gets within 24 hours.", between(1, 1000))
    per_day_all: int = _key(20_000, "Notices all get together within 24 hours.", between(1, 1_000_000))
