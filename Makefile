# `make demo` and `make test` do all the set-up on a fresh clone. Needs Python 3.11 or newer.

# Another Python:           make demo PYTHON=python3.12
# Your own image, question: make demo IMAGE=~/photo.jpg QUERY="what keeps her dry?"
PYTHON ?= python3
IMAGE = lisa_tool/eval/photos/coffee.jpg
QUERY = what would you drink from?

# Unexpanded and through the environment, so that '$', quotes and spaces arrive as they were typed.
override IMAGE := $(value IMAGE)
override QUERY := $(value QUERY)
export IMAGE QUERY

help:   ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile

demo: .venv/demo  ## segment a photo; the files go to lisa-results/
	@.venv/bin/lisa-tool segment --out lisa-results -- "$$IMAGE" "$$QUERY"

test: .venv/dev   ## run the tests, but those that take long
	.venv/bin/python -m pytest -q -m "not slow" -n 2 --dist loadfile

slow: .venv/dev   ## run the tests that take long
	.venv/bin/python -m pytest -q -m slow -n 2 --dist loadfile

check: .venv/dev  ## formatting, lint, types
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy

eval: .venv/demo  ## how often lite is right, by kind of question
	.venv/bin/lisa-tool eval lite

bench: .venv/dev  ## what LISA costs here against the reference's procedure; takes minutes
	.venv/bin/lisa-tool bench

build: .venv/dev  ## the wheels of all distributions, in dist/
	rm -rf dist
	for folder in packages/lisa-tool-lite packages/langchain-lisa .; do .venv/bin/python -m build -nw -o dist $$folder || exit; done

bundle: build     ## the bundle for Claude Desktop, in dist/; needs mcpb (npm install -g @anthropic-ai/mcpb)
	bash .ci/bundle dist dist/lisa.mcpb

clean:  ## remove what make made
	rm -rf .venv dist lisa-results .mypy_cache .pytest_cache .ruff_cache

.PHONY: help demo test slow check eval bench build bundle clean

# .venv/demo and .venv/dev are empty files that say what has been installed.
NEEDS_demo = -e '.[lite]'
NEEDS_dev = -e '.[langchain-agent,lite,urls,lisa,quant,mcp]' -e packages/langchain-lisa --group test --group check --group build
PIP = .venv/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt

.venv/demo .venv/dev: pyproject.toml packages/lisa-tool-lite/pyproject.toml packages/langchain-lisa/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "lisa-tool needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	@echo "installing into .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(PIP) --upgrade pip
	@$(PIP) --build-constraint constraints.txt -e packages/lisa-tool-lite $(NEEDS_$(@F))
	@touch $@
