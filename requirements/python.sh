#!/bin/sh
# Make a virtual environment from a lock: python.sh VENV LOCK [editable]
# Every package is checked against the lock's hashes; nothing is resolved, so nothing else can come in.
set -eu

venv=$1
lock=$2
mode=${3:-}
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

fail() {
    printf 'error: %s\n' "$1" >&2
    printf 'hint: %s\n' "$2" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || fail "$python is not installed" "sudo apt install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old" "install Python 3.11 or newer and run: make PYTHON=python3.11 ..."

if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$root/requirements/debian.sh" python3-venv
    fi
    "$python" -m venv "$venv"
fi

echo "installing $(basename "$lock" .txt) dependencies into $venv (about a minute, once)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
if [ "$mode" = editable ]; then
    set -- --editable "$root"
else
    set -- "$root"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation "$@"
