"""Where the parts listen."""

from dataclasses import replace

from noncestr.config.sections import Config, RelayConfig, StratumConfig
from noncestr.places import ANYWHERE, find_places, move_stratum, place_stratum


def test_places_are_distinct_and_lan_opens_stratum_and_web_only() -> None:
    places = find_places(Config(), lan=True)
    assert places.relay is not None
    ports = {places.relay.port, places.stratum.port, places.web.port, places.lightning.port}
    assert len(ports) == 4
    assert (places.stratum.host, places.web.host) == (ANYWHERE, ANYWHERE)
    assert (places.relay.host, places.lightning.host) == ("127.0.0.1", "127.0.0.1")
    without = find_places(replace(Config(), relay=RelayConfig(embedded=False, relays=("ws://a",))), lan=False)
    assert without.relay is None


def test_stratum_moves_only_when_another_place_is_asked_for() -> None:
    before = replace(Config(), stratum=StratumConfig(port=0))
    bound = place_stratum(before, lan=False)
    stays = replace(Config(), stratum=StratumConfig(port=0, strikes=9))
    assert move_stratum(bound, before, stays, lan=False) is bound
    other = replace(Config(), stratum=StratumConfig(host="127.0.0.2", port=0))
    assert move_stratum(bound, before, other, lan=False).host == "127.0.0.2"
    assert move_stratum(bound, before, other, lan=True).host == ANYWHERE
