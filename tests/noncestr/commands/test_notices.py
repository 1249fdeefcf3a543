"""`noncestr notices`: asking the running pool for a test, and what was sent."""

import pytest
from typer.testing import CliRunner

from nips.nip19 import encode_npub
from noncestr.commands.notices import notices_app
from noncestr.errors import NoncestrError

pytestmark = pytest.mark.anyio


def run(*words):
    result = CliRunner().invoke(notices_app, [*words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


async def test_a_test_for_a_miner(notices):
    npub = encode_npub(notices.key("alice").pubkey)
    where = ("--npub", npub, "--data", str(notices.path))
    with pytest.raises(NoncestrError, match="has a pool"):
        run("test", *where)
    assert "nothing was sent" in run("show", *where)
    notices.settle("alice")
    async with notices.notifier() as notifier:
        assert "within seconds" in run("test", *where)
        await notifier.look()
        assert "waits: Example: test" in run("show", *where)
        await notifier.send()
    assert "message  sent: Example: test" in run("show", *where)
    assert len(notices.read("alice")) == 1
    with pytest.raises(NoncestrError, match="--npub"):
        run("test", "--npub", "npub1nobody")
