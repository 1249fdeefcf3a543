"""A session's difficulty: the port's bounds, the miner's wishes, vardiff's word."""

from fractions import Fraction

from stratum_edge.config import PortConfig
from stratum_edge.pace import Pace

LOOSE = PortConfig(start_difficulty=Fraction(8), min_difficulty=Fraction(1, 4), max_difficulty=Fraction(64))


def test_wishes_stay_within_the_port():
    pace = Pace(LOOSE, 0)
    assert pace.difficulty == 8
    assert pace.admit(Fraction(1000)) == 64
    assert pace.admit(Fraction(1, 1000)) == Fraction(1, 4)
    assert pace.highest == 64


def test_a_miners_own_bound_holds_within_the_ports():
    pace = Pace(LOOSE, 0)
    assert pace.not_below(Fraction(3, 10)) == Fraction(1, 2), "what there is no difficulty for goes up"
    assert pace.not_below(Fraction(3)) == 3
    assert pace.not_below(Fraction(16)) == 16
    assert pace.admit(Fraction(1)) == 16
    assert pace.not_below(Fraction(1 << 20)) == 64


def test_vardiff_is_asked_unless_the_port_is_fixed():
    for fixed in (False, True):
        port = PortConfig(start_difficulty=Fraction(8), fixed=fixed)
        pace = Pace(port, 0)
        looks = [pace.count(Fraction(8)) for _ in range(400)]
        assert not looks[0]
        assert looks[-1]
        wanted = pace.retarget(1000)
        assert (wanted is None) is fixed
        if wanted is not None:
            assert wanted > 8
        assert pace.hashrate(1000) > 0


def test_a_fixed_port_grants_its_difficulty_alone():
    pace = Pace(PortConfig(start_difficulty=Fraction(8), fixed=True), 0)
    assert {pace.admit(Fraction(wish)) for wish in (1, 8, 1 << 30)} == {Fraction(8)}
