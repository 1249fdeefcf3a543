"""The events of an accounting chain, as the fold takes them."""

from accounting.chains import Opaque
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool import kinds
from nips.pool.archive import Archive, parse_archive
from nips.pool.attestation_part import AttestationPart, parse_attestation_part
from nips.pool.chain import link_of
from nips.pool.content import decode_content
from nips.pool.settings_part import SettingsPart, parse_settings_part
from nips.pool.statement import RewardStatus, Statement, parse_statement, parse_status
from nips.pool.statement_rows import StatementPart, parse_statement_part, part_of
from nips.pool.summary import parse_summary, parse_summary_part

AccountingEvent = Statement | StatementPart | SettingsPart | AttestationPart | RewardStatus | Opaque


def check_form(event: VerifiedEvent) -> Archive | None:
    """The archive that an event announces, if it does. Raises InvalidPoolEvent for one, a summary, or part of one that
    can't be read.
    """
    if event.kind == kinds.SUMMARY:
        parse_summary(event)
    elif event.kind == kinds.ARCHIVE:
        return parse_archive(event)
    elif event.kind == kinds.STATEMENT_PART and decode_content(event.content).get("of") == kinds.SUMMARY:
        parse_summary_part(event)
    return None


def parse_accounting(event: VerifiedEvent) -> AccountingEvent:
    """What an accounting chain takes. Raises InvalidPoolEvent."""
    if event.kind == kinds.STATEMENT:
        return parse_statement(event)
    if event.kind == kinds.STATUS:
        return parse_status(event)
    if event.kind == kinds.STATEMENT_PART:
        of = part_of(event)
        if of == kinds.STATEMENT:
            return parse_statement_part(event)
        if of == kinds.SETTINGS:
            return parse_settings_part(event)
        if of == kinds.ATTESTATION:
            return parse_attestation_part(event)
        if of != kinds.SUMMARY:
            raise InvalidPoolEvent(f"kind {of} has no parts")
    return Opaque(event.id, link_of(event), event.created_at)
