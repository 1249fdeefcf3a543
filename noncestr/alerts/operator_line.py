"""How an operator is reached: e-mail, Telegram, ntfy and whatever else apprise speaks, by URLs that are secrets."""

import functools
import logging
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from noncestr.errors import NoncestrError

logger = logging.getLogger("noncestr.alerts")

# apprise asks each service in turn, and some take their time; a watch that hangs would watch no more.
SEND_S: Final = 60.0
# A file of services, not of everybody's.
MAX_SERVICES: Final = 20


class OperatorLine:
    """Sends a text to all services of a file (one apprise URL a line, # begins a comment), `count` of them. Its repr
    shows none.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        """Raises NoncestrError for a URL that apprise does not know, told by its scheme: the rest is a secret."""
        if not 0 < len(urls) <= MAX_SERVICES:
            raise NoncestrError(f"1 to {MAX_SERVICES} services can be told, not {len(urls)}")
        with warnings.catch_warnings():
            # One of apprise's plugins imports what Python 3.13 drops.
            warnings.simplefilter("ignore", DeprecationWarning)
            from apprise import Apprise

            # It quotes URLs, passwords and all, in what it logs of those it can't read; we say which scheme failed.
            logging.getLogger("apprise").disabled = True
            self._services = []
            for url in urls:
                service = Apprise()
                if not service.add(url):
                    raise NoncestrError(
                        f"apprise does not understand the {urlsplit(url).scheme or '?'}:// address given"
                    )
                self._services.append((urlsplit(url).scheme, service))
        self.count = len(urls)

    async def send(self, title: str, text: str) -> list[str]:
        """Tell every service; the schemes of those that did not take it."""
        failed = []
        for scheme, service in self._services:
            done = False
            with anyio.move_on_after(SEND_S):
                try:
                    notify = functools.partial(service.notify, body=text, title=title, body_format="text")
                    done = bool(await anyio.to_thread.run_sync(notify, abandon_on_cancel=True))
                except Exception as error:  # a hundred plugins, each with its own; none may end the watch
                    logger.warning("%s: %s", scheme, type(error).__name__)
            if not done:
                failed.append(scheme)
        return failed


def read_services(path: Path) -> OperatorLine:
    """The services a file names. Raises NoncestrError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoncestrError(f"cannot read the services to alert from {path}: {error}") from None
    if mode & 0o077:
        raise NoncestrError(f"{path} holds secrets and can be read by others (mode {mode:04o}): run chmod 600 {path}")
    return OperatorLine([line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")])
