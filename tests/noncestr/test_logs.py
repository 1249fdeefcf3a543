"""Lines as text and as JSON, with the lane, at the level asked for."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from noncestr.config.sections import LogConfig
from noncestr.logs import set_level, set_up_logging


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_is_one_object_a_line_with_the_lane() -> None:
    out = io.StringIO()
    set_up_logging(LogConfig(format="json"), 2, out)
    log = logging.getLogger("stratum_edge.service")
    log.debug("not asked for")
    log.warning('no "node" answers\nfor %d s', 3)
    try:
        raise OSError("the disk is full")
    except OSError:
        log.exception("failed")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["message"] == 'no "node" answers\nfor 3 s'
    assert (first["level"], first["name"], first["lane"]) == ("warning", "stratum_edge.service", 2)
    assert first["ts"].endswith("Z")
    assert "OSError: the disk is full" in second["exc_info"]


def test_what_strangers_say_makes_no_line_of_its_own() -> None:
    out = io.StringIO()
    set_up_logging(LogConfig(), None, out)
    log = logging.getLogger("noncestr")
    log.warning("refused: %s", "x\n12:00:00 INFO paid\r\x1b[2J\u2028\u202egnol \x9b1m")
    log.warning("⛏️ a block by ünï: 日本 %s", "👨‍🌾")
    try:
        raise OSError("the disk is full")
    except OSError:
        log.exception("failed")
    first, second, *trace = out.getvalue().split("\n")
    assert first.endswith(r"refused: x\n12:00:00 INFO paid\r\x1b[2J\u2028\u202egnol \x9b1m")
    assert second.endswith("⛏️ a block by ünï: 日本 👨‍🌾")
    assert trace[0].endswith("failed")
    assert trace[1].startswith("Traceback")


def test_text_names_the_lane_and_the_level_can_change() -> None:
    out = io.StringIO()
    set_up_logging(LogConfig(level="error"), 1, out)
    log = logging.getLogger("noncestr")
    log.warning("unheard")
    set_level("debug")
    log.debug("heard")
    logging.getLogger("httpx").info("chatter")
    assert out.getvalue().startswith("lane 1 ")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("DEBUG   noncestr: heard\n")


@pytest.mark.parametrize(("to", "other"), [("stdout", "err"), ("stderr", "out")])
def test_lines_go_where_they_are_asked_to(to: str, other: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogConfig(to=to))
    logging.getLogger("noncestr").error("here")
    said = capsys.readouterr()
    assert "here" in getattr(said, to[3:])
    assert getattr(said, other) == ""
