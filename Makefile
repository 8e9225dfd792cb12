# `make run` runs the main job on the synthetic corpus, `make test` runs the tests.
# Each target first creates the virtual environment in $(VENV).

# The first interpreter that is new enough. To choose another one: make run PYTHON=...
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Compiled modules are kept: the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-thorough test-all lint docs docs-serve wheel bench clean

run: $(STAMP)
	@$(BIN)/fer-ray quickstart

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-thorough: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m thorough

test-all: test test-thorough

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

bench: $(STAMP)
	$(BIN)/fer-ray synth corpus
	$(BIN)/python -m benchmarks.baseline --data corpus

clean:
	rm -rf $(VENV) build corpus dist runs

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV). This takes a few minutes the first time."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
