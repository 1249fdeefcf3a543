"""Tests mirror modules: each module has a test module of its name in its package's tests, or stands here with where
its behaviour is asserted instead. Who adds a module adds its test; who writes one of these tests takes it off the list.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("accounting", "client_web", "nips", "noncestr", "relay_bridge", "stratum_edge", "zapper")

# Asserted by another name: by what it is for (`test_salvage` for a journal's), by the protocol it speaks, or through
# the one module that uses it, which is where a reader would look for what it promises.
ELSEWHERE = {
    "accounting/adapters/desk.py": "accounting/running/test_service.py",
    "accounting/adapters/kept_fold.py": "accounting/running/test_keeping.py",
    "accounting/adapters/salvage.py": "noncestr/books/test_rebuild.py",
    "accounting/bonuses.py": "accounting/test_ledger.py",
    "accounting/errors.py": "accounting/test_rewards.py",
    "accounting/flat_lists.py": "accounting/running/test_reads.py",
    "accounting/hashrates.py": "accounting/running/test_reads.py",
    "accounting/measured.py": "accounting/test_running_sums.py",
    "accounting/open_hours.py": "accounting/test_running_sums.py",
    "accounting/presence.py": "accounting/test_running_sums.py",
    "accounting/turnout.py": "accounting/test_running_sums.py",
    "client_web/adapters/bodies.py": "client_web/api/test_attest.py",
    "client_web/adapters/live.py": "client_web/api/test_api_live.py",
    "client_web/api/answers.py": "client_web/api/test_attest.py",
    "client_web/api/application.py": "client_web/api/test_api.py",
    "client_web/api/book_models.py": "client_web/api/test_api.py",
    "client_web/api/books.py": "client_web/api/test_api.py",
    "client_web/api/fields.py": "client_web/api/test_api_schema.py",
    "client_web/api/limits.py": "client_web/api/test_api_limits.py",
    "client_web/api/loyalty_models.py": "accounting/running/test_standing_view.py",
    "client_web/api/miner_models.py": "client_web/api/test_api.py",
    "client_web/api/miners.py": "client_web/api/test_api.py",
    "client_web/api/parameters.py": "client_web/api/test_api.py",
    "client_web/api/pool.py": "client_web/api/test_api.py",
    "client_web/api/pool_models.py": "client_web/api/test_api.py",
    "client_web/api/routes.py": "client_web/api/test_api_schema.py",
    "client_web/askers.py": "client_web/api/test_api_limits.py",
    "client_web/fakes.py": "client_web/test_server.py",
    "nips/pool/pure_lanes.py": "nips/pool/test_lanes.py",
    "noncestr/citizen/facts.py": "noncestr/citizen/test_notes.py",
    "noncestr/commands/accounting.py": "noncestr/books/test_archive.py",
    "noncestr/config/ledger.py": "noncestr/books/test_place.py",
    "noncestr/config/sections.py": "noncestr/terms/test_promises.py",
    "noncestr/errors.py": "noncestr/payouts/test_desk.py",
    "noncestr/keys/signer_run.py": "noncestr/keys/test_remote_key.py",
    "noncestr/notices/channels.py": "noncestr/notices/test_news.py",
    "noncestr/notices/post.py": "noncestr/notices/test_notifier.py",
    "noncestr/notices/private.py": "noncestr/notices/test_notifier.py",
    "noncestr/outpost.py": "noncestr/books/test_treasury_parts.py",
    "noncestr/payouts/psbt_desk.py": "noncestr/commands/test_psbt.py",
    "noncestr/payouts/wiring.py": "noncestr/payouts/test_policy.py",
    "noncestr/verify/follow.py": "noncestr/test_verify_runs.py",
    "noncestr/verify/mints.py": "noncestr/test_verify_runs.py",
    "noncestr/verify/show.py": "noncestr/test_verify_runs.py",
    "noncestr/verify/source.py": "noncestr/verify/test_run.py",
    "relay_bridge/adapters/arrival_store.py": "relay_bridge/test_resume.py",
    "relay_bridge/adapters/catchup.py": "relay_bridge/test_resume.py",
    "relay_bridge/adapters/channel.py": "relay_bridge/test_service.py",
    "relay_bridge/adapters/outbox_store.py": "relay_bridge/adapters/test_damage.py",
    "relay_bridge/adapters/reading.py": "relay_bridge/test_hostile.py",
    "relay_bridge/adapters/relay_connection.py": "relay_bridge/test_service.py",
    "relay_bridge/adapters/relay_link.py": "relay_bridge/adapters/test_reconciliations.py",
    "relay_bridge/adapters/served_connection.py": "relay_bridge/adapters/test_relay_server.py",
    "relay_bridge/adapters/subscription.py": "relay_bridge/test_repair.py",
    "relay_bridge/adapters/taken.py": "relay_bridge/test_resume.py",
    "relay_bridge/adapters/truth.py": "relay_bridge/test_refill.py",
    "relay_bridge/backoff.py": "relay_bridge/test_rate.py",
    "relay_bridge/deletion.py": "relay_bridge/adapters/test_event_store.py",
    "relay_bridge/errors.py": "relay_bridge/adapters/test_reconciliations.py",
    "relay_bridge/query.py": "relay_bridge/adapters/test_event_store.py",
    "relay_bridge/refusal.py": "relay_bridge/test_outbox.py",
    "relay_bridge/status.py": "relay_bridge/test_service.py",
    "stratum_edge/adapters/bitcoin_node.py": "stratum_edge/test_bitcoin_nodes.py",
    "stratum_edge/adapters/deliveries.py": "stratum_edge/test_service.py",
    "stratum_edge/adapters/hash_process.py": "stratum_edge/test_cpu_miner.py",
    "stratum_edge/adapters/journal_salvage.py": "stratum_edge/test_salvage.py",
    "stratum_edge/adapters/miner_evidence.py": "stratum_edge/test_cpu_miner.py",
    "stratum_edge/adapters/reception.py": "stratum_edge/test_service.py",
    "stratum_edge/adapters/segment_file.py": "stratum_edge/test_journal_power.py",
    "stratum_edge/config.py": "stratum_edge/test_doors.py",
    "stratum_edge/errors.py": "stratum_edge/test_house_client.py",
    "stratum_edge/journal_v1.py": "stratum_edge/test_journal.py",
    "stratum_edge/miner_events.py": "stratum_edge/test_cpu_miner.py",
    "stratum_edge/snapshot.py": "stratum_edge/test_service.py",
    "stratum_edge/states.py": "stratum_edge/test_session_table.py",
    "zapper/adapters/cashu_mint.py": "zapper/test_nutshell.py",
    "zapper/adapters/chain_book.py": "zapper/test_signing.py",
    "zapper/adapters/cln_backend.py": "zapper/backends/test_cln_node.py",
    "zapper/adapters/handed_rows.py": "zapper/test_giving_up.py",
    "zapper/adapters/lnbits_backend.py": "zapper/backends/test_lnbits_server.py",
    "zapper/adapters/lnd_backend.py": "zapper/backends/test_conformance.py",
    "zapper/adapters/lock_file.py": "zapper/test_crashes.py",
    "zapper/adapters/mint_backend.py": "zapper/backends/test_conformance.py",
    "zapper/adapters/pay_once.py": "zapper/backends/test_nwc_backend.py",
    "zapper/adapters/phoenixd_backend.py": "zapper/backends/test_answers.py",
    "zapper/adapters/proof_schema.py": "zapper/test_treasury.py",
    "zapper/adapters/proof_store.py": "zapper/test_treasury.py",
    "zapper/adapters/relay_writer.py": "noncestr/notices/test_notifier.py",
    "zapper/adapters/resolver.py": "zapper/adapters/test_http_client.py",
    "zapper/adapters/wrapper.py": "zapper/test_nutshell.py",
    "zapper/config.py": "zapper/test_timetable.py",
    "zapper/ecash.py": "zapper/test_treasury.py",
    "zapper/ecash_rail.py": "zapper/test_ecash_rails.py",
    "zapper/errors.py": "zapper/test_giving_up.py",
    "zapper/evidence.py": "noncestr/payouts/test_desk.py",
    "zapper/funding.py": "zapper/test_onchain_rail.py",
    "zapper/inquiry.py": "zapper/test_giving_up.py",
    "zapper/lightning_rails.py": "zapper/adapters/test_demo_lightning.py",
    "zapper/lnurlpay.py": "zapper/test_crashes.py",
    "zapper/node_wallet.py": "zapper/test_onchain_rail.py",
    "zapper/nutzap_rail.py": "zapper/test_ecash_rails.py",
    "zapper/rails.py": "zapper/test_onchain_rail.py",
    "zapper/secret.py": "zapper/backends/test_secrets.py",
    "zapper/swaps.py": "zapper/test_treasury.py",
}

# Asserted on processes of the program, as operators start them: wiring shows only there.
AS_PROCESSES = {
    "noncestr/demo/mint_main.py": "noncestr/test_demo_ecash.py",
    "noncestr/demo/mint_process.py": "noncestr/test_demo_ecash.py",
    "noncestr/demo/wallets.py": "noncestr/test_demo_ecash.py",
    "noncestr/edge/lane_process.py": "noncestr/test_many_edges.py",
    "noncestr/parts/accounting.py": "noncestr/test_parts.py",
    "noncestr/parts/pool.py": "noncestr/test_parts.py",
    "noncestr/parts/web.py": "noncestr/test_parts.py",
    "noncestr/parts/zapper.py": "noncestr/test_parts.py",
    "noncestr/speaking.py": "noncestr/test_whole_pool.py",
    "noncestr/terms/promise_keeper.py": "noncestr/test_whole_offers.py",
}

# Nothing to assert.
NOTHING = {
    "accounting/ports.py": "Protocols alone: nothing of it runs, and fakes of them",
    "client_web/ports.py": "Protocols alone: nothing of it runs",
    "noncestr/__main__.py": "one call of the command line",
    "noncestr/citizen/ports.py": "Protocols alone: nothing of it runs",
    "noncestr/notices/ports.py": "Protocols alone: nothing of it runs",
    "relay_bridge/ports.py": "Protocols alone: nothing of it runs, and fakes of them",
    "stratum_edge/ports.py": "Protocols alone: nothing of it runs, and fakes of them",
    "zapper/ecash_ports.py": "Protocols alone: nothing of it runs",
    "zapper/ports.py": "Protocols alone: nothing of it runs, and fakes of them",
}


def modules() -> list[Path]:
    """Every module of the packages, but their roots."""
    found = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if path.name != "__init__.py")


def named_tests(module: Path) -> list[Path]:
    """The test modules of its name among its package's."""
    return sorted((ROOT / "tests" / module.parts[0]).rglob(f"test_{module.name}"))


def test_each_module_has_a_test_of_its_name_or_says_where_it_is_tested() -> None:
    without = [str(path) for path in modules() if not named_tests(path)]
    unnamed = sorted(set(without) - {*ELSEWHERE, *AS_PROCESSES, *NOTHING})
    assert unnamed == [], "write tests/<package>/test_<module>.py, or say here where they are tested and why"


def test_the_lists_hold_nothing_that_has_its_test_or_is_gone() -> None:
    known = {str(path): named_tests(path) for path in modules()}
    listed = [*ELSEWHERE, *AS_PROCESSES, *NOTHING]
    assert len(listed) == len(set(listed))
    for name in listed:
        assert name in known, f"{name} is gone: take it off the list"
        assert known[name] == [], f"{name} has a test of its name: take it off the list"


@cache
def imported(path: Path) -> frozenset[Path]:
    """The project's own files that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    found = (Path(*name.split(".")).with_suffix(".py") for name in names)
    return frozenset(each for each in found if (ROOT / each).is_file())


def reached(test: Path) -> set[Path]:
    """All that a test module loads, with its fixtures."""
    todo = [test, *(folder / "conftest.py" for folder in test.parents if (ROOT / folder / "conftest.py").is_file())]
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += imported(path)
    return seen


@pytest.mark.parametrize(("module", "where"), sorted(ELSEWHERE.items()))
def test_what_is_said_to_test_a_module_loads_it(module: str, where: str) -> None:
    test = Path("tests", where)
    assert "def test_" in (ROOT / test).read_text()
    assert Path(module) in reached(test), f"{where} has nothing to do with {module}"


def test_what_is_said_to_start_the_program_is_there() -> None:
    for module, where in AS_PROCESSES.items():
        assert "def test_" in (ROOT / "tests" / where).read_text(), module


@pytest.mark.parametrize("module", sorted(NOTHING))
def test_what_has_nothing_to_assert_has_no_logic(module: str) -> None:
    """Ports hold Protocols, values and fakes: none of it decides anything that a test of ours could hold."""
    assert Path(module).name in ("ports.py", "__main__.py") or Path(module).stem.endswith("_ports")
