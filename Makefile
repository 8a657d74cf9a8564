# make demo    set up, then a map, a report and an honest accuracy table from a simulated scene
# make test    set up, then the fast tests, by two processes (or as many as JOBS says)
# make docs    set up, then the documentation site in docs/_build/html; warnings are errors
# make fuzz    read spoilt files of every format for SECONDS (600) and keep what is found
# make check   format, lint, types and doctests
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2
SECONDS ?= 600
# Modules stay in one process, as their tests share runs; each process has one thread.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope

.PHONY: help setup demo test test-slow docs fuzz check format clean

help:
	@sed -n 's/^# //p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 was not found; install Python 3.11, 3.12 or 3.13." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, found $$($(PYTHON) --version 2>&1); name another with make PYTHON=python3.12." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; install it (on Debian: apt-get install python3-venv)." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once; a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || \
		{ echo "The packages of pyproject.toml could not be installed; is a package index reachable?" >&2; exit 2; }
	@touch $(READY)

demo: $(READY)
	@$(BIN)/hypercover demo

test: $(READY)
	$(PARALLEL) -m 'not slow'

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow -q

docs: $(READY)
	@$(BIN)/python -c 'import myst_nb' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@rm -rf docs/reference/generated  # pages of names that are gone would be warned of
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/fuzz/mutants.py --seconds $(SECONDS)

check: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(PARALLEL) --doctest-modules src
	$(PARALLEL) --doctest-glob='*.md' README.md docs

format: $(READY)
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv build dist docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
