# The commands of the README. Each makes what it needs: a virtual environment, and what is installed in it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
KERNELS = paipa_etl/formats/kernels/_scan.pyx paipa_etl/formats/kernels/_document.pyx paipa_etl/metrics/_meter.pyx paipa_etl/runners/_fill.pyx

# How long a soak takes.
SOAK_MINUTES ?= 15

.PHONY: demo test soak bench dist clean

demo: $(VENV)/.installed
	$(BIN)/paipa-etl -v --debug fixtures/events.jsonl.gz out.jsonl
	@echo; echo "The first records of out.jsonl:"; head -n 3 out.jsonl | cut -c 1-160

test: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/run.py

soak: $(VENV)/.installed-test
	$(BIN)/python -W error tests/soak.py $(SOAK_MINUTES)

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/pairs.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/debugger.py
	$(BIN)/python benchmarks/stores.py

dist: $(VENV)/.installed-test
	$(BIN)/python -m build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/bin/python pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,all]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist out.jsonl *.egg-info
