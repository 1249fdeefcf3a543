"""The tree of errors is the one its docstring shows."""

import inspect
import re

from nips import errors


def test_the_docstring_is_the_tree():
    shown = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}((?: \+-- | \|    \+-- )?)([A-Z]\w+)", line)
        if found:
            depth = {0: 0, 5: 1, 10: 2}[len(found[1])]
            above[depth:] = [found[2]]
            shown[found[2]] = above[depth - 1] if depth else "Exception"
    real = {name: cls.__base__.__name__ for name, cls in inspect.getmembers(errors, inspect.isclass)}
    assert shown == real
    assert len(real) == 9


def test_errors_say_what_is_wrong():
    bad_id = errors.BadId("aa", "bb")
    assert (bad_id.claimed, bad_id.computed) == ("aa", "bb")
    assert str(bad_id) == "event id aa is not the event's hash bb"
    bad_signature = errors.BadSignature("aa", "cc")
    assert (bad_signature.event_id, bad_signature.pubkey) == ("aa", "cc")
    assert str(bad_signature) == "event aa is not signed by cc"
