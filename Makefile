# make up: set up and run the pool. make test: set up and test it. The other verbs are what CI calls.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help check setup dev up test lint fmt types imports bench bench-edge bench-accounting bench-loyalty bench-day bench-storage crash edges tamper altered fuzz fleet schemes year clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

check:
	@sh tools/check-machine.sh

LANES := setup.py $(wildcard nips/pool/_lanes*.[ch])

.venv/.runtime: requirements.lock pyproject.toml $(LANES) | check
	@sh tools/setup-venv.sh requirements.lock && touch $@

.venv/.dev: requirements-dev.lock pyproject.toml $(LANES) | check
	@sh tools/setup-venv.sh requirements-dev.lock && touch $@ .venv/.runtime

setup: .venv/.runtime  ## install what the pool needs into .venv
dev: .venv/.dev        ## install what developers need into .venv

up: .venv/.runtime     ## set up and run the pool (LAN=1 for miners on your network, ARGS=... for more)
	@exec $(PY) -m noncestr up $(if $(LAN),--lan) $(if $(DATA),--data $(DATA)) $(ARGS)

# Twice the cores: whole pools wait for blocks half of their time. Eight at most: each takes some 300 MB.
test: .venv/.dev       ## set up and run the tests
	@$(PY) -m pytest -n $$($(PY) -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))') --dist worksteal $(ARGS)

tamper: .venv/.dev     ## alter every field of every event of a log, signed anew: the verifier names each
	@NONCESTR_TAMPERS=100000 $(PY) -m pytest tests/accounting/test_tamper.py --timeout 1800 $(ARGS)

altered: .venv/.dev    ## alter 3,000 logs and 100,000 events at random: both verifiers say the same of each
	@NONCESTR_ALTERED=3000 NONCESTR_FORMS=100000 $(PY) -m pytest --timeout 7200 tests/client_web/test_verify_altered.py tests/client_web/test_verify_forms.py $(ARGS)

fmt: .venv/.dev        ## format
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

lint: .venv/.dev       ## style
	@$(PY) -m ruff format --check . && $(PY) -m ruff check .

types: .venv/.dev      ## mypy --strict
	@$(PY) -m mypy

imports: .venv/.dev    ## who may import whom
	@.venv/bin/lint-imports

bench: .venv/.dev      ## speed, as ratios to a baseline of the same run
	@for bench in nips edge relay verify; do echo "== bench.$$bench"; $(PY) -m bench.$$bench || exit 1; done

bench-accounting: .venv/.dev ## an hour of 10,000 miners folded, a reward split to 100,000, memory of a long log and of payouts
	@$(PY) -m bench.accounting_speed && $(PY) -m bench.accounting && $(PY) -m bench.books

bench-storage: .venv/.dev ## what an hour of 10,000 miners takes on disk, by table and kind, and a month of it
	@$(PY) -m bench.storage $(ARGS)

bench-loyalty: .venv/.dev ## a statement with a bonus to 100,000 miners, after a month of them
	@$(PY) -m bench.loyalty

bench-day: .venv/.dev ## a day of 10,000 miners' verified batches folded (7 GB of scratch)
	@$(PY) -m bench.kept_day

bench-edge: .venv/.dev ## the edge's share path, one process and several
	@$(PY) -m bench.edge --processes 2

crash: .venv/.dev      ## kill the edge 320 times under load (the tests do it 25 times)
	@NONCESTR_KILLS=320 $(PY) -m pytest -s --timeout 3600 tests/stratum_edge/test_crash.py $(ARGS)

crash-payouts: .venv/.dev ## kill the zapper 1,200 times, at every step (the tests do it 90 times)
	@NONCESTR_KILLS=1200 $(PY) -m pytest -s --show-capture=no --timeout 3600 tests/zapper/test_crashes.py tests/zapper/test_signing.py $(ARGS)

real-wallet: .venv/.dev   ## pay on chain through BITCOIND=..., a Bitcoin Core with a wallet (the tests use a scripted node)
	@test -x "$(BITCOIND)" || { echo "BITCOIND must name a bitcoind with a wallet" >&2; exit 2; }
	@NONCESTR_BITCOIND="$(BITCOIND)" $(PY) -m pytest --timeout 1800 tests/noncestr/payouts/test_chain.py tests/noncestr/test_payout_psbt.py tests/noncestr/test_payout_chain_pool.py tests/noncestr/test_payout_psbt_pool.py $(ARGS)

edges: .venv/.dev      ## cut edges off their relays and kill them, again and again (the tests do it once)
	@NONCESTR_CUTS=3 $(PY) -m pytest --timeout 3600 tests/noncestr/test_many_edges.py $(ARGS)

fuzz: .venv/.dev       ## fuzz the Stratum session for ten minutes (ARGS=... for more)
	@$(PY) -m tests.stratum_edge.fuzz_session --seconds 600 $(ARGS)

fleet: .venv/.dev      ## vardiff over a day of a simulated fleet, with its plot in docs/img
	@$(PY) -m bench.fleet --plot docs/img/fleet.svg $(ARGS)

schemes: .venv/.dev    ## what a steady miner, a hopper and a burst miner earn over 10,000 blocks of each scheme, with its plot in docs/img
	@$(PY) -m bench.schemes --plot docs/img/schemes.svg $(ARGS)

year: .venv/.dev       ## a year of blocks, statements and orphans, checked to the msat
	@$(PY) -m bench.year $(ARGS)
	@$(PY) -m bench.year_log --blocks 52560 --miners 2000 --sharers 40 $(ARGS)

clean:                 ## forget the environment (not the data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
