# make demo    see an experiment defined, built, drawn, run and analysed
# make test    everything: what `make check` does, golden, example and real-component tests
# make check   the quick part: format, lint, types, import layers, unit tests
# make bench   speed and memory beside other tools (make bench BENCH=--quick: a minute or two)
# make bench-slurm   the same for Slurm, on a private cluster (needs root)
#
# Each installs what it needs below .venv; a second time it starts at once.

SHELL := /bin/sh
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
TEST_PACKAGES := graphviz mariadb-server-core munge shellcheck slurm-wlm slurmctld slurmd slurmdbd tmux
SHELL_SCRIPTS := $(wildcard .ci/* examples/*.sh repx/lab/expand/*.sh templates/*.sh)

# In CI a missing component is a failure, not a skipped test.
ifdef CI
export REPX_REQUIRE ?= graphviz,shellcheck,slurm,tmux
endif

.PHONY: demo test check bench bench-slurm lint packages clean

demo: .venv/.demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: packages lint
	$(BIN)/python -m pytest --timeout=300

check: lint
	$(BIN)/python -m pytest --quiet tests/unit

bench: .venv/.demo .venv/.peers
	$(BIN)/python bench/run.py $(BENCH)

bench-slurm: .venv/.dev .venv/.peers packages
	$(BIN)/python bench/slurm.py $(BENCH)

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi

packages:
	@.ci/packages $(TEST_PACKAGES) || { echo "tests that need them are skipped" >&2; test -z "$$CI"; }

.venv/.made:
	@echo "making .venv, once" >&2
	@.ci/venv
	@touch $@

.venv/.demo: .venv/.made pyproject.toml
	@echo "installing repx and what it needs into .venv, once" >&2
	@$(PIP) install --editable .
	@touch $@

# Only a recent pip knows dependency groups.
.venv/.dev: .venv/.made pyproject.toml
	@echo "installing repx, test and lint tools into .venv, once" >&2
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable . --group dev
	@touch $@ .venv/.demo

# The tools we compare with, as far as they can be had.
.venv/.peers: .venv/.made
	@echo "installing other tools into .venv/peers, once" >&2
	@$(BIN)/python -m venv .venv/peers
	-@.venv/peers/bin/python -m pip --disable-pip-version-check --quiet install doit snakemake snakemake-executor-plugin-slurm
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
