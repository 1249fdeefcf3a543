"""The turn: submits of many sessions hashed in one call, judged in their order, answered in their place."""

import json
from dataclasses import replace

from nips.pool import lanes


def submits(edge, peer, count, user):
    notify = peer.notifies[-1]
    found = [edge.mine(notify, peer.extranonce1, 1 << 256, start=n) for n in range(count)]
    return [
        json.dumps({"id": n, "method": "mining.submit", "params": share.params(user, notify.job)}).encode()
        for n, share in enumerate(found, 100)
    ]


def test_a_turn_of_many_sessions_is_one_call_and_each_gets_its_own_replies_in_order(edge, monkeypatch):
    bench = edge.Bench(start=edge.EASIEST)
    peers = [bench.peer() for _ in range(3)]
    for peer in peers:
        peer.login(edge.NPUB)
    called = []
    whole = lanes.hash_shares
    monkeypatch.setattr(
        "stratum_edge.turn.hash_shares", lambda bounds, shares: called.append(len(bounds)) or whole(bounds, shares)
    )
    for peer in peers:
        peer.session.receive(submits(edge, peer, 4, edge.NPUB), 0)
        assert peer.session.unsettled == 4
        assert peer.session.take_output() == b"", "nothing is said before the turn is settled"
    assert len(bench.desk.turn) == 12
    bench.desk.turn.settle(edge.NOW, 0)
    assert called == [12]
    assert len(bench.desk.turn) == 0
    for peer in peers:
        replies = [message for message in peer.read() if "method" not in message]
        assert [(message["id"], message["result"]) for message in replies] == [(n, True) for n in range(100, 104)]
    assert bench.desk.counts.accepted == 12


def test_what_is_asked_between_submits_is_answered_between_them(edge):
    bench = edge.Bench(start=edge.EASIEST)
    peer = bench.peer()
    peer.login(edge.NPUB)
    first, second = submits(edge, peer, 2, edge.NPUB)
    ping = b'{"id":7,"method":"mining.ping"}'
    assert [message["id"] for message in peer.raw(first, ping, second, b"garbage")] == [100, 7, 101, None]


def test_the_first_submit_of_a_turn_calls_for_its_end(edge):
    bench = edge.Bench(start=edge.EASIEST)
    peer = bench.peer()
    peer.login(edge.NPUB)
    called = []
    bench.desk.turn.first = lambda: called.append(len(bench.desk.turn))
    peer.session.receive(submits(edge, peer, 3, edge.NPUB), 0)
    assert called == [1]
    bench.desk.turn.settle(edge.NOW, 0)
    bench.desk.turn.settle(edge.NOW, 0)
    peer.session.receive([submits(edge, peer, 4, edge.NPUB)[3]], 0)
    assert called == [1, 1]


def test_a_share_twice_in_one_turn_counts_once_and_a_closed_session_loses_none(edge):
    bench = edge.Bench(start=edge.EASIEST)
    peer, gone = bench.peer(), bench.peer()
    for one in (peer, gone):
        one.login(edge.NPUB)
    (line,) = submits(edge, peer, 1, edge.NPUB)
    peer.session.receive([line, line], 0)
    gone.session.receive(submits(edge, gone, 1, edge.NPUB), 0)
    gone.session.close(0)
    bench.desk.turn.settle(edge.NOW, 0)
    results = [message.get("error") for message in peer.read() if "method" not in message]
    assert [error and error[0] for error in results] == [None, 22]
    bench.desk.seal(edge.NOW + 10)
    assert len(edge.good_shares(bench.events(), bench.terms)) == 2


def test_shares_of_an_old_and_a_new_job_in_one_turn(edge):
    bench = edge.Bench(start=edge.EASIEST)
    peer = bench.peer()
    peer.login(edge.NPUB)
    old = submits(edge, peer, 1, edge.NPUB)
    bench.renew(replace(bench.template, coinbase_sat=99_999), edge.NOW + 1)
    new = submits(edge, peer, 1, edge.NPUB)
    assert [message["result"] for message in peer.raw(*old, *new)] == [True, True]
    bench.desk.seal(edge.NOW + 10)
    assert len(edge.good_shares(bench.events(), bench.terms)) == 2
