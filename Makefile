# Two commands on a fresh machine: `make repro` (the whole demo benchmark) and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
# Stages call `python`, so the environment's own comes first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
JOBS ?= 0

.PHONY: repro test lint bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make repro   set up .venv, run the benchmark of params.yaml, say where the report lies"
	@echo "make test    set up .venv, run the tests"
	@echo "make lint    ruff and mypy"
	@echo "make bench   tables of times; benchmarks/README.md has the commands for ratios and memory"

# pydensecrf exists as a source package only, and its generated C++ is older than Python 3.11:
# it is compiled anew with Cython 0.29 (about half a minute).
$(VENV)/.run: pyproject.toml constraints.txt build-constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "error: Python 3.11 is not installed; type: sudo apt install python3.11 python3.11-venv python3.11-dev g++"; exit 2; }
	@test -x $(VENV)/bin/python || "$(PYTHON)" -m venv $(VENV) || { echo "error: cannot make $(VENV); type: sudo apt install python3.11-venv"; exit 2; }
	python -m pip install --quiet --constraint constraints.txt --upgrade pip
	CYTHON_FORCE_REGEN=1 python -m pip install --quiet --constraint constraints.txt --build-constraint build-constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	CYTHON_FORCE_REGEN=1 python -m pip install --quiet --constraint constraints.txt --build-constraint build-constraints.txt --editable '.[test]'
	@touch $@

repro: $(VENV)/.run
	python -m pipeline repro --jobs $(JOBS)

test: $(VENV)/.test
	python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder --cov --cov-report term:skip-covered

lint: $(VENV)/.test
	ruff check .
	ruff format --check .
	mypy --strict pipeline stages

bench: $(VENV)/.test
	python -m pytest benchmarks --benchmark-only --benchmark-columns median,rounds --import-mode importlib

clean:
	rm -rf $(VENV) .checkpoints .pytest_cache .mypy_cache .ruff_cache
