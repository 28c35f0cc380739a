#!/bin/sh
# Write the locks anew from pyproject.toml: for Linux on both machines we support, with hashes, without any index's address.
set -eu
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links "$@"
}

compile --group build --output-file requirements/run.txt
compile --group build --group dev --constraint requirements/run.txt --output-file requirements/dev.txt
compile --group build --group dev --group mutants --constraint requirements/dev.txt --output-file requirements/mutants.txt
