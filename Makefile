# make setup   everything into .venv, pinned        make demo    the whole way, in minutes
# make check   ruff, formatting, mypy               make test    the tests
# make bench   what the docs claim, measured here, in under 15 minutes
# make bench GROUP=growth      how cost grows; GROUP=long: what takes minutes each; GROUP=gpu: on a GPU, in 8 minutes
PYTHON ?= python3
GROUP ?= cpu
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup demo check test bench format clean

setup: $(INSTALLED)

# torch first and alone: whatever asks for it later finds the pinned one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hangtag needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,check]'
	@touch $@

demo: setup
	$(BIN)/hangtag demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

bench: setup
	$(BIN)/python benchmarks/run.py $(GROUP)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv runs data
