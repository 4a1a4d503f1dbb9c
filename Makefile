# The same verbs on every machine and in CI. The first call installs what is missing.
ifdef NEWEST
VENV := .venv-newest
else ifdef OLDEST
VENV := .venv-oldest
LOCK := .ci/requirements-oldest.txt
else
VENV := .venv
LOCK := .ci/requirements-dev.txt
endif
BIN := $(VENV)/bin
# Programs that some tests are run against, most of them large: a browser, Helm, CEL, promtool, curl.
PEERS := $(if $(NEWEST)$(OLDEST),,$(VENV)/.peers promtool chromium curl)
SOURCES := $(shell find reconciler templates -name '*.py' -o -name '*.j2' -o -name '*.lua' -o -name py.typed -o -name '*.html') setup.cfg pyproject.toml README.md

# For tests alone: each nginx that they start reads some ten maps, and for each map it allocates 1.6 MB and frees it
# again. Here malloc keeps what is freed, which halves the time that a small tree takes to load.
MALLOC := MALLOC_TRIM_THRESHOLD_=100000000 MALLOC_MMAP_THRESHOLD_=100000000 MALLOC_TOP_PAD_=1000000

# Debian installs nginx in a folder that is not on a plain user's PATH.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

help: ## Show the verbs.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.wheel nginx ## Replay a recorded cluster through a real nginx and show requests being routed. KEEP=1 leaves nginx serving.
	@PYTHONPATH=tests $(BIN)/python -P tests/support/demo.py $(if $(KEEP),--keep)

test: $(VENV)/.wheel nginx $(PEERS) ## Run all tests against the built wheel. ARGS= goes to pytest; PEERS= leaves out what needs large programs.
	$(MALLOC) $(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS)

versions: export EXAMPLES := $(or $(EXAMPLES),3)
versions: ## Run all tests with the newest packages that setup.cfg allows, then with the oldest; EXAMPLES= (3) times as many examples of property tests.
	$(MAKE) --no-print-directory test NEWEST=1
	$(MAKE) --no-print-directory test OLDEST=1

check: $(VENV)/.tools ## Lint, and check the types and the order of the modules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports setup.cfg --no-logo

bench: $(VENV)/.wheel nginx ## Run the benchmarks; docs/benchmarks.md says how to read the results.
	$(BIN)/pytest tests/bench --benchmark-enable --benchmark-only --benchmark-sort=name --benchmark-columns=min,median,max $(ARGS)

fixtures: $(VENV)/.wheel nginx ## Write the expectations of fixtures/, docs/commands.md and the rules of overlays/monitoring anew; read the difference before you commit it.
	$(BIN)/pytest tests/test_fixtures.py tests/test_reference.py tests/test_monitoring.py --rewrite

docs: $(VENV)/.wheel ## Build the documentation in site/, and check its links; site/index.html opens without a server.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean --config-file .ci/mkdocs.yml

fuzz: $(VENV)/.fuzz ## Look for inputs that break readers of outside text, FUZZ_SECONDS= (60) each; they are in .fuzz/.
	@mkdir -p .fuzz
	@for target in annotations certificates cluster endpoints published recording; do \
		PYTHONPATH=tests:tests/fuzz $(BIN)/python tests/fuzz/harness.py $$target -max_total_time=$(or $(FUZZ_SECONDS),60) \
			>.fuzz/$$target.log 2>&1 || { tail -40 .fuzz/$$target.log; exit 1; }; \
		sed -n "s/^stat::number_of_executed_units: */$$target: nothing broke, of inputs: /p" .fuzz/$$target.log; \
	done

image: ## Build the container image dispatcher:dev.
	$(shell command -v podman || command -v docker || echo docker) build -t dispatcher:dev .

lock: $(VENV)/.supply ## Write the locks anew; ARGS=--upgrade takes the newest versions that setup.cfg allows.
	@.ci/lock $(BIN)/uv $(ARGS)

audit: $(VENV)/.supply ## Look up known vulnerabilities of the image's packages; needs a network.
	@$(BIN)/python .ci/audit.py $(BIN)/pip-audit

clean: ## Remove what the other verbs installed and built.
	rm -rf .venv .venv-newest .venv-oldest build dist site *.egg-info

nginx chromium curl:
	@.ci/setup $@

promtool: $(VENV)/.tools
	@.ci/setup promtool $(BIN)

# With NEWEST=1 pip looks at the index each time. Otherwise it installs what a lock names, by its hashes.
$(VENV)/.tools: $(LOCK) setup.cfg .ci/setup $(if $(NEWEST),always)
	@.ci/setup venv $(VENV)
	@.ci/setup packages $(VENV) $(if $(NEWEST),--upgrade setuptools ".[test]" ".[docs]",--no-deps --require-hashes --requirement $(LOCK))
	@touch $@

$(VENV)/.supply: $(VENV)/.tools
	@.ci/setup packages $(VENV) ".[supply]"
	@touch $@

$(VENV)/.peers: $(VENV)/.tools .ci/requirements-peers.txt
	@.ci/setup packages $(VENV) --no-deps --require-hashes --requirement .ci/requirements-peers.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.wheel
	@.ci/setup packages $(VENV) "$$(ls dist/*.whl)[fuzz]"
	@touch $@

# The tests run against what is shipped: the wheel, not the checkout.
$(VENV)/.wheel: $(VENV)/.tools $(SOURCES)
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir dist .
	@.ci/setup packages $(VENV) --no-deps --no-index --force-reinstall dist/*.whl
	@touch $@

.PHONY: help demo test versions check bench fixtures docs fuzz image lock audit clean nginx promtool chromium curl always
