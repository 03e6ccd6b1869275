# Everything a person types while working on the engine. `make help` lists it.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
COMPILE := uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header
PIP   := $(BIN)/python -m pip install --disable-pip-version-check --no-input

# The Python that makes the virtual environment: the first of these that is 3.11 or newer and can make one. `make PYTHON=… venv` decides.
PYTHON_CANDIDATES := python3.13 python3.12 python3.11 python3 python3.14 python

.DEFAULT_GOAL := help
.PHONY: help venv up test check format proto mutants faults bench size rebuild-bench soak peak lock clean

help: ## lists what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(DEV_STAMP) ## makes .venv with all that tests and checks need (done by the others when needed)

up: $(STAMP) ## starts the engine with its servers and a small pool; Ctrl-C stops it all
	@exec $(BIN)/atp up

test: $(DEV_STAMP) ## runs all tests
	@$(BIN)/pytest

check: $(DEV_STAMP) ## lints, types, import rules, the contract, and whether generated code is current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/baseline.binpb
	$(BIN)/python proto/generate.py --check

format: $(DEV_STAMP) ## formats the code and sorts its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

proto: $(DEV_STAMP) ## generates inventory/ from proto/
	@$(BIN)/python proto/generate.py

mutants: $(DEV_STAMP) ## shows that sabotaged Lua is caught by the tests
	@$(BIN)/python -m tests.mutants

faults: $(DEV_STAMP) ## kills, stops and replaces servers under load, and judges what is left
	@$(BIN)/python -m tests.faults

bench: $(DEV_STAMP) ## measures speed and memory
	@$(BIN)/python -m benchmarks

size: $(DEV_STAMP) ## measures a million rows beside ten thousand: memory, load, starts, latency
	@$(BIN)/python -m benchmarks size

rebuild-bench: $(DEV_STAMP) ## measures making a million rows and a million entries again
	@$(BIN)/python -m benchmarks rebuild

soak: $(DEV_STAMP) ## ten minutes of steady life, and whether memory stays flat
	@$(BIN)/python -m benchmarks soak

peak: $(DEV_STAMP) ## puts the engine under the load of a flash sale for a minute, and judges it
	@$(BIN)/python -m loadtests

# Needs uv, and only the one who changes a dependency runs it.
lock: ## resolves pyproject.toml into the lock files
	$(COMPILE) --extra build --extra embedded pyproject.toml -o requirements.lock
	$(COMPILE) --extra trace -c requirements.lock pyproject.toml -o requirements-image.lock
	$(COMPILE) --extra build --extra embedded --extra load --extra trace --extra dev -c requirements.lock -c requirements-image.lock pyproject.toml -o requirements-dev.lock

clean: ## removes everything that can be made again; the data folder .atp stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock
	@set -e; \
	python="$(PYTHON)"; \
	for candidate in $(PYTHON_CANDIDATES); do \
	  if [ -n "$$python" ]; then break; fi; \
	  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3-venv); or say make PYTHON=/path/to/python3 up" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version); the first time this downloads about 40 MB."; \
	$$python -m venv --clear $(VENV); \
	$(PIP) -r requirements.lock; \
	$(PIP) --quiet --no-deps --no-build-isolation -e .; \
	touch $@

# What only tests and checks need, on top: `make up` does without.
$(DEV_STAMP): $(STAMP) requirements-dev.lock
	@$(PIP) -r requirements-dev.lock
	@touch $@
