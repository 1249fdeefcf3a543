"""The vectors of the pool's events: good ones, and variations with a good signature that a parser must refuse."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.attestation import AttestationBody, build_attestation
from nips.pool.attestation_part import build_attestation_part
from nips.pool.chain import Head, Link
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.settings_part import build_settings_part
from nips.pool.statement import Donation, PeriodReward, StatementBody, Window, build_statement, parse_statement
from nips.pool.statement_rows import RowsPart, build_statement_part
from nips.pool.terms import NEVER, Loyalty, Model, Offer, TermsBody, build_terms
from tests.vectors import published
from tests.vectors.example_log import ACCOUNTING, EDGE, POOL, POOL_KEY, TERMS_BODY, ZAPPER, ExampleLog, key

Json = dict[str, Any]
TEST_KEYS = 'secret keys are sha256("noncestr test key N"), for tests only'


def wire(event: VerifiedEvent) -> Json:
    """The event as decoded JSON."""
    value: Json = json.loads(encode_event(event))
    return value


class Breaker:
    """Signs variations of one event that a parser must refuse."""

    def __init__(self, event: VerifiedEvent, signer: SecretKey) -> None:
        self.event, self.signer = event, signer
        self.made: list[Json] = []

    def sign(self, reason: str, tags: tuple[tuple[str, ...], ...], content: str, **changes: int) -> None:
        """One more case, whatever its tags and content."""
        kind = changes.get("kind", self.event.kind)
        created_at = changes.get("created_at", self.event.created_at)
        self.made.append(
            {"reason": reason, "event": wire(self.signer.sign(UnsignedEvent(kind, created_at, tags, content)))}
        )

    def content(self, reason: str, change: Callable[[Json], Any]) -> None:
        """The content with something changed."""
        fields = json.loads(self.event.content)
        change(fields)
        self.sign(reason, self.event.tags, json.dumps(fields, separators=(",", ":")))

    def set(self, name: str, value: object, reason: str) -> None:
        """The content with one field set."""
        self.content(reason, lambda fields: fields.update({name: value}))

    def text(self, reason: str, old: str, new: str) -> None:
        """The content's text with one thing replaced."""
        assert old in self.event.content
        self.sign(reason, self.event.tags, self.event.content.replace(old, new, 1))

    def tag(self, reason: str, name: str, *replacement: tuple[str, ...]) -> None:
        """Every tag of that name replaced."""
        kept = tuple(tag for tag in self.event.tags if tag[0] != name)
        self.sign(reason, (*kept, *replacement), self.event.content)

    def common(self) -> None:
        """What every pool event refuses."""
        self.sign("another kind", self.event.tags, self.event.content, kind=1)
        self.tag("no a tag", "a")
        self.tag("two a tags", "a", self.event.tags[0], self.event.tags[0])
        self.tag("an unknown network in the a tag", "a", ("a", self.event.tags[0][1].replace("regtest", "testnet3")))
        self.set("v", 2, "an unknown version")
        self.set("v", True, "the version is not an integer")
        self.sign("the content is not an object", self.event.tags, "[]")
        self.text("a name twice", '{"v":1', '{"v":1,"v":1')
        self.text("a float", '{"v":1', '{"v":1,"x":1.0')
        self.text("an integer beyond 2^53 - 1", '{"v":1', '{"v":1,"x":9007199254740992')
        self.text("a control character in a string", '{"v":1', '{"v":1,"x":"\x01"')
        self.text("a lone surrogate", '{"v":1', '{"v":1,"x":"\\ud800"')
        self.text("nested 65 deep", '{"v":1', '{"v":1,"x":' + "[" * 64 + "]" * 64)

    def link(self) -> None:
        """What every event of a chain refuses."""
        other = "00" * 32
        self.tag("no seq", "seq")
        self.tag("seq with a leading zero", "seq", ("seq", "01"))
        if any(tag[0] == "prev" for tag in self.event.tags):
            self.tag("no prev at seq 1", "prev")
            self.tag("two prevs", "prev", ("prev", other), ("prev", other))
        else:
            self.tag("a prev at seq 0", "prev", ("prev", other))


def _event_file(description: str, cases: list[VerifiedEvent], breaker: Breaker) -> Json:
    return {
        "description": f"{description}; {TEST_KEYS}. Every invalid event has a good id and signature.",
        "cases": [{"event": wire(event)} for event in cases],
        "invalid": breaker.made,
    }


def job(log: ExampleLog) -> Json:
    made = Breaker(log.events["job"], EDGE)
    made.common()
    made.set("ms", log.job.ms + 1000, "created_at is not the ms in seconds")
    made.set("ms", "1767225630500", "ms is a string")
    made.set("terms", "00" * 31, "a short terms id")
    made.set("heads", {"65536": ""}, "a lane beyond u16")
    made.set("heads", {"00": ""}, "a lane with a leading zero")
    made.set("heads", {"0": None}, "a head that is null")
    made.set("height", 0, "height 0")
    made.set("prevhash", log.job.prevhash.hex().upper(), "upper case hex")
    made.set("nbits", 0x207FFFFF, "nbits as a number")
    made.set("nbits", "0x207fff", "nbits with 0x")
    made.set("version", 1 << 32, "version beyond u32")
    made.set("ntime", -1, "a negative ntime")
    made.set("coinb1", "0", "half a byte")
    made.set("merkle", ["00" * 32] * 33, "33 branches")
    made.set("merkle", ["00" * 31], "a short branch")
    made.set("bind_size", 16, "another bind_size without an upstream")
    made.set("en1_size", 8, "another en1_size without an upstream")
    made.set("en2_size", 4, "another en2_size without an upstream")
    made.set("upstream", None, "upstream is null")
    made.content("no offer", lambda fields: fields.pop("offer"))
    return _event_file("4211, job", [log.events["job"]], made)


def receipt(log: ExampleLog) -> Json:
    made = Breaker(log.events["receipt"], EDGE)
    made.common()
    made.link()
    session = [0, "rig-1", "00000001", "1f3fffc0"]
    sessions = json.loads(made.event.content)["sessions"]
    for index, value, reason in (
        (0, 2, "a miner without a p tag"),
        (1, "a b", "a worker's name with a space"),
        (1, "x" * 33, "a worker's name too long"),
        (2, "0001", "a short extranonce1"),
        (3, "1f7fff", "share_bits of 3 bytes"),
        (3, "1f007fff", "share_bits not in canonical form"),
    ):
        broken = [*session[:index], value, *session[index + 1 :]]
        made.set("sessions", [broken, *sessions[1:]], reason)
    made.set("sessions", sessions[:2], "a share of a session that is not there")
    for reason, change in (
        ("a share of a job that is not there", {"job": 1}),
        ("an unknown status", {"status": 6}),
        ("a share after the window's end", {"ms": 8217}),
    ):
        records = [*log.records[:-1], log.records[-1]._replace(**change)]
        made.set("shares", base64.b64encode(b"".join(r.pack() for r in records)).decode(), reason)
    backwards = base64.b64encode(b"".join(r.pack() for r in reversed(log.records))).decode()
    made.set("shares", backwards, "shares not in time order")
    made.set("shares", "AAA", "base64 without padding")
    made.set("rejects", [[3, 23, 1]], "a reject of a session that is not there")
    made.set("rejects", [[0, 23]], "a reject without a count")
    made.tag("no lane", "lane")
    made.tag("a lane beyond u16", "lane", ("lane", "65536"))
    made.tag("a window without an end", "window", ("window", "1767225630000"))
    made.tag("an empty window", "window", ("window", "1767225638217", "1767225638217"))
    made.tag("a window of 2^32 ms", "window", ("window", "1762930671000", "1767225638296"))
    made.tag("the shares tag does not count the records", "shares", ("shares", "5"))
    made.tag("work with a sign", "work", ("work", "+18432"))
    made.tag("a miner twice", "p", *[tag for tag in made.event.tags if tag[0] == "p"][:1] * 2)
    made.tag("a job twice", "e", *[tag for tag in made.event.tags if tag[0] == "e"] * 2)
    made.tag("another fin", "fin", ("fin", "0"))
    made.sign("dated before its window's end", made.event.tags, made.event.content, created_at=1767225638)
    return _event_file(
        "4212, share receipt", [log.events[name] for name in ("empty_receipt", "receipt", "last_receipt")], made
    )


def block(log: ExampleLog) -> Json:
    made = Breaker(log.events["block"], EDGE)
    made.common()
    made.set("header", log.block.header[:-1].hex() + "ff", "the header does not hash to the block")
    made.set("header", log.block.header[:-1].hex(), "a short header")
    made.set("block", log.block.block.upper(), "upper case hex")
    made.set("height", 2**31, "height beyond 2^31 - 1")
    made.set("merkle", "", "merkle is not an array")
    made.set("coinbase", None, "no coinbase")
    made.tag("no finder", "p")
    made.tag("no receipt", "e")
    made.tag("a receipt without its mark", "e", ("e", log.block.receipt))
    made.tag("no index", "share")
    made.tag("a negative index", "share", ("share", "-1"))
    return _event_file("4213, block found", [log.events["block"]], made)


# Terms with an offer of each scheme.
EVERY_OFFER = TermsBody(
    offers={
        "main": Offer(
            fee_ppm=20_000,
            window_max_ms=86_400_000,
            loyalty=Loyalty(250_000, 720, 30, {"Bitaxe Gamma": Model(1_200_000_000_000, 1500)}),
        ),
        "round": Offer(scheme="prop"),
        "lonely": Offer(scheme="solo", fee_ppm=5000),
        "steady": Offer(scheme="pps", fee_ppm=40_000, period_s=3600),
        "full": Offer(scheme="fpps", fee_ppm=50_000, period_s=86_400),
    },
    keys=TERMS_BODY.keys,
    donate_to=key(8).pubkey,
)


def _offers(log: ExampleLog, body: TermsBody) -> VerifiedEvent:
    first = log.events["terms"]
    return POOL_KEY.sign(build_terms(POOL, Head(0, first.id).next(), first.created_at + 60, body))


def _broken_offers(log: ExampleLog) -> list[Json]:
    """Offers that a parser must refuse, in terms that have one of each scheme."""
    made = Breaker(_offers(log, EVERY_OFFER), POOL_KEY)
    for offer, name, value, reason in (
        ("steady", "period_s", None, "no period"),
        ("steady", "period_s", 59, "a period under a minute"),
        ("full", "period_s", 86_401, "a period over a day"),
        ("full", "period_s", "3600", "a period as a string"),
        ("main", "period_s", 3600, "a period of a scheme that has none"),
        (
            "steady",
            "loyalty",
            {"part_ppm": 1, "full_hours": 1, "full_days": 1, "hardware": {}},
            "a bonus without a fee",
        ),
        ("main", "loyalty", None, "a bonus that is no object"),
        ("main", "scheme", "PPLNS", "a scheme in capitals"),
    ):
        made.content(reason, lambda fields, o=offer, n=name, v=value: fields["offers"][o].update({n: v}))
    for name, value, reason in (
        ("part_ppm", 250_001, "a bonus of more than a quarter of the fee"),
        ("part_ppm", -1, "a bonus below nothing"),
        ("full_hours", 0, "a bonus for no hours"),
        ("full_hours", 721, "more hours than 30 days have"),
        ("full_days", 0, "a bonus for no days"),
        ("full_days", 31, "more than 30 days"),
        ("hardware", [], "models in an array"),
        ("hardware", {"x": [1, 1000]}, "a model's hashrate as a number"),
        ("hardware", {"x": ["0", 1000]}, "a model without hashrate"),
        ("hardware", {"x": ["1", 999]}, "a model that counts less than its work"),
        ("hardware", {"x": ["1", 1501]}, "a model that counts more than half as much again"),
    ):
        made.content(reason, lambda fields, n=name, v=value: fields["offers"]["main"]["loyalty"].update({n: v}))
    made.set("donate_to", published.OFF_CURVE, "donations to a key that is not on the curve")
    return made.made


def terms(log: ExampleLog) -> Json:
    made = Breaker(log.events["terms"], POOL_KEY)
    made.common()
    made.link()
    made.set("offers", {}, "no offers")
    for name, value, reason in (
        ("scheme", "ppps", "an unknown scheme"),
        ("fee_ppm", 1_000_001, "a fee above the reward"),
        ("window_milli", -1, "a negative window"),
        ("window_min_work", 9000, "work as a number"),
        ("window_max_ms", "0", "ms as a string"),
    ):
        made.content(reason, lambda fields, n=name, v=value: fields["offers"]["main"].update({n: v}))
    made.set("keys", [[EDGE.pubkey, "miner"]], "an unknown role")
    made.set("keys", [[published.OFF_CURVE, "edge"]], "a key that is not on the curve")
    made.set("closed", {f"{EDGE.pubkey}/0": [0]}, "a closed chain without its last id")
    made.set("closed", {f"{EDGE.pubkey}/0": None}, "an end that is no array")
    made.set("closed", {f"{EDGE.pubkey}/*": [0, "00" * 32]}, "one last event for every chain of a key")
    made.content("a limit is missing", lambda fields: fields["limits"].pop("anchor_ms"))
    made.content("block_bits not canonical", lambda fields: fields["limits"].update(block_bits="1d007fff"))
    made.content("a grace as a string", lambda fields: fields["limits"].update(lane_grace_ms="600000"))
    made.content("easiest_bits as a number", lambda fields: fields["limits"].update(easiest_bits=1))
    made.content("someone else bears the fee", lambda fields: fields["payouts"].update(network_fee="nobody"))
    made.content("relays are not strings", lambda fields: fields["log"].update(relays=[1]))
    made.tag("block_bits on main", "a", ("a", made.event.tags[0][1].replace("regtest", "main")))
    # The edge's key was stolen: its lane ends at the receipt, its other lanes and the zapper's chain have none.
    ends = {f"{EDGE.pubkey}/0": Head(1, log.events["receipt"].id), f"{EDGE.pubkey}/*": NEVER}
    ends[f"{ZAPPER.pubkey}/payouts"] = NEVER
    revoking = replace(
        TERMS_BODY,
        closed=ends,
        keys=((key(7).pubkey, "edge"), (ACCOUNTING.pubkey, "accounting")),
        limits=replace(TERMS_BODY.limits, lane_grace_ms=600_000),
    )
    first = log.events["terms"]
    second = build_terms(POOL, Head(0, first.id).next(), first.created_at + 60, revoking)
    made.made.extend(_broken_offers(log))
    return _event_file("4210, terms", [first, POOL_KEY.sign(second), _offers(log, EVERY_OFFER)], made)


def statement(log: ExampleLog) -> Json:
    made = Breaker(log.events["statement"], ACCOUNTING)
    made.common()
    made.link()
    miners = [tag for tag in made.event.tags if tag[0] == "p"]
    made.tag("miners not sorted", "p", *reversed(miners))
    made.tag("a miner twice", "p", miners[0], miners[0])
    made.tag("a miner without a row", "p", *miners, ("p", "ff" * 32))
    made.set("rows", [], "no row for a miner")
    made.set("rows", [["1", 1, 1, 1], ["1", 1]], "a row of four")
    made.set("rows", [["1", 1, 0], ["1", 1]], "a bonus of nothing")
    made.set("rows", [["1", 1, 2], ["1", 1]], "a bonus above its row")
    made.set("rows", [[1, 1], ["1", 1]], "work as a number")
    made.set("rows", [["1", -1], ["1", 1]], "a negative amount")
    made.set("parts", 1, "a statement in parts")
    made.content("an unknown type of reward", lambda fields: fields["reward"].update(type="gift"))
    made.content("a float amount", lambda fields: fields["reward"].update(gross_msat=1.5))
    made.content("a head without an id", lambda fields: fields["window"].update(heads={f"{EDGE.pubkey}/0": [1]}))
    made.content("no window", lambda fields: fields.pop("window"))
    return _event_file("4214, reward statement", [log.events["statement"]], made)


def statement_forms(log: ExampleLog) -> Json:
    made = Breaker(log.events["statement"], ACCOUNTING)
    made.set("parts", 2, "rows of its own, and parts")
    made.set("donations", [[2, "11" * 32, 1]], "a donation of no row")
    made.set("donations", [[0, "11" * 32, 0]], "a donation of nothing")
    made.set("donations", [[0, "11" * 32, 1], [0, "11" * 32, 1]], "a donation told twice")
    body = parse_statement(log.events["statement"])
    period = {"type": "period", "from_ms": 1_767_225_600_000, "to_ms": 1_767_225_600_000, "gross_msat": 1}
    made.content("a period without time", lambda fields: fields.update(reward=period))
    window = Window(body.window.from_ms, body.window.work, body.window.heads)
    reward = PeriodReward(1_767_225_600_000, 1_767_225_660_000, sum(row.msat for row in body.rows))
    of_period = StatementBody(reward, body.terms, "steady", window, 0, body.rows)
    given = replace(body.rows[0], msat=body.rows[0].msat - 7), replace(body.rows[1], msat=body.rows[1].msat + 7)
    giving = replace(of_period, rows=given, donations=(Donation(0, "11" * 32, 7),))
    bonus = replace(body.rows[0], msat=body.rows[0].msat + 7, bonus_msat=7), body.rows[1]
    loyal = replace(body, rows=bonus, fee_msat=body.fee_msat - 7)
    others = [
        build_statement(POOL, Link(2, log.events["status"].id), of_period, 1_767_225_670),
        build_statement(POOL, Link(2, log.events["status"].id), giving, 1_767_225_670),
        build_statement(POOL, Link(2, log.events["status"].id), body, 1_767_225_670, body.announced_by, parts=2),
        build_statement(POOL, Link(2, log.events["status"].id), loyal, 1_767_225_670, body.announced_by),
    ]
    accepted = [ACCOUNTING.sign(other) for other in others]
    return _event_file("4214, statements of a period, with a donation, in parts, and with a bonus", accepted, made)


def statement_part(log: ExampleLog) -> Json:
    body = parse_statement(log.events["statement"])
    link = Link(2, log.events["status"].id)
    plain = ACCOUNTING.sign(build_statement_part(POOL, link, 0, RowsPart(body.rows), 1_767_225_670))
    giving = RowsPart(body.rows, (Donation(1, "11" * 32, 7),))
    also = ACCOUNTING.sign(build_statement_part(POOL, link, 1, giving, 1_767_225_670))
    made = Breaker(plain, ACCOUNTING)
    made.common()
    made.link()
    made.set("of", 4221, "a part of something else")
    made.set("part", -1, "a negative number")
    made.set("rows", [["1", 1, 1, 1], ["1", 1]], "a row of four")
    made.set("rows", [["1", 1, 0], ["1", 1]], "a bonus of nothing")
    made.set("rows", [["1", 1, 2], ["1", 1]], "a bonus above its row")
    made.set("donations", [[2, "11" * 32, 1]], "a donation of no row")
    return _event_file("4218, part of a reward statement", [plain, also], made)


def settings_part(log: ExampleLog) -> Json:
    settings = key(4).sign(build_settings(POOL.pubkey, SettingsBody(donation_ppm=15_000), 1_767_225_630))
    other = key(4).sign(build_settings(key(4).pubkey, SettingsBody(donation_ppm=15_000), 1_767_225_630))
    link = Link(2, log.events["status"].id)
    event = ACCOUNTING.sign(build_settings_part(POOL, link, settings, 1_767_225_670))
    foreign = json.loads(encode_event(other))
    made = Breaker(event, ACCOUNTING)
    made.common()
    made.link()
    made.set("of", 4214, "a part of something else")
    made.set("settings", foreign, "settings for another pool")
    made.content("settings with another signature", lambda fields: fields["settings"].update(sig="00" * 64))
    made.content("settings with another content", lambda fields: fields["settings"].update(content="{}"))
    return _event_file("4218, settings that a statement rests on", [event], made)


def attestation_part(log: ExampleLog) -> Json:
    body = AttestationBody("axe", "Bitaxe Gamma", "2.4.0", 1_200_000_000_000, "00" * 32)
    ours = [key(4).sign(build_attestation(POOL, body, 1_767_225_630 + at)) for at in (0, 86_400)]
    other = key(4).sign(build_attestation(PoolAddress(key(4).pubkey, "regtest"), body, 1_767_225_630))
    link = Link(2, log.events["status"].id)
    event = ACCOUNTING.sign(build_attestation_part(POOL, link, ours, 1_767_225_670))
    foreign, held = json.loads(encode_event(other)), json.loads(event.content)["attestations"]
    made = Breaker(event, ACCOUNTING)
    made.common()
    made.link()
    made.set("of", 4214, "a part of something else")
    made.set("attestations", [], "no attestations")
    made.set("attestations", [foreign], "an attestation for another pool")
    made.set("attestations", held[::-1], "attestations not sorted")
    made.set("attestations", [held[0], held[0]], "an attestation twice")
    made.set("attestations", [held[0]] * 21, "more than twenty")
    made.set("attestations", ["11" * 32], "an id alone")
    made.set("attestations", [{**held[0], "sig": "00" * 64}], "an attestation with another signature")
    made.set("attestations", [{**held[0], "content": "{}"}], "an attestation with another content")
    for reason, wrong in (
        ("an attestation of what is no worker's name", replace(body, worker="my axe")),
        ("an attestation without a model", replace(body, model="")),
        ("an attestation whose model is too long", replace(body, model="x" * 65)),
        ("an attestation whose firmware is two lines", replace(body, firmware="2.4.0\n2.4.1")),
        ("an attestation without a hashrate", replace(body, nominal_hs=0)),
        ("an attestation whose block is no id", replace(body, block="00" * 31)),
    ):
        signed = key(4).sign(build_attestation(POOL, wrong, 1_767_225_630))
        made.set("attestations", [json.loads(encode_event(signed))], reason)
    return _event_file("4218, attestations that a bonus rests on", [event], made)


def payout(log: ExampleLog) -> Json:
    made = Breaker(log.events["payout"], ZAPPER)
    made.common()
    made.link()
    made.set("method", "cash", "an unknown method")
    made.set("amount_msat", 0, "nothing is paid")
    made.set("amount_msat", -1, "a negative amount that reverses nothing")
    made.set("reverses", "00000000", "a positive amount that reverses a payout")
    made.set("network_fee_msat", -1, "a negative fee")
    made.set("miner", key(9).pubkey, "the p tag names another miner")
    made.set("proof", [], "a proof that is not an object")
    made.set("to", "", "no destination")
    made.set("payout_id", 1, "the payout's name is a number")
    made.tag("no p tag", "p")
    return _event_file("4215, payout record", [log.events["payout"]], made)
