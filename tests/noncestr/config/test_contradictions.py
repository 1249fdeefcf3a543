"""Keys that contradict each other are named, with what would be right."""

from pathlib import Path

import pytest

from noncestr.config.contradictions import contradictions
from noncestr.config.file import load_config
from noncestr.config.sections import Config
from noncestr.errors import ConfigError


def test_the_defaults_agree() -> None:
    assert contradictions(Config()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[stratum]\nstart_difficulty = "1/131072"', "start_difficulty must lie between"),
        ('[stratum]\npool_tag = ""', "pool_tag"),
        ('[pool]\nnetwork = "main"', 'main needs source = "bitcoind"'),
        ("[relay]\nembedded = false", "relays must name at least one"),
        ("[relay]\nquorum = 2", "quorum is larger"),
        ("[terms]\nfee_ppm = 60000", "offer main takes a fee of 6 %, above 5 %: force it, or lower it ([terms] force"),
        ('[[offers]]\nname = "a"\nscheme = "solo"\nfee_ppm = 50001', "offer a takes a fee of 5.0001 %"),
        ('[[offers]]\nname = "a"\nscheme = "solo"\n' * 2, "[[offers]] a: there are two offers of this name"),
        ('[stratum]\ntls_key = "a.key"', "[stratum] tls_certificate: TLS needs both"),
        ('[[ports]]\nname = "a"\nport = 3333', "[[ports]] a port = 3333: [stratum] listens there already"),
        ('[[ports]]\nname = "a"\nport = 4\n[[ports]]\nname = "a"\nport = 5', "there are two ports of this name"),
        (
            '[[ports]]\nname = "a"\nport = 4\noffer = "solo"',
            "[[ports]] a offer = 'solo': there is no such offer; known: main",
        ),
        ('[[ports]]\nname = "a"\nport = 4\ntls_certificate = "a.crt"', "[[ports]] a tls_key: TLS needs both"),
        (
            '[[ports]]\nname = "a"\nport = 4\nstart_difficulty = "8589934592"',
            "[[ports]] a start_difficulty must lie between",
        ),
    ],
)
def test_a_contradiction_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert says in str(caught.value)
