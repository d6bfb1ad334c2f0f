# One command each: `make demo` runs alanine dipeptide from PDB to DCD, `make test` passes the tests.
# TORCH_INDEX=URL installs torch from a wheel index of your choice, for example a CPU build.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
TORCH_INDEX ?=
LOWEST := .venv-lowest
RUN := runs/alanine_dipeptide

.PHONY: demo test test-fast test-lowest lint docs docs-test lock clean

demo: $(VENV)/.installed
	$(BIN)/spacetime-tps run alanine_dipeptide -o $(RUN) --resume

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2

test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 -m "not whole"

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 -m "not whole"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

docs-test: $(VENV)/.installed-dev
	SPACETIME_TPS_WHOLE_DOCS=1 $(BIN)/python -m pytest -n 2 tests/test_docs.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

$(LOWEST)/.installed: pyproject.toml constraints.txt scripts/lowest_versions.py
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python scripts/lowest_versions.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --constraint constraints.txt torch
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/lowest.txt --editable '.[hdf5,tensorboard,test,tica]'
	touch $@

lock: $(VENV)/.installed-dev
	$(PIP) install --quiet uv
	$(BIN)/python scripts/lock_versions.py

clean:
	rm -rf $(VENV) $(LOWEST) docs/_build build dist .pytest_cache .ruff_cache .mypy_cache
