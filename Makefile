# One word a chore, the same by hand and in CI. `make` lists them.

PYTHON ?= python3
PORT ?= 8000
PIP_ARGS ?=
TORCH ?=
ARGS ?=

BIN = .venv/bin
INSTALLED = .venv/.installed
INSTALLED_DEV = .venv/.installed-dev
INSTALLED_FROM = pyproject.toml constraints.txt scripts/install

.DEFAULT_GOAL = help
.PHONY: help demo test test-slow coverage lint docs bench conformance conformance-saes retrain-demo clean
.DELETE_ON_ERROR:

help: ## List the chores
	@echo 'make CHORE [VARIABLE=value ...]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: PYTHON (3.11 or later), PORT of the demo, ARGS for pytest or the benchmarks,'
	@echo '  TORCH=cpu for the small PyTorch on Linux, PIP_ARGS for pip (CONTRIBUTING.md has examples)'

# The environment is made again only when what it is made from has changed.
# The demo needs what Scopeview runs with; every other chore needs the tools of development too.
$(INSTALLED): $(INSTALLED_FROM)
	PIP_ARGS='$(PIP_ARGS)' TORCH='$(TORCH)' scripts/install '$(PYTHON)'
	touch $@

$(INSTALLED_DEV): $(INSTALLED_FROM)
	PIP_ARGS='$(PIP_ARGS)' TORCH='$(TORCH)' scripts/install '$(PYTHON)' dev
	touch $(INSTALLED) $@

demo: $(INSTALLED) ## Build the demo index once and serve it on 127.0.0.1:8000
	$(BIN)/scopeview demo --port $(PORT)

# One thread a worker: two workers with two threads each would fight for the cores.
test: $(INSTALLED_DEV) ## Run the tests, but for the slow ones; installs Chromium and nginx where they are missing
	CHROMIUM="$$(scripts/chromium --install)" && export CHROMIUM && \
	  NGINX="$$(scripts/nginx --install)" && export NGINX && \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(or $(ARGS),-m 'not slow')

test-slow: ## Run the slow tests: every control of every page, runs killed at many moments
	$(MAKE) test ARGS='-m slow $(ARGS)'

coverage: ## Run every test and print which lines none of them reaches
	$(MAKE) test ARGS='--cov --cov-report=term:skip-covered $(ARGS)'

lint: $(INSTALLED_DEV) ## Check style, formatting and types, and the scripts of pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings static
	$(BIN)/mypy

docs: $(INSTALLED) ## Build the documentation site into build/docs; a broken link fails it
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt --no-build-isolation -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(INSTALLED_DEV) ## Run a benchmark: ARGS=build, ARGS=serving, ...; without ARGS it lists them
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt --no-build-isolation -e '.[bench]'
	$(BIN)/python -m bench $(ARGS)

conformance: $(INSTALLED_DEV) ## Compare with the CLIP-Scope authors' own package
	scripts/conformance

conformance-saes: $(INSTALLED_DEV) ## Compare with sae-lens, sparsify and others on the SAE files that they write
	scripts/conformance-saes

retrain-demo: $(INSTALLED_DEV) ## Make the demo's model and its card again from nothing (an hour on a CPU)
	scripts/retrain-demo

clean: ## Remove caches and build products (.venv, uploads and indexes stay)
	rm -rf build dist artifacts *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
