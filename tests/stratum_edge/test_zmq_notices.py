"""Notices of new blocks over ZMQ."""

import anyio
import pytest
import zmq
import zmq.asyncio

from stratum_edge.adapters import zmq_notices
from stratum_edge.adapters.zmq_notices import follow_hashblock
from tests.stratum_edge.scripted_node import ScriptedNode

pytestmark = pytest.mark.anyio


async def test_a_new_block_is_heard_of_and_junk_is_not() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    async with ScriptedNode(zmq=True) as node, anyio.create_task_group() as group:
        group.start_soon(follow_hashblock, node.zmq_address, send.send_nowait)
        with anyio.fail_after(10):
            await node.subscribed()
            assert node._publisher is not None
            await node._publisher.send_multipart([b"hashblock"])
            await node._publisher.send_multipart([b"hashblock", b"short", b"\x00" * 4])
            await node._publisher.send_multipart([b"hashblock2", b"\x00" * 32, b"\x00" * 4])
            tip = await node.find_block()
            assert await receive.receive() == tip.hash
        group.cancel_scope.cancel()
    send.close()
    receive.close()


async def test_it_connects_again_by_itself() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            async with ScriptedNode(zmq=True) as first:
                port = int(first.zmq_address.rpartition(":")[2])
                group.start_soon(follow_hashblock, first.zmq_address, send.send_nowait)
                await first.subscribed()
            async with ScriptedNode(zmq=True, zmq_port=port) as second:
                await second.subscribed()
                tip = await second.find_block()
                assert await receive.receive() == tip.hash
            group.cancel_scope.cancel()
    send.close()
    receive.close()


async def test_an_address_zmq_does_not_know() -> None:
    with pytest.raises(ValueError, match="no ZMQ address"):
        await follow_hashblock("http://127.0.0.1:1", lambda _: None)


async def test_a_socket_that_says_too_much_is_dropped_and_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_notices, "SILENCE_S", 0.1)
    context = zmq.asyncio.Context()
    publisher = context.socket(zmq.XPUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    heard: list[bytes] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(follow_hashblock, f"tcp://127.0.0.1:{port}", heard.append)
            assert (await publisher.recv())[:1] == b"\x01"
            await publisher.send_multipart([b"hashblock", b"\x00" * 100_000])
            # The subscriber hangs up and comes back.
            while (await publisher.recv())[:1] != b"\x01":
                pass
            while not heard:
                await publisher.send_multipart([b"hashblock", b"\x01" * 32])
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert set(heard) == {b"\x01" * 32}
    context.destroy(linger=0)
