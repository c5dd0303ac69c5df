# ChillFlow from a clone: only a Python (3.11 to 3.13) and an index for pip are needed. `make` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
IMAGE ?= chillflow:dev
TOO_OLD := "ChillFlow needs Python 3.11 to 3.13, but %s is %s.\nName another one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test soak test-compose test-k8s lint actionlint audit bench schemas image secrets wheel lock upgrade clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: .venv/.stamp ## make .venv with chillflow and all that it needs, as requirements.lock pins it
	@:

demo: setup ## a month by file, the next as events, both compared, and a report; with services that need no installation
	@$(BIN)/python -m chillflow.demo

test: setup ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-k8s: setup ## deploy to the Kubernetes of kubectl's context and test there (docs/kubernetes.md)
	@CHILLFLOW_TEST_KUBERNETES=$${CHILLFLOW_TEST_KUBERNETES:-delete} $(BIN)/python -m pytest -x --durations=0 -s tests/deploy

soak: setup ## simulate 20,000 seeds of faults (an hour); a failing one is named, and replays exactly
	@CHILLFLOW_TEST_SEEDS=$${CHILLFLOW_TEST_SEEDS:-20000} $(BIN)/python -m pytest -q \
	    tests/recovery/test_simulation.py tests/recovery/test_coordinated.py

lint: setup ## ruff and mypy; the linters of shell, YAML, Dockerfile, Compose and workflows
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/yamllint --strict .
	@$(BIN)/shellcheck .ci/run cluster/*.sh
	@$(BIN)/hadolint cluster/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/zizmor --quiet --offline --persona pedantic .github

actionlint: ## lint the workflows more closely; needs Go
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

bench: setup ## measure start, curation, memory and load beside their peers (three minutes); MONTH names a real file to curate
	@$(BIN)/python -m benchmarks $(if $(MONTH),--file "$(MONTH)")

schemas: setup ## write what docs/ tells of the code anew: the events' JSON Schemas, the table of measures
	@$(BIN)/python -m chillflow.event_schemas docs/schemas
	@$(BIN)/python -m chillflow.kpi_page docs/kpis.md

test-compose: setup image ## run compose.yaml, the demo's jobs on it, and kill each of its services; needs Docker
	@CHILLFLOW_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/compose

image: ## build the container image chillflow:dev (IMAGE names another, BASE another base image)
	@docker build --file cluster/Dockerfile --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE)) \
	    --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	    --build-arg REVISION=$$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown) .

secrets: ## make .secrets, passwords and token of compose.yaml, where there are none
	@sh cluster/secrets.sh

audit: ## ask the package index whether what is pinned has known vulnerabilities
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp"; \
	"$$tmp/bin/python" -m pip --disable-pip-version-check --no-input --quiet install pip-audit; \
	"$$tmp/bin/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock

wheel: ## build dist/: the wheel and the source archive; and try the wheel in an environment of its own
	@rm -rf dist; set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp"; \
	pip="$$tmp/bin/python -m pip --disable-pip-version-check --no-input --quiet"; \
	$$pip install build; \
	$$pip install --require-hashes --no-deps -r cluster/build.lock; \
	"$$tmp/bin/python" -m build --no-isolation --outdir dist . >/dev/null; \
	$$pip install --require-hashes --no-deps -r cluster/requirements.lock; \
	$$pip install --no-deps --no-index dist/*.whl; \
	cd "$$tmp" && bin/chillflow --version && bin/python -m pip check
	@ls -l dist

upgrade: LOCK_OPTIONS = --upgrade
upgrade: lock ## pin all dependencies at their newest

lock: ## pin what pyproject.toml asks for, for every Python and platform; what is pinned already stays
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp"; \
	"$$tmp/bin/python" -m pip --disable-pip-version-check --no-input --quiet install uv; \
	index=$${PIP_INDEX_URL:-$$("$$tmp/bin/python" -m pip config get global.index-url 2>/dev/null || true)}; \
	pin() { env $${index:+UV_DEFAULT_INDEX="$$index"} "$$tmp/bin/uv" pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header "$$@"; }; \
	pin --extra embedded --extra report --extra dev $(LOCK_OPTIONS) pyproject.toml -o requirements.lock; \
	pin --constraint requirements.lock --extra report pyproject.toml -o cluster/requirements.lock; \
	echo hatchling | pin --constraint requirements.lock --no-annotate - -o cluster/build.lock

clean: ## remove .venv and caches; .chillflow, which holds data, stays
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; found = sys.version_info[:2]; sys.exit(None if (3, 11) <= found <= (3, 13) else \
	    $(TOO_OLD) % (sys.executable, sys.version.split()[0]))'
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "Installing $$(grep -c '^[a-z].*==' requirements.lock) packages into .venv (a minute or two, once)" >&2
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@
