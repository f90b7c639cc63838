# Two commands: make demo, make test. Once installed, both work offline.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PARALLEL := --numprocesses 2 --dist worksteal --quiet
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# What an extra brings, a line each; the package itself is there already.
extra = $(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$(1)'], sep='\n')"
# Two processes of two threads each would get into each other's way.
test-package test-bench test-fast docs: export OMP_NUM_THREADS := 1

.PHONY: help demo test check test-package test-bench test-fast test-napari test-browser test-pipelines docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    restore the shipped samples, adapt, restore again; pictures and report in demo/"
	@echo "make test    lint, format check, types, tests"
	@echo "make test-fast    the tests that are not slow"
	@echo "make test-napari  the tests of the plug-in for napari, which is installed for them"
	@echo "make test-browser the tests of the web page in Chromium, which has to be there"
	@echo "make test-pipelines  run the Snakemake rule, lint the Galaxy wrapper; both are installed for it"
	@echo "make docs     build these pages into site/, run their tutorials"
	@echo "make clean   remove virtual environments, demo/, site/ and caches"

$(STAMP): pyproject.toml constraints.txt
	@echo "Making the virtual environment .venv"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 15) or sys.exit(f"expected Python 3.11 to 3.14, got {v[0]}.{v[1]}; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@echo "Installing MicroscopyGAN and what it needs (minutes, once)"
	@$(INSTALL) --editable ".[train,dev]"
	@touch $@

demo: $(STAMP)
	@echo "Running the demo into demo/"
	@$(BIN)/microscopygan demo -o demo --overwrite

test: check test-package test-bench

check: $(STAMP)
	@echo "Checking lint (ruff check)"
	@$(BIN)/ruff check .
	@echo "Checking format (ruff format)"
	@$(BIN)/ruff format --check .
	@echo "Checking types (mypy)"
	@$(BIN)/mypy

test-package: $(STAMP)
	@echo "Running the tests (pytest)"
	@$(BIN)/pytest $(PARALLEL)

test-bench: $(STAMP)
	@echo "Running the tests of the benchmarks (pytest)"
	@cd bench && ../$(BIN)/pytest $(PARALLEL)

test-fast: $(STAMP)
	@$(BIN)/pytest $(PARALLEL) -m "not slow"
	@cd bench && ../$(BIN)/pytest $(PARALLEL) -m "not slow"

.venv/.napari: $(STAMP) constraints-napari.txt
	@echo "Installing napari (minutes, once)"
	@$(call extra,napari) | $(INSTALL) --constraint constraints-napari.txt --requirement /dev/stdin PyQt6
	@touch $@

test-napari: .venv/.napari
	@$(BIN)/pytest --quiet tests/apps/napari

.venv/.browser: $(STAMP) constraints-browser.txt
	@echo "Installing Playwright (once)"
	@$(INSTALL) --constraint constraints-browser.txt playwright
	@touch $@

test-browser: .venv/.browser
	@$(BIN)/pytest --quiet tests/apps/web/test_page.py

.venv-pipelines/.installed: Makefile
	@echo "Installing Snakemake and Galaxy's lint (a minute, once)"
	@$(PYTHON) -m venv .venv-pipelines
	@.venv-pipelines/bin/python -m pip install --quiet --disable-pip-version-check \
		snakemake==9.27.1 galaxy-tool-util==26.1.2
	@touch $@

test-pipelines: $(STAMP) .venv-pipelines/.installed
	@$(BIN)/pytest --quiet tests/test_pipelines.py

.venv/.docs: $(STAMP) constraints-napari.txt constraints-docs.txt
	@echo "Installing Sphinx (once)"
	@$(call extra,docs) | $(INSTALL) --constraint constraints-napari.txt \
		--constraint constraints-docs.txt --requirement /dev/stdin
	@touch $@

docs: .venv/.docs
	@echo "Building the documentation into site/html/"
	@rm -rf site
	@$(BIN)/sphinx-build --builder html --quiet --fail-on-warning --jobs 2 docs site/html

clean:
	@echo "Removing virtual environments, demo/, site/ and caches"
	@rm -rf .venv .venv-pipelines demo site .mypy_cache $(foreach d,. bench,$(d)/.ruff_cache $(d)/.pytest_cache $(d)/.hypothesis)
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
