# One word for each thing that one does with this tree. Every target sets up what it needs first and is
# silent about it when nothing is missing. `make` alone lists them.

# The stamps carry the tree's place: a venv doesn't survive a move, so a copied tree makes its own.
HERE  := $(shell pwd -P | cksum | cut -d' ' -f1)
VENV  := .venv
PY    := $(VENV)/bin/python
READY := $(VENV)/.ready-dev-$(HERE)
BENCH := $(VENV)/.ready-bench-$(HERE)

# More words for pytest: make test PYTEST="-n 2 -k runner"
PYTEST ?=

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench ci format venv clean openssh accounts faults soak chaos test-plain

help:
	@echo 'make demo      1,000 jobs over two real SSH hosts on this machine'
	@echo 'make test      the tests that take seconds (PYTEST="..." adds words for pytest)'
	@echo 'make test-all  every test, those about rights and processes also as a plain user (make test-plain)'
	@echo 'make check     formatting, lint, types, layers'
	@echo 'make ci        check, then test'
	@echo 'make faults    hostler injured in every way we know; one table, which must be zeros'
	@echo 'make soak      twenty minutes of killed controllers and cut lines'
	@echo 'make chaos     ten minutes of everything at once'
	@echo 'make bench     every benchmark; tables and plots in benchmarks/results/'
	@echo 'make format    let ruff rewrite what it can'
	@echo 'make clean     remove caches and built files (the virtual environment stays)'

demo: $(READY)
	@tools/need --wish sshd=openssh-server ssh=openssh-client
	@tools/demo

# Three at once on two cores: tests wait for hosts, clocks and disks more than they compute.
test: $(READY) openssh accounts
	@$(PY) -m pytest -n 3 -m 'not slow' $(PYTEST)

test-all: $(READY) openssh accounts
	@HYPOTHESIS_PROFILE=wide $(PY) -m pytest -n 3 $(PYTEST)
	@[ "$$(id -u)" != 0 ] || $(MAKE) --no-print-directory test-plain

# Suites in which it matters who one is; root may do what others may not, and so notices less.
PLAIN := $(wildcard $(addprefix tests/integration/test_, sandbox*.py runner_*.py attempt_*.py store_*.py ssh_*.py security_*.py \
	settings_command.py batch_crash.py batch_local.py batch_signals*.py batch_bad_*.py postgres_store.py copying*.py))

test-plain: $(READY) openssh accounts
	@tools/plain $(PY) -m pytest -p no:cacheprovider -n 2 $(PYTEST) $(PLAIN)

check: $(READY)
	@$(PY) -m ruff format --check --quiet --diff .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

# Test comes last, so that the output ends with pytest's own summary.
ci:
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory test

# More words for tools/faults: make faults FAULTS="crash --seed 7"
FAULTS ?=

faults: $(READY) openssh accounts
	@tools/need --wish strace=strace nft=nftables ip=iproute2
	@tools/faults $(FAULTS)

soak chaos: $(READY) openssh
	@tools/faults --under $@ $(FAULTS)

bench: $(BENCH) openssh
	@tools/need --wish parallel=parallel xargs=findutils
	@tools/bench

format: $(READY)
	@$(PY) -m ruff check --quiet --fix .
	@$(PY) -m ruff format .

venv: $(READY)
	@:

openssh:
	@tools/need sshd=openssh-server ssh=openssh-client

accounts:
	@tools/need --wish fish=fish tcsh=tcsh zsh=zsh sudo=sudo strace=strace pg_ctlcluster=postgresql tmux=tmux

$(READY): pyproject.toml tools/setup
	@tools/setup $(VENV) dev $@

$(BENCH): pyproject.toml tools/setup
	@tools/setup $(VENV) dev,bench $@

clean:
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
