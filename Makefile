PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 5000
ARGS ?=

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv/$(or $(VERSION),none)
RUN := $(VENV)/bin/python

# The uv on PATH if it can install dependency groups, else one of our own.
UV = $(shell if uv pip install --help 2>/dev/null | grep -q -e --group; then echo uv; else echo $(VENV)/bin/uv; fi)
INSTALL = UV_PYTHON_DOWNLOADS=never $(UV) pip install --quiet --python $(VENV) --constraint constraints.txt --editable '.[yaml]'

.DEFAULT_GOAL := help
.PHONY: help demo test check format coverage docs bench bench-instructions soak constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON, HOST, PORT can be set, and ARGS for the tool that runs:"
	@echo "  PYTHON=python3.13 make test ARGS='-k pool'"

demo: $(VENV)/.demo ## run the example app on http://127.0.0.1:5000
	@cd examples/notebook && ../../$(RUN) -m flask --app notebook init-demo
	@cd examples/notebook && exec ../../$(RUN) -m flask --app notebook run --debug --host '$(HOST)' --port '$(PORT)' $(ARGS)

test: $(VENV)/.test ## run all tests on PYTHON
	$(RUN) -m pytest $(ARGS)

check: $(VENV)/.dev ## ruff, import-linter, mypy and pyright
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(VENV)/bin/lint-imports --no-cache --no-logo
	$(RUN) -m mypy
	$(RUN) -m mypy examples/notebook
	$(RUN) -m mypy examples/blog
	$(RUN) -m pyright --pythonpath $(RUN)

format: $(VENV)/.dev ## let ruff put the code in order
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

coverage: $(VENV)/.test ## run all tests and show which lines they miss
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

docs: $(VENV)/.docs ## build the documentation into docs/_build/html
	$(RUN) -m sphinx --fail-on-warning --keep-going --builder html $(ARGS) docs docs/_build/html

bench: $(VENV)/.bench ## run the benchmarks
	$(RUN) benchmarks/bench.py $(ARGS)

bench-instructions: $(VENV)/.bench ## count CPU instructions (needs valgrind)
	$(RUN) benchmarks/instructions.py $(ARGS)

soak: $(VENV)/.bench ## run the load for a long time
	$(RUN) benchmarks/soak.py $(ARGS)

constraints: $(VENV)/.base ## write constraints.txt anew, with the newest versions
	UV_PYTHON_DOWNLOADS=never $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--all-extras --group dev --group docs --group bench --group servers --group workers \
		pyproject.toml --output-file constraints.txt

clean: ## remove what was installed and built (the notes of the demo stay)
	rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find src tests examples docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not that: say which, as in PYTHON=python3.13 make test" >&2; exit 1; }
	@echo "Setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@test '$(UV)' = uv || $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(VENV)/.demo: $(VENV)/.base pyproject.toml constraints.txt
	@echo "Installing the package"
	@$(INSTALL)
	@touch $@

$(VENV)/.test $(VENV)/.dev $(VENV)/.docs: $(VENV)/.base pyproject.toml constraints.txt
	@echo "Installing the package and the tools for: $(@F:.%=%)"
	@$(INSTALL) --group $(@F:.%=%)
	@touch $@

$(VENV)/.bench: $(VENV)/.base pyproject.toml constraints.txt
	@echo "Installing the package and what the benchmarks compare it with"
	@$(INSTALL) --group bench --group servers
	@touch $@
