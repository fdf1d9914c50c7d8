# `make` alone shows what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/requirements.lock
NEEDS := pyproject.toml $(LOCK)
# Tests that run at a time; 0: one, and no process between it and the terminal.
AT_ONCE := 2

.DEFAULT_GOAL := help
.PHONY: help run test test-kafka faults lint bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Run everything on this machine: broker, store, worker, simulated switches
	@$(BIN)/ecounters run

# A file's tests stay together, for they share what they start; the last files are of short tests.
PYTEST := $(BIN)/pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test ## Lint, types and all tests: what has to pass
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST)

# Where the system has no Java that will do, pip has one.
test-kafka: $(VENV)/.test ## The integration tests on Apache Kafka, fetched by Maven
	@[ "$$ECOUNTERS_TEST_KAFKA" = off ] || $(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[kafka]'
	ECOUNTERS_TEST_FAULTS=1 $(BIN)/python -m tests.support.kafka -- $(PYTEST) tests/faults tests/integration \
	  $(patsubst %,--ignore=tests/integration/test_%.py,$(NOT_OF_KAFKA))

# What no broker makes a difference to, or what has one of its own: `make test` has these.
NOT_OF_KAFKA := dashboard throttled_login http_errors http_limits openapi reply_compression run accounts sessions sessions_without_redis push push_server
FAULTS := # options of `make faults`: FAULTS="--seed 2 --only zombie --scale 0.5"

faults: $(VENV)/.test ## The long run: faults on a cluster of three Apache Kafkas, and a table of what differed
	@$(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[kafka]'
	$(BIN)/python -m tests.faults $(FAULTS)

lint: $(VENV)/.test ## Lint and types alone; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.test ## Measure events a second
	$(BIN)/python -m tests.bench

clean: ## Remove what was made, but for the data of `make run`
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: $(PYTHON) is not. Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python $(NEEDS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[embedded]'
	@touch $@

$(VENV)/.test: $(VENV)/.python $(NEEDS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[embedded,test]'
	@touch $@ $(VENV)/.run
