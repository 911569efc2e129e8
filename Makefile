# Everything a newcomer needs. `make demo` and `make test` set up what they use.
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help demo test test-grid test-clients test-clients-latest check fix bench bench-quick bench-fleet protos openapi migrations screenshots locks docs

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 22

demo:  ## set up and run the whole product on this machine (PODS=1, ports: deploy/reference/settings.md)
	@deploy/setup.sh controlplane
	@exec $(PY) -m deploy.demo

test:  ## set up and run the suite: unit, property, contract, journeys, both databases, browser, two real CLIs
	@deploy/setup.sh dev
	@deploy/test-tools.sh
	@exec $(PY) -m tests.run

test-grid:  ## what `make test` tries a part of, everything with everything: nonsense in every form and route
	@deploy/setup.sh dev
	@exec $(PY) -m tests.run grids

test-clients:  ## every supported coding CLI at its pinned version, through a pod
	@deploy/setup.sh dev
	@deploy/test-tools.sh
	@AIGATEWAY_TEST_CLIENTS=all $(PY) -m pytest tests/clients -q

test-clients-latest:  ## the newest published versions of the CLIs
	@deploy/setup.sh dev
	@deploy/test-tools.sh
	@AIGATEWAY_TEST_CLIENTS=latest $(PY) -m pytest tests/clients -q

check:  ## ruff, mypy strict, import rules, migrations, OpenAPI, protos and generated docs unchanged
	@deploy/setup.sh dev
	@deploy/check.sh

fix:  ## format and mend what ruff can
	@deploy/setup.sh dev
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format --quiet .

bench:  ## every system under every load on pinned cores, half an hour (ARGS="--only cost --soak 30")
	@deploy/setup.sh dev
	@exec $(PY) -m tests.bench $(ARGS)

bench-quick:  ## has the pod become dearer than the commit that landed last? both take turns, 3 minutes; 6 when something looks dearer
	@deploy/setup.sh dev
	@exec $(PY) -m tests.bench.guard $(ARGS)

bench-fleet:  ## 100,000 keys, 1,000 pods: ready time, memory, one change, one revocation (ARGS="--keys 10000")
	@deploy/setup.sh dev
	@exec $(PY) -m tests.bench.fleet $(ARGS)

protos:  ## regenerate the stubs from protos/*.proto
	@deploy/setup.sh dev
	@deploy/protos.sh

openapi:  ## regenerate controlplane/openapi.yaml
	@deploy/setup.sh dev
	@$(PY) -m deploy.generate openapi

migrations:  ## write the migrations that changed models ask for
	@deploy/setup.sh dev
	@$(PY) -m deploy.generate makemigrations

docs:  ## regenerate the tables of settings, metrics, errors and routes
	@deploy/setup.sh dev
	@$(PY) -m deploy.generate tables

screenshots:  ## regenerate the pictures of the README from a running demo
	@deploy/setup.sh dev
	@deploy/test-tools.sh
	@$(PY) -m tests.browser.screenshots

locks:  ## resolve the dependencies anew within the bounds of pyproject.toml (needs uv)
	@deploy/locks/resolve.sh
