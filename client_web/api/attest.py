"""/attest: a miner's word on a device (4222), signed by the miner, for those whose tools reach no relay."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from client_web.adapters.bodies import read_body
from client_web.api.answers import Refused, answer
from client_web.api.fields import Error, Hex, Strict
from client_web.api.routes import REASONS
from client_web.ports import Attestations
from nips.errors import InvalidEvent
from nips.nip01 import VerifiedEvent, decode_event, verify

# An attestation has some 700 bytes.
MAX_BYTES: Final = 4096
ACCEPTED: Final = 202
_HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_EVENT = {
    "type": "object",
    "description": "The signed event (NIP-01), kind 4222.",
    "required": ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"],
    "properties": {
        "id": _HEX,
        "pubkey": _HEX,
        "created_at": {"type": "integer", "minimum": 0},
        "kind": {"const": 4222},
        "tags": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "content": {"type": "string"},
        "sig": {"type": "string", "pattern": "^[0-9a-f]{128}$"},
    },
}


class Attested(Strict):
    """The attestation that was taken, by its event's id."""

    id: Hex


async def _read(request: Request) -> VerifiedEvent:
    try:
        return verify(decode_event(await read_body(request, MAX_BYTES)))
    except InvalidEvent as error:
        raise Refused(400, f"this is no signed event: {error}") from None


def attest_router(attestations: Attestations | None) -> APIRouter:
    """The route; without anybody to take attestations it answers 503."""
    router = APIRouter(tags=["miners"])

    async def attest(request: Request) -> Response:
        """Take a miner's signed attestation (4222) and publish it. One a worker and UTC day; it counts for the loyalty
        bonus if the measured hashrate bears it out.
        """
        event = await _read(request)
        if attestations is None:
            raise Refused(503, "this page takes no attestations: publish yours on the pool's relays")
        await attestations.take(event)
        return answer(request, {"id": event.id}, ACCEPTED)

    router.add_api_route(
        "/attest",
        attest,
        methods=["POST"],
        status_code=ACCEPTED,
        response_model=None,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _EVENT}}}},
        responses={
            ACCEPTED: {"model": Attested, "description": "It is on its way to the relays."},
            400: {"model": Error, "description": "It is no good attestation for this pool; `error` says why."},
            403: {"model": Error, "description": "The key has sent this pool no share."},
            409: {"model": Error, "description": "This worker has another one of that day."},
            408: {"model": Error, "description": "It did not come in time."},
            413: {"model": Error, "description": "It is too long."},
            503: {"model": Error, "description": "It can't be taken now."},
            **{status: {"model": Error, "description": REASONS[status]} for status in (429, 500)},
        },
    )
    return router
