"""Where the parts listen."""

from dataclasses import replace

from noncestr.config import Config, RelayConfig
from noncestr.places import ANYWHERE, find_places


def test_places_are_distinct_and_lan_opens_stratum_and_web_only() -> None:
    places = find_places(Config(), lan=True)
    assert places.relay is not None
    ports = {places.relay.port, places.stratum.port, places.web.port, places.lightning.port}
    assert len(ports) == 4
    assert (places.stratum.host, places.web.host) == (ANYWHERE, ANYWHERE)
    assert (places.relay.host, places.lightning.host) == ("127.0.0.1", "127.0.0.1")
    without = find_places(replace(Config(), relay=RelayConfig(embedded=False, relays=("ws://a",))), lan=False)
    assert without.relay is None
