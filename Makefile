# Needs python3 (3.11 or newer), git and make; everything else goes into .venv, at the versions and hashes of
# requirements.lock. `make PYTHON=python3.12 …` takes another interpreter.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEMO := $(if $(ROOT),demo-ravdess,demo)
DEMOS := results/demos

.PHONY: install demo test check perf lock clean

install: $(STAMP)  ## into .venv; again only after a change of the lock file or of pyproject.toml

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: install  ## a searched, sealed comparison of all families; `make demo ROOT=…` on RAVDESS, at the same budget
	rm -rf $(DEMOS)/$(DEMO)  # not in results/, whose openings.csv counts what studies opened
	$(BIN)/serbench run benchmark/studies/demo.yaml --name $(DEMO) --out $(DEMOS) \
		$(if $(ROOT),--corpus ravdess --root "$(ROOT)")

test: install  ## everything but the measurements
	$(BIN)/pytest -m "not perf"

check: install  ## formatting, lint, types, layers, quick tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -m "not slow and not perf"

perf: install  ## measure, minutes: prints and writes the table of tests/perf/README.md
	$(BIN)/pytest -q -m perf
	$(BIN)/python tests/perf

lock: install  ## write requirements.lock anew from pyproject.toml, keeping the versions that still fit
	$(BIN)/uv pip compile pyproject.toml --quiet --extra dev --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock

clean:  ## what can be made again; bundles stay, but for the demo's
	rm -rf .venv *.egg-info build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache $(DEMOS)
