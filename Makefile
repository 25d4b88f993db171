# Everything a developer does here, by name. `make` alone lists it.
# Needs GNU make, bash and Python 3.11-3.13; scripts/setup.sh brings the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=

.PHONY: help run test test-setup check bench bench-endpoint bench-latency bench-overlap soak smoke-azure setup setup-dev contracts docs format clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## set up what is missing and start the server on http://localhost:8080 (ARGS="--port 9000")
	@exec $(BIN)/convergio-voice serve $(ARGS)

test: test-setup ## run the tests (ARGS="tests/server -k settings")
	@$(BIN)/pytest $(ARGS)

test-setup: setup-dev
	@scripts/test_packages.sh
	@scripts/client_envs.sh

check: setup-dev ## lint, types, import contracts, spelling, generated contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m server.contracts.generate --check

bench: setup-dev ## measure latency, barge-in and capacity on this machine (some minutes)
	@$(BIN)/python tests/load/bench_main_job.py
	@$(BIN)/python tests/load/bench_capacity.py
	@$(BIN)/python tests/load/bench_webrtc_media.py
	@$(BIN)/python tests/load/bench_webrtc.py
	@$(BIN)/python tests/load/bench_phone.py
	@$(BIN)/python tests/load/bench_sip.py
	@$(BIN)/python tests/load/bench_azure.py
	@$(BIN)/python tests/load/bench_metering.py
	@$(BIN)/python tests/load/bench_budgets.py
	@$(BIN)/python tests/load/bench_identity.py
	@$(BIN)/python tests/load/bench_azure_sessions.py
	@$(BIN)/python tests/load/bench_telemetry.py

bench-overlap: setup-dev ## measure what stops the agent and what does not, with and without an echo (some minutes)
	@$(BIN)/python tests/load/bench_overlap.py

soak: setup-dev ## half an hour of conversations on Azure that come and go: nothing may grow (ARGS="--minutes 5")
	@$(BIN)/python tests/load/soak_azure.py $(ARGS)

smoke-azure: setup-dev ## hold a conversation on a real Azure account (CONVERGIO_AZURE__REGION, CONVERGIO_AZURE__KEY; skipped without)
	@$(BIN)/python scripts/smoke_azure.py

bench-latency: setup-dev ## measure what users get, and when, while services fail (ARGS="--turns 1000 --svg FILE --json")
	@$(BIN)/python tests/load/bench_latency.py $(ARGS)

bench-endpoint: setup-dev ## measure ends of turns on human speech (ARGS="--root DIR" for more of it)
	@$(BIN)/python tests/load/bench_endpoint.py $(ARGS)

setup: ## create or update .venv for running
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev

contracts: setup-dev ## write docs/contracts from the models
	$(BIN)/python -m server.contracts.generate

docs: ## build the documentation into site/
	@scripts/setup.sh docs
	$(BIN)/mkdocs build --strict

format: setup-dev ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that was made: environments, caches, builds
	rm -rf .venv .venv-tools .venv-clients tests/clients/node/node_modules .ruff_cache .pytest_cache .hypothesis .import_linter_cache site dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
