# Two commands set everything up: `make run` runs the main job, `make test` the tests.
# The first of these that runs and is new enough; or make run PYTHON=…
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test test-all lint bench clean

run: $(STAMP)
	$(BIN)/fer-ray synth corpus
	$(BIN)/fer-ray run --data corpus --out runs/corpus --beyond --backbone dlib_resnet

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(STAMP)
	$(BIN)/python -m pytest -m ""

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/fer-ray synth corpus
	$(BIN)/python -m benchmarks.baseline --data corpus

clean:
	rm -rf $(VENV) corpus runs

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dlib-bin,dev]'
	touch $@
