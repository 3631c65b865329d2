# make demo    see an experiment defined, built, drawn, run and analysed
# make test    everything: what `make check` does, golden, example and real-component tests
# make check   the quick part: format, lint, types, import layers, unit tests
# make lock    renew the versions of all that is installed, then run make test
# make bench   speed and memory beside other tools (make bench BENCH=--quick: a minute or two)
# make campaign   attacks, counted: kills, full disks, errors, mutated files (CAMPAIGN=--quick: minutes)
# make bench-runtimes   isolated jobs and unpacking beside the same by hand (needs root)
# make bench-slurm   the same for Slurm, on a private cluster (needs root)
#
# Each installs what it needs below .venv; a second time it starts at once.

SHELL := /bin/sh
BIN := .venv/bin
# $(call install,VENV,LOCK): install into a virtual environment, in the versions of .ci/LOCK.txt.
install = PIP_BUILD_CONSTRAINT=.ci/$(2).txt $(1)/bin/python -m pip --disable-pip-version-check \
	--quiet --no-input install --constraint .ci/$(2).txt
# Debian packages of the real components that tests need: tests/conftest.py, PROGRAMS.
TEST_PACKAGES += bubblewrap charliecloud docker.io podman runc uidmap
TEST_PACKAGES += graphviz
TEST_PACKAGES += environment-modules skopeo zstd
TEST_PACKAGES += jq nix-bin patchelf
TEST_PACKAGES += locales
TEST_PACKAGES += openssh-client openssh-server
TEST_PACKAGES += dash fish tcsh zsh
TEST_PACKAGES += shellcheck
TEST_PACKAGES += libmpich-dev mpich
TEST_PACKAGES += munge slurm-wlm slurmctld slurmd
TEST_PACKAGES += mariadb-server-core slurmdbd
TEST_PACKAGES += strace tmux
REAL_TESTS := tests/contract tests/real tests/nix
# More than one, for they mostly wait; few, for some look at the clock.
REAL_WORKERS := 3
# A machine under load can be too slow for a real test: it is tried once more, and the summary names it (RERUN).
RERUNS := --reruns 1 -raR
# What an old library warns of is no longer there in a new one.
TEST_LOWEST := .venv/lowest/bin/python -m pytest --quiet -n auto \
	-W default::DeprecationWarning tests/unit
SHELL_SCRIPTS := $(filter-out %.txt,$(wildcard .ci/*)) $(wildcard examples/*.sh repx/lab/expand/*.sh templates/*.sh)

# In CI a component that is missing is a failure, not a skipped test.
ifdef CI
export REPX_REQUIRE ?= all
endif

.PHONY: demo test check lock bench bench-runtimes bench-slurm campaign lint lowest packages clean

demo: .venv/.demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: packages lint .venv/.lowest
	$(BIN)/python -m pytest --timeout=300 -n auto tests/unit
	$(BIN)/python -m pytest --timeout=300 $(RERUNS) -n $(REAL_WORKERS) --dist loadgroup $(REAL_TESTS)
	$(TEST_LOWEST)

check: lint
	$(BIN)/python -m pytest --quiet -n auto -m "not slow" tests/unit

lock: .venv/.made
	$(call install,.venv,locked) --upgrade uv
	.ci/lock

bench: .venv/.demo .venv/.peers
	$(BIN)/python bench/run.py $(BENCH)

bench-slurm: .venv/.dev .venv/.peers packages
	$(BIN)/python bench/slurm.py $(BENCH)

bench-runtimes: .venv/.dev packages
	$(BIN)/python -m bench.runtimes

campaign: .venv/.dev
	$(BIN)/python -m campaign.run $(CAMPAIGN)

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi

lowest: .venv/.lowest
	$(TEST_LOWEST)

packages:
	@.ci/packages $(TEST_PACKAGES) || { echo "tests that need them are skipped" >&2; test -z "$$CI"; }

# Only a recent pip knows dependency groups and locks what builds.
.venv/.made:
	@echo "making .venv, once" >&2
	@.ci/venv
	@$(call install,.venv,locked) --upgrade pip
	@touch $@

.venv/.demo: .venv/.made pyproject.toml .ci/locked.txt
	@echo "installing repx and what it needs into .venv, once" >&2
	@$(call install,.venv,locked) --editable .
	@touch $@

.venv/.dev: .venv/.made pyproject.toml .ci/locked.txt
	@echo "installing repx, test and lint tools into .venv, once" >&2
	@$(call install,.venv,locked) --editable . --group dev
	@touch $@ .venv/.demo

# The oldest versions of what repx needs that pyproject.toml allows.
.venv/.lowest: .venv/.made pyproject.toml .ci/lowest.txt
	@echo "installing repx with its oldest dependencies into .venv/lowest, once" >&2
	@$(BIN)/python -m venv --clear .venv/lowest
	@$(call install,.venv/lowest,lowest) --upgrade pip
	@$(call install,.venv/lowest,lowest) --editable . --group test
	@touch $@

# The tools we compare with, as far as they can be had.
.venv/.peers: .venv/.made
	@echo "installing other tools into .venv/peers, once" >&2
	@$(BIN)/python -m venv .venv/peers
	-@.venv/peers/bin/python -m pip --disable-pip-version-check --quiet install doit snakemake snakemake-executor-plugin-slurm
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
