# Every target sets up what it needs in .venv by itself.
.PHONY: demo test check bench soak build setup clean format

# What travels to hosts runs on their Python.
TRAVELS = lepton_jupyter/__init__.py lepton_jupyter/errors.py lepton_jupyter/wire.py lepton_jupyter/blobs lepton_jupyter/agent lepton_jupyter/data lepton_jupyter/kernel lepton_jupyter/ml/metrics
export PYTHON

demo:  ## run notebooks/00_quickstart.ipynb on this machine and show how it goes
	@.ci/setup demo
	@.venv/bin/lepton demo

test:  ## every test, with real sshd, kernels and browser; PYTEST="-k widgets" narrows it
	@.ci/system openssh-server openssh-client procps chromium
	@.ci/setup test
	@.ci/browser build
	@.ci/browser test
	@.ci/azurite
	.venv/bin/pytest -n 3 --dist loadscope $(PYTEST)

check:  ## style, types, layers, what hosts' Python can run, links in the docs
	@.ci/setup dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/vermin --quiet --violations --no-tips -t=3.9- $(TRAVELS)
	.venv/bin/pytest -q tests/unit/test_docs.py
	.ci/browser lint

bench:  ## the figures of the README, peers measured in the same run; BENCH="warm cold" or BENCH=--quick narrows it
	@.ci/system openssh-server openssh-client rsync chromium
	@.ci/setup test bench
	@.ci/browser build
	.venv/bin/python -m benchmarks.run $(BENCH)

soak:  ## 200 random cuts and kills; prints what was lost and what came twice
	@.ci/system openssh-server openssh-client
	@.ci/setup test
	.venv/bin/python -m tests.soak

build:  ## one wheel in dist/, with the sidebar built in
	@.ci/setup dev
	.venv/bin/python -m build --wheel --outdir dist

format:  ## let ruff write the style
	@.ci/setup dev
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	.ci/browser format

setup:  ## .venv with all that developers need
	@.ci/setup dev test

clean:
	rm -rf .venv build dist lepton-demo node_modules lepton_jupyter/labextension labextension/lib .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
