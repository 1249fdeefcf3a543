"""The registry is closed and whole."""

from accounting.findings import CONTRADICTED, MISSING, NOT_CHECKED, REGISTRY, Code, finding
from accounting.report import CLAIMS


def test_every_code_has_a_grade_and_a_line() -> None:
    assert set(REGISTRY) == set(Code)
    for grade, text in REGISTRY.values():
        assert grade in (CONTRADICTED, MISSING, NOT_CHECKED)
        assert text.endswith(".")
        assert "\n" not in text


def test_every_code_belongs_to_one_claim() -> None:
    claimed = [code for codes in CLAIMS.values() for code in codes]
    assert sorted(claimed) == sorted(Code)


def test_a_finding_has_its_codes_grade() -> None:
    made = finding(Code.GAP, "text", "one", "two", miner="m")
    assert (made.grade, made.events, made.miner) == (MISSING, ("one", "two"), "m")
