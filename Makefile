# One vocabulary, on every machine and in CI. The first call installs what is missing.
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find reconciler templates -name '*.py' -o -name '*.j2' -o -name py.typed) setup.cfg pyproject.toml README.md

# Debian keeps nginx where a plain user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

help: ## Show the verbs.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.wheel nginx ## Replay a recorded cluster through a real nginx and show requests being routed. KEEP=1 leaves it serving.
	@PYTHONPATH=tests $(BIN)/python -P tests/demo.py $(if $(KEEP),--keep)

test: $(VENV)/.wheel nginx ## Run all tests against the built wheel. ARGS= goes to pytest.
	$(BIN)/pytest $(ARGS)

check: $(VENV)/.tools ## Lint, check types and the order of the modules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg --no-logo

bench: $(VENV)/.wheel nginx ## Measure; docs/benchmarks.md says how to read it.
	$(BIN)/pytest tests/bench --benchmark-enable --benchmark-only --benchmark-sort=name --benchmark-columns=min,median,max $(ARGS)

fixtures: $(VENV)/.wheel nginx ## Write the expectations of fixtures/ anew; read the difference before you commit it.
	$(BIN)/pytest tests/test_fixtures.py --rewrite

image: ## Build the container image dispatcher:dev.
	$(shell command -v podman || command -v docker || echo docker) build -t dispatcher:dev .

clean: ## Remove what the other verbs made.
	rm -rf $(VENV) build dist *.egg-info

nginx:
	@.ci/setup nginx

$(VENV)/.tools: setup.cfg .ci/setup
	@.ci/setup venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ".[check,test]"
	@touch $@

# The tests run against what is shipped: the wheel, not the checkout.
$(VENV)/.wheel: $(VENV)/.tools $(SOURCES)
	@rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	@touch $@

.PHONY: help demo test check bench fixtures image clean nginx
