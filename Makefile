# What a person does here. `make` lists the targets; each sets up what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail
STACK ?= prod
PYTHON := .venv/bin/python
LAB := .lab
RUNS ?= 1
N ?= 100

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: machine .venv/ready  ## install what the other targets need

.venv/ready: requirements.txt
	./scripts/setup-python
	@touch $@

machine:
	@./scripts/setup-machine

artifacts: .venv/ready  ## build every program into dist/, by content hash
	$(PYTHON) artifacts/build.py

lab: setup artifacts  ## bring the whole mesh up on this machine, then let two clients join
	$(PYTHON) -m drills.two_clients --state $(LAB)

lab-down: .venv/ready  ## remove everything that `make lab` and `make preview` made
	$(PYTHON) -m lab stop --state $(LAB)
	rm -rf .lab-api

preview: .venv/ready artifacts  ## preview STACK on the real engine with API-only clouds
	$(PYTHON) -m lab start --state .lab-api --api-only
	$(PYTHON) -m lab pulumi --state .lab-api -- stack select --create $(STACK)
	$(PYTHON) -m lab pulumi --state .lab-api -- preview --stack $(STACK)

check: .venv/ready  ## linters, types, import contract; changes nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fix: .venv/ready  ## format, and mend what the linter can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

unit: setup check  ## the fast layers: check, unit tests, rendered files
	.venv/bin/pytest -q tests/unit tests/render

test: setup artifacts check  ## every test: unit, rendered files, engine, booted hosts
	.venv/bin/pytest -q --durations=15

status: .venv/ready  ## who is active and what is wrong in the mesh of STACK
	@./scripts/meshctl --stack $(STACK) status

drill: setup artifacts  ## RUNS drills of each fault on the lab, into docs/reports/
	$(PYTHON) -m drills --state $(LAB) --runs $(RUNS)

bench-edge: setup artifacts  ## measure the public edge of the running lab into docs/reports/
	$(PYTHON) -m benchmarks.edge --state $(LAB)

bench-access: setup artifacts  ## prove the policy by packets, and measure joins, addresses and keys, on the lab
	$(PYTHON) -m benchmarks.access --state $(LAB)

bench-load: setup artifacts  ## put N virtual nodes on a plain Headscale and on the lab's pair
	$(PYTHON) -m benchmarks.load --state $(LAB) --nodes $(N)

bench: setup artifacts  ## measure a preview of prod into docs/reports/
	$(PYTHON) -m benchmarks.preview

lock:  ## resolve requirements.in anew into requirements.txt
	uv pip compile --generate-hashes --python-version 3.11 --no-emit-index-url --no-header requirements.in -o requirements.txt

.PHONY: help setup machine artifacts lab lab-down preview check fix unit test status drill bench bench-edge bench-access bench-load lock
