"""[mint]: URLs of mints and how long ecash waits."""

from pathlib import Path

import pytest

from noncestr.config.file import load_config
from noncestr.config.mint import MintConfig, mint_urls
from noncestr.errors import ConfigError


def load(tmp_path: Path, text: str) -> MintConfig:
    path = tmp_path / "noncestr.toml"
    path.write_text(f"[mint]\n{text}\n")
    return load_config(path, {}).mint


def test_mints_in_their_order(tmp_path: Path) -> None:
    urls = ("https://mint.example.com", "http://127.0.0.1:3338/sub")
    assert load(tmp_path, f"urls = {list(urls)!r}\nreturn_days = 1".replace("'", '"')).urls == urls
    assert mint_urls(()) is None
    assert load(tmp_path, "enabled = false") == MintConfig(enabled=False)


@pytest.mark.parametrize("url", ["", "mint.example.com", "ftp://mint.example.com", "https://", "https://a b"])
def test_what_is_no_mint_is_named(url: str, tmp_path: Path) -> None:
    said = mint_urls(("https://mint.example.com", url))
    assert said is not None
    assert said.startswith(f"{url}: ")
    with pytest.raises(ConfigError, match=r"\[mint\] urls"):
        load(tmp_path, f'urls = ["{url}"]')


@pytest.mark.parametrize("days", [0, -1, 3651, 90.0, "true"])
def test_ecash_is_taken_back_in_a_day_to_ten_years(days: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[mint\] return_days"):
        load(tmp_path, f"return_days = {days}")
