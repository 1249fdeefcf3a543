"""How the pool pays by its configuration: as the terms promise it (4210), and as the zapper keeps it."""

from nips.pool.terms import PayoutTerms
from noncestr.config.sections import Config
from zapper.plan import PlanLimits


def payout_terms(config: Config, coinbase: str) -> PayoutTerms:
    """What the terms say of paying. `coinbase`: the address that blocks pay."""
    limits, payouts = payout_limits(config), config.payouts
    return PayoutTerms(
        minimum_msat=limits.minimum_msat,
        interval_s=payouts.interval_seconds,
        network_fee=payouts.network_fee,
        coinbase=coinbase,
        schedule=payouts.schedule,
        methods=payouts.methods,
        max_fee=(limits.max_fee_ppm, limits.max_fee_floor_msat),
        per_day_msat=limits.per_day_msat,
        onchain_msat=limits.onchain_msat or None,
        idle_days=limits.idle_days,
        give_up_days=limits.give_up_days,
    )


def payout_limits(config: Config) -> PlanLimits:
    """What the zapper keeps to."""
    payouts = config.payouts
    return PlanLimits(
        minimum_msat=config.terms.minimum_payout_sat * 1000,
        per_day_msat=payouts.per_day_sat * 1000 or None,
        idle_days=payouts.idle_days,
        give_up_days=payouts.give_up_days,
        max_fee_ppm=payouts.max_fee_ppm,
        max_fee_floor_msat=payouts.max_fee_sat * 1000,
        fee_borne=payouts.network_fee == "miner",
        onchain_msat=payouts.onchain_sat * 1000,
    )
