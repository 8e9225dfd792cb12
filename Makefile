# Two commands set everything up: `make run` runs the main job, `make test` the tests.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test test-all lint bench clean

run: $(STAMP)
	$(BIN)/fer-ray synth corpus
	$(BIN)/fer-ray run --data corpus --out runs/corpus --backbone dlib_resnet

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
