"""What a miner's loyalty bonus goes by, as the API tells it."""

from client_web.api.fields import Ms, Msat, Ppm, Rate, Strict


class LoyalWorker(Strict):
    """What of a worker counts towards a bonus. `attested_ms`: the date of the attestation (4222) that is told of, 0
    without one; `asked_hs`: the hashrate that bears it out, `measured_hs` what was measured that day, null while it is
    not over. `hardware_milli` is the device's factor, `factor_ppm` what a share of the worker weighs in all; `because`:
    why the attestation, or the device, does not count, "" if both do.
    """

    name: str
    alias: str
    model: str
    attested_ms: Ms
    asked_hs: Rate | None
    measured_hs: Rate | None
    hardware_milli: int
    factor_ppm: Ppm
    because: str


class LoyaltyStanding(Strict):
    """What a miner's bonus out of the fee would go by, at `ms`, in an offer that pays one: up to `part_ppm` of the fee.
    `hours` with a good share and `days` with an attestation that was borne out, of the last 30 days; `factor_ppm`: what
    a share weighs by them, without a device. `bonus_msat`: its bonus if a block were found now, null where that is not
    reckoned; `because`: why there can be none, "" if there can.
    """

    offer: str
    ms: Ms
    part_ppm: Ppm
    fee_ppm: Ppm
    hours: int
    full_hours: int
    days: int
    full_days: int
    factor_ppm: Ppm
    bonus_msat: Msat | None
    because: str
    workers: list[LoyalWorker]
