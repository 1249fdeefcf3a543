"""The text of /metrics, read back by the grammar of OpenMetrics 1.0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.web.openmetrics import Family, exposition

pytestmark = pytest.mark.usefixtures("read_openmetrics")


def test_families_are_written_with_type_unit_and_help(read_openmetrics) -> None:
    shares = Family("pool_shares", "counter", 'Good "shares"\nof all').add(3, lane="0").add(4, lane="1")
    lost = Family("node_lost_seconds", "gauge", "Lost.", "seconds").add(0.5)
    text = exposition([shares, lost, Family("empty", "gauge", "None.")])
    assert text.endswith("\n# EOF\n")
    read = read_openmetrics(text)
    assert read["pool_shares"].kind == "counter"
    assert read["pool_shares"].samples == {(("lane", "0"),): 3.0, (("lane", "1"),): 4.0}
    assert read["node_lost_seconds"].unit == "seconds"
    assert read["node_lost_seconds"].samples == {(): 0.5}
    assert "empty" not in read


def test_nothing_is_an_exposition_too(read_openmetrics) -> None:
    assert exposition([]) == "# EOF\n"
    assert read_openmetrics("# EOF\n") == {}


@given(st.text(max_size=40))
def test_any_text_of_a_label_comes_back_whole(read_openmetrics, text: str) -> None:
    read = read_openmetrics(exposition([Family("a", "gauge", text).add(1, url=text)]))
    assert read["a"].samples == {(("url", text),): 1.0}


def test_what_the_format_forbids_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        Family("1a", "gauge", "")
    with pytest.raises(ValueError, match="no name"):
        Family("a_total", "counter", "")
    with pytest.raises(ValueError, match="unit"):
        Family("a_ms", "gauge", "", "seconds")
    with pytest.raises(ValueError, match="labels"):
        Family("a", "gauge", "").add(1, **{"no-label": "x"})
    with pytest.raises(ValueError, match="already"):
        Family("a", "gauge", "").add(1, b="c").add(2, b="c")
    with pytest.raises(ValueError, match="twice"):
        exposition([Family("a", "gauge", ""), Family("a", "counter", "")])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# TYPE a gauge\n# HELP a x\na 1\n",
        "# TYPE a gauge\n# HELP a x\na 1\n# EOF",
        "# TYPE a counter\n# HELP a x\na 1\n# EOF\n",
        "# TYPE a counter\n# HELP a x\na_total -1\n# EOF\n",
        "# TYPE a gauge\n# HELP a x\na{b=c} 1\n# EOF\n",
        "# TYPE a gauge\n# HELP a x\na{b=\"c\"} 1\na{b=\"c\"} 2\n# EOF\n",
        "# TYPE a gauge\n# TYPE a gauge\n# EOF\n",
        "a 1\n# EOF\n",
        "# EOF\n# EOF\n",
    ],
)  # fmt: skip
def test_the_reader_is_strict(read_openmetrics, text: str) -> None:
    with pytest.raises(AssertionError):
        read_openmetrics(text)
