"""What crosses between the pool's process and its lanes' comes out as it went in."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from noncestr.config.sections import LogConfig
from noncestr.edge.edges import NOTHING
from noncestr.edge.orders import LaneReport, Orders, decode_orders, encode_orders, plain, report_of, rows_of
from stratum_edge.config import EdgeConfig, PortConfig, TlsFiles
from stratum_edge.status import SessionRow

PORT = PortConfig(
    port=3334, start_difficulty=Fraction(1, 8192), tls=TlsFiles(Path("/etc/cert.pem"), Path("key.pem")), reuse_port=True
)
ORDERS = Orders("34210:00:regtest", EdgeConfig(b"\x51", (PORT,), lane=7, process=2), LogConfig("debug"), True, False)


def test_orders_come_out_as_they_went_in() -> None:
    assert decode_orders(encode_orders(ORDERS)) == ORDERS


def test_a_bad_difficulty_does_not_cross() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_orders(encode_orders(ORDERS).replace(b"1/8192", b"1/8193"))


def test_reports_and_rows_come_out_as_they_went_in() -> None:
    report = LaneReport(1, 4242, 7, {"main": 3333}, replace(NOTHING, rejected={21: 3}))
    assert report_of(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(report)))) == report
    row = SessionRow("127.0.0.1", "main", "ab" * 32, ("rig", ""), "cpuminer/2", "1/8192", 3, 4, 5, 6, 7)
    assert rows_of(msgspec.msgpack.decode(msgspec.msgpack.encode(plain([row])))) == [row]
