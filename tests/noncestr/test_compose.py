"""What the start says."""

import hashlib
from dataclasses import replace
from pathlib import Path

from nips.keys import SecretKey
from noncestr.compose import Pool
from noncestr.config.sections import Config

KEY = SecretKey(hashlib.sha256(b"noncestr test key compose").digest())


def test_the_banner_names_the_pool_first_and_says_what_moved(tmp_path: Path) -> None:
    said: list[str] = []
    pool = Pool(Config(), tmp_path, lan=False, demo=True, say=said.append)
    moved = replace(pool.places, web=replace(pool.places.web, asked=pool.places.web.port - 1))
    pool.places = moved
    pool.banner()
    text = "\n".join(said)
    assert f"port {moved.web.asked} is busy: the web port is {moved.web.port}" in text
    npub = next(line for line in said if "npub1" in line)
    assert npub.split()[:2] == ["pool", "npub:"]
    for part in ("Stratum", "relay", "web"):
        assert sum(line.strip().startswith(part + ":") for line in said) == 1


def test_with_lan_the_banner_names_the_relay_of_the_network(tmp_path: Path) -> None:
    said: list[str] = []
    pool = Pool(Config(), tmp_path, lan=True, demo=False, say=said.append)
    pool.banner()
    (line,) = [line for line in said if line.startswith("From your network the relay is ws://")]
    assert line.endswith(f":{pool.places.web.port}/relay")
    assert not any("Only this machine" in line for line in said)
