#!/bin/sh
# install.sh PYTHON VENV: make VENV if it is not there, and put the pinned dependencies and this project into it; and
# node_modules, from where the pages get code of others.
# The Makefile calls this when a file that names dependencies is newer than the last install that succeeded.
set -eu
python=$1 venv=$2
broken=$venv/.unfinished     # there while an install into a venv of our making runs

fail() { echo "make: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "'$python' is not Python 3.11 or newer; install one, or name it: make PYTHON=python3.12 ..."

# An install that was cut short can leave half a package, which pip then takes for whole: start again.
if [ ! -x "$venv/bin/python" ] || [ -e "$broken" ]; then
    echo "== making $venv"
    [ ! -e "$broken" ] || rm -rf "$venv"
    mkdir -p "$venv"
    touch "$broken"
    if "$python" -c 'import ensurepip; ensurepip.version()' 2>/dev/null; then
        "$python" -m venv "$venv"
    else # Debian without python3-venv, whose pip can serve another environment
        "$python" -m pip --version >/dev/null 2>&1 ||
            fail "'$python' has neither ensurepip nor pip: apt install python3-venv, or python3-pip"
        "$python" -m venv --without-pip "$venv"
        "$python" -m pip --python "$venv/bin/python" install -qq --disable-pip-version-check pip
    fi
    touch "$venv/.made-here"
elif [ -e "$venv/.made-here" ]; then # never rebuild a venv that someone else made
    touch "$broken"
fi

echo "== installing the pinned dependencies into $venv (once; 5 GB with CUDA on Linux, some minutes)"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e ".[dev]" </dev/null ||
    fail "the install failed, see above; run make again once that is mended"
rm -f "$broken"

"$venv/bin/python" book/_ext/browser_code.py </dev/null ||
    fail "the pages' packages are not there, see above; run make again once that is mended"
