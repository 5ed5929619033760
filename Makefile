# Everything from plain Python: `make demo` and `make test` create what they need (see README.md).
PYTHON ?= python3
UV_REQUIREMENTS := deploy/local/uv-requirements.txt
UV := .uv/bin/uv
BIN := .venv/bin

export UV_PROJECT_ENVIRONMENT := .venv
export UV_SYSTEM_CERTS := 1
# Many short-lived processes import Beam: compile once instead of at each start.
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS ?= 0
FUZZ_SECONDS ?= 600
# Two processes, each with whole files (and, for integration, a broker and a Flink of its own).
SPREAD := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-integration simulate prove-deliveries prove-outage lint format audit bench bench-pipelines bench-replay expected fuzz mutate outage soak soak-job screens setup clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## Recorded speech becomes finals through real Kafka, real Flink and a local endpoint (DEMO="--speed 2 --keep"; CLUSTER=1: Flink in processes of its own)
	@$(BIN)/medstream demo $(if $(CLUSTER),--cluster) $(DEMO)

test: .venv/.dev lint audit test-unit test-integration ## Everything CI runs: lint, types, audit, unit, simulation, integration

# Linear algebra must not spin for threads that the other process holds up.
test-unit test-integration: export OPENBLAS_NUM_THREADS := 1

# Some have real sockets and timeouts of half a second, which a machine that stands still for as long breaks: what fails
# is run once more, and both are printed.
test-unit: .venv/.dev ## Unit, property and simulation tests only (no servers)
	$(BIN)/pytest -m "not integration" $(SPREAD) $(PYTEST_ARGS) \
		|| $(BIN)/pytest -m "not integration" --last-failed --last-failed-no-failures none $(PYTEST_ARGS)

# Two Flinks, two brokers and what is measured beside them are much for two cores: what fails in that company is run
# once more by itself, and both are printed.
test-integration: .venv/.dev ## Tests on real Kafka, real Flink and the endpoint
	$(BIN)/pytest -m integration $(SPREAD) $(PYTEST_ARGS) \
		|| $(BIN)/pytest -m integration --last-failed --last-failed-no-failures none $(PYTEST_ARGS)

simulate: .venv/.dev ## The session engine through random failures, all cores (SEEDS=0:100000: first seed and how many)
	$(BIN)/python -m tests.simulation $(or $(SEEDS),0:100000)

prove-deliveries: .venv/.dev ## 30 kills of workers, 5 of the broker, 5 zombies: every word is read once (takes 15 minutes)
	MEDSTREAM_TEST_KILLS=30 MEDSTREAM_TEST_BROKER_KILLS=5 MEDSTREAM_TEST_ZOMBIES=5 \
		$(BIN)/pytest -s tests/integration/test_deliveries.py

prove-outage: .venv/.dev ## Three minutes without the service, fifty sessions: memory and losses
	MEDSTREAM_TEST_OUTAGE_SECONDS=180 $(BIN)/pytest -s tests/integration/test_outage.py

lint: .venv/.dev ## Ruff, strict types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/.dev ## Shipped packages against the database of known vulnerabilities (a notice where it cannot be reached)
	@$(BIN)/python -m tests.audit

format: .venv/.dev ## Let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev ## Us and the alternative in one run, as ratios
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.streams $(STREAMS)
	$(BIN)/python -m tests.benchmarks.deliveries
	$(BIN)/python -m tests.benchmarks.kafka_source
	$(BIN)/python -m tests.benchmarks.pipelines $(PIPELINES)

bench-pipelines: .venv/.dev ## Whole: a bare loop, embedded Flink, a cluster (PIPELINES="--sessions 100 --rounds 3 --png F")
	$(BIN)/python -m tests.benchmarks.pipelines $(PIPELINES)

bench-replay: .venv/.dev ## Record and replay: timing at speed 1, speed against a bare producer, a million records in bounded memory
	$(BIN)/python -m tests.benchmarks.record_replay $(REPLAY)

expected: .venv/.demo ## Write what `medstream test --example` expects, after a change of recogniser or recordings
	$(BIN)/medstream test --example --write-expected deploy/local/recordings/expected.json --overwrite

fuzz: .venv/.dev ## Fuzz codec, parsers and the endpoint's streams, outside CI (FUZZ_SECONDS=600 for all together)
	$(UV) run --frozen --no-sync --with atheris==3.0.0 python -m tests.fuzz --seconds $(FUZZ_SECONDS)

mutate: .venv/.dev ## A million damaged records to the deserialisers (RECORDS=1000000 SEED=1)
	$(BIN)/python -m tests.schemas.mutations --count $(or $(RECORDS),1000000) --seed $(or $(SEED),1)

outage: .venv/.dev ## A producer whose broker is stopped for a minute: memory and losses (OUTAGE_SECONDS=60)
	$(BIN)/python -m tests.benchmarks.broker_outage --seconds $(or $(OUTAGE_SECONDS),60)

soak-job: .venv/.dev ## A job on a Flink cluster for an hour: memory, heaps, checkpoints each minute (SOAK="--minutes 60")
	$(BIN)/python -m tests.benchmarks.job_soak $(SOAK)

soak: .venv/.dev ## 300 live streams of one process for ten minutes (STREAMS="--only websocket")
	$(BIN)/python -m tests.benchmarks.streams --streams 300 --seconds 600 $(or $(STREAMS),--only http2)

screens: .venv/.dev ## The README's pictures, taken of a real run (needs Debian's package chromium)
	$(BIN)/python -m deploy.local.screens

setup: .venv/.dev ## Create the virtual environment with everything for development

clean: ## Remove virtual environments and caches in the work tree (downloads in ~/.cache/medstream stay)
	rm -rf .uv .venv .medstream .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz

$(UV): Makefile $(UV_REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "medstream needs Python 3.11 or newer; '$(PYTHON)' is older. Set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -m venv --clear .uv \
		|| { echo "Python's venv module is incomplete; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(UV_REQUIREMENTS)
	@touch $(UV)

.venv/.demo: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --inexact --no-dev --extra local --extra web --python $(PYTHON)
	@touch $@

.venv/.dev: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --extra local --extra otel --extra web --extra dev --python $(PYTHON)
	@touch $@ .venv/.demo
