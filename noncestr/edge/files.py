"""Where in its data folder an edge keeps what its commands read, too."""

from typing import Final

# A folder: the bans of each lane.
BANS: Final = "bans"
# The keys that NIP-05 addresses are pinned to.
NAMES: Final = "names.sqlite"
