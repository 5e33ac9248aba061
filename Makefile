# Every target works in a fresh clone: it makes the virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

demo: $(STAMP)
	$(BIN)/cpcd demo $(if $(KEEP),--keep)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest tests

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero .

clean:
	rm -rf $(VENV) dist .demo
