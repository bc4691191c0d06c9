#!/bin/sh
# install.sh PYTHON VENV [site|dev|hashed]: make VENV if it is not there, and put into it what the pages are made with
# (site) or that, this project and all that it depends on (dev, the default); and node_modules, from where the pages get
# code of others. What the pages need comes by its hashes. The rest comes by its versions alone, since torch has other
# files for other machines, and one without CUDA may lie beside pip's index; or by the hashes of PyPI's files (hashed).
# The Makefile calls this when a file that names dependencies is newer than the last install that succeeded.
set -eu
python=$1 venv=$2 what=${3:-dev}
broken=$venv/.unfinished     # there while an install into a venv of our making runs
ours="made by book/_tools/install.sh"

unfinished() { grep -qs "$ours" "$broken" || { [ -e "$broken" ] && [ -e "$venv/.made-here" ]; }; }
fail() { echo "make: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "'$python' is not Python 3.11 or newer; install one, or name it: make PYTHON=python3.12 ..."

# What was not made here is neither built into nor removed: any folder but an empty one, a venv, or a half of ours.
if [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ] && [ ! -e "$venv/pyvenv.cfg" ] && ! unfinished; then
    fail "$venv is there, and is no venv: name another place with VENV=..., or empty it"
fi
if [ -e "$venv/pyvenv.cfg" ] && [ ! -x "$venv/bin/python" ] && [ ! -e "$venv/.made-here" ] && ! unfinished; then
    fail "$venv is a venv without a Python, and was not made here: name another place with VENV=..."
fi

# An install that was cut short can leave half a package, which pip then takes for whole: start again.
if [ ! -x "$venv/bin/python" ] || unfinished; then
    echo "== making $venv"
    mkdir -p "$venv"
    echo "$ours" >"$broken"
    # only what a venv consists of; somebody may have put other files there meanwhile
    for part in bin etc include lib lib64 share uv pyvenv.cfg .site .installed .made-here .gitignore; do
        rm -rf "$venv/$part"
    done
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
    echo "$ours" >"$broken"
fi

pip() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@" </dev/null; }

# A list of packages by their hashes. Each stands for itself, and so two halves of the list are fetched and unpacked at
# a time; Python compiles a module when it is first imported, which of most of these never happens.
listed() {
    halves=$(mktemp -d)
    awk -v to="$halves/" '/^[^ #]/ { n++ } { print >(to n % 2) }' "$1"
    pip --no-deps --no-compile --require-hashes -r "$halves/0" &
    one=$! failed=0
    pip --no-deps --no-compile --require-hashes -r "$halves/1" || failed=1
    wait "$one" || failed=1
    rm -r "$halves"
    return "$failed"
}

# meanwhile the other registry is asked
"$venv/bin/python" book/_ext/browser_code.py </dev/null &
pages=$!
echo "== installing what the pages need into $venv (once; 300 MB, a minute)"
listed book/requirements.txt ||
    fail "the install failed, see above; run make again once that is mended"
if [ "$what" = hashed ]; then
    echo "== installing all dependencies into $venv by their hashes (once; 5 GB with CUDA on Linux, some minutes)"
    pip --no-deps --require-hashes -r book/requirements-dev.txt && pip --no-deps --no-build-isolation -e . ||
        fail "the install failed, see above; run make again once that is mended"
elif [ "$what" = dev ]; then
    echo "== installing the pinned dependencies into $venv (once; 5 GB with CUDA on Linux, some minutes)"
    pip -c constraints.txt -e ".[dev]" || fail "the install failed, see above; run make again once that is mended"
fi
rm -f "$broken"

wait "$pages" || fail "the pages' packages are not there, see above; run make again once that is mended"
