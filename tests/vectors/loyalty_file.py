"""The vectors of the loyalty bonus: a month of shares and attestations, what they earn by a plain reading of SPEC.md.

Nothing of the code they test is used: hours and days are counted one by one, and all sums are exact fractions.
"""

import hashlib
import random
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any

Json = dict[str, Any]
Share = tuple[int, str, str, int]
HOUR_MS, DAY_MS, DAY_S = 3_600_000, 86_400_000, 86_400
# A day's end, and moments around it.
END_MS = 20_000 * DAY_MS
WORKERS = ("", "axe", "rig", "#0badcafe")
MODELS = {"axe": (500, 1250), "rig": (1000, 1000), "best": (500, 1500)}


MINERS = ("alice", "bob", "carol", "dave")


def _hours(shares: list[Share], end_ms: int, miner: str) -> int:
    begins = {t // HOUR_MS * HOUR_MS for t, who, _, _ in shares if who == miner and t <= end_ms}
    return sum(begin > end_ms - 30 * DAY_MS for begin in begins)


def _measured(shares: list[Share], end_ms: int, miner: str, worker: str, day: int) -> int:
    works = (work for t, who, name, work in shares if (who, name, t // DAY_MS) == (miner, worker, day) and t <= end_ms)
    return sum(works) // DAY_S


def _borne_out(case: Json) -> Iterator[Json]:
    """The attestations that count."""
    today = case["end_ms"] // DAY_MS
    for told in case["attestations"]:
        day = told["created_at"] // DAY_S
        known = case["hardware"].get(told["model"])
        nominal = int(told["nominal_hs"] if known is None else known[0])
        shares = [(t, miner, worker, int(work)) for t, miner, worker, work in case["shares"]]
        measured = _measured(shares, case["end_ms"], told["miner"], told["worker"], day)
        if today - 30 <= day < today and abs(Fraction(measured - nominal, nominal)) <= Fraction(1, 4):
            yield told


def _solve(case: Json) -> Json:
    """What the case comes to."""
    shares = [(t, miner, worker, int(work)) for t, miner, worker, work in case["shares"]]
    counted = list(_borne_out(case))
    newest: dict[tuple[str, str], Json] = {}
    for told in sorted(counted, key=lambda told: (-told["created_at"], told["id"])):
        newest.setdefault((told["miner"], told["worker"]), told)
    hours = {miner: _hours(shares, case["end_ms"], miner) for miner in MINERS}
    days = {miner: len({told["created_at"] // DAY_S for told in counted if told["miner"] == miner}) for miner in MINERS}
    pot = floor(Fraction(case["gross_msat"] * case["fee_ppm"], 10**6))
    pot = floor(Fraction(pot * case["part_ppm"], 10**6))
    weights = dict.fromkeys(MINERS, 0)
    for miner, worker, work in case["counted"]:
        uptime = 1000 + floor(Fraction(1000 * min(hours[miner], case["full_hours"]), case["full_hours"]))
        attested = 1000 + floor(Fraction(500 * min(days[miner], case["full_days"]), case["full_days"]))
        model = newest[miner, worker]["model"] if (miner, worker) in newest else ""
        device = case["hardware"].get(model, ["0", 1000])[1]
        weights[miner] += int(work) * (min(device * uptime * attested, 3 * 10**9) - 10**9)
    total = sum(weights.values())
    bonuses = {miner: floor(Fraction(pot * weight, total)) for miner, weight in weights.items()} if total else {}
    return {
        "hours": {miner: count for miner, count in hours.items() if count},
        "days": {miner: count for miner, count in days.items() if count},
        "models": [f"{' '.join(who)} {told['model']}" for who, told in sorted(newest.items())],
        "bonuses": {miner: msat for miner, msat in bonuses.items() if msat},
    }


def _case(number: int) -> Json:
    chance = random.Random(number)
    end_ms = END_MS + chance.choice((-1, 0, 1, 5 * HOUR_MS, 13 * HOUR_MS + 7))
    hardware = {name: [str(hs), factor] for name, (hs, factor) in MODELS.items() if chance.random() < 0.8}
    shares: list[list[Any]] = []
    attestations: list[Json] = []
    for day in chance.sample(range(-32, 1), 8):
        miner, worker = chance.choice(MINERS), chance.choice(WORKERS)
        start = END_MS + day * DAY_MS
        # A day's work at some hashrate near 500 or 1000, its edges among the times.
        work = chance.choice((500, 1000)) * DAY_S * chance.choice((74, 75, 99, 100, 125, 126)) // 100
        times = [start, start + DAY_MS - 1, *(start + chance.randrange(DAY_MS) for _ in range(chance.randrange(4)))]
        shares += [[t, miner, worker, str(work // len(times))] for t in times]
        shares[-1][3] = str(work - work // len(times) * (len(times) - 1))
        for _ in range(chance.randrange(1, 3)):
            model = chance.choice((*MODELS, "unknown"))
            nominal = chance.choice(("500", "1000", str(chance.randrange(1, 2000))))
            second = start // 1000 + chance.choice((0, DAY_S - 1, 777))
            told = {"miner": miner, "worker": chance.choice((worker, worker, *WORKERS)), "model": model}
            attestations.append({"id": "", **told, "nominal_hs": nominal, "created_at": second})
    for edge in (end_ms - 30 * DAY_MS, (end_ms - 30 * DAY_MS) // HOUR_MS * HOUR_MS + HOUR_MS, end_ms, end_ms + 1):
        shares.append([edge, chance.choice(MINERS), chance.choice(WORKERS), "1"])
    for at, told in enumerate(attestations):
        told["id"] = hashlib.sha256(f"attestation {number} {at}".encode()).hexdigest()[:8]
    shares.sort()
    places = [(miner, worker) for miner in MINERS for worker in WORKERS]
    case: Json = {
        "end_ms": end_ms,
        "gross_msat": chance.choice((312_500_000_000, 1, chance.randrange(10**12))),
        "fee_ppm": chance.choice((0, 10_000, 50_000, 999_999)),
        "part_ppm": chance.choice((0, 1, 100_000, 250_000)),
        "full_hours": chance.choice((1, 3, 7, 720)),
        "full_days": chance.choice((1, 2, 3, 30)),
        "hardware": hardware,
        "shares": shares,
        "attestations": attestations,
        "counted": [
            [*place, str(chance.choice((0, 1, 12_345, chance.getrandbits(70))))] for place in chance.sample(places, 6)
        ],
    }
    solved = _solve(case)
    case["attestations"] = [told.values() for told in attestations]
    rows = {name: [" ".join(map(str, row)) for row in case[name]] for name in ("shares", "attestations", "counted")}
    return {**case, **rows, **solved}


def loyalty(_: object) -> Json:
    """The file."""
    return {
        "description": "The bonus of a reward (4214, loyalty). Rows are texts with a space between: shares (good and "
        "credited, none beyond the heads) t, miner, worker, work; attestations id, miner, worker, model, nominal_hs, "
        "created_at; counted miner, worker, work that the statement counts; models, the newest that is borne out of "
        "each worker, miner, worker, model. hours and days by miner. Computed with exact fractions.",
        "cases": [_case(number) for number in range(40)],
    }
