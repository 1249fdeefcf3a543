"""A key of the configuration: what the loader and the example are made from."""

import dataclasses

from noncestr.config.checks import between
from noncestr.config.key import config_key
from noncestr.config.sections import sections


@dataclasses.dataclass(frozen=True)
class Section:
    open: int = config_key(5, "A number.", between(1, 9))
    password: str = config_key("", "Hush.", secret=True)


def test_a_key_says_its_default_meaning_and_check() -> None:
    open_key, password = dataclasses.fields(Section)
    assert Section() == Section(5, "")
    assert open_key.metadata["doc"] == "A number."
    assert open_key.metadata["check"](9) is None
    assert open_key.metadata["check"](10) == "must lie between 1 and 9"
    assert password.metadata["check"] is None


def test_a_secret_is_not_in_the_text_of_what_holds_it() -> None:
    assert "hunter2" not in repr(Section(password="hunter2"))
    assert "open=5" in repr(Section(password="hunter2"))


def test_every_key_of_the_configuration_has_a_meaning_and_a_default_that_passes() -> None:
    for name, cls in sections().items():
        for key in dataclasses.fields(cls):
            if not key.metadata:
                continue
            assert key.metadata["doc"].endswith((".", "]", ")", '"')), (name, key.name)
            check = key.metadata["check"]
            assert check is None or check(key.default) is None, (name, key.name)
