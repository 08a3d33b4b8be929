# Sourced by the scripts beside it: `prepare EXTRAS` makes .venv hold this checkout with its dependencies, and sets `python`.
#
# A stamp in .venv says what was installed: `installed` the product itself, `installed-EXTRAS` more. While it is right nothing is
# done. It is written last, so a broken installation is repaired by the next start. A lock on pyproject.toml lets only one of several starts install.

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$here/.venv
python=$venv/bin/python

fail() {
    echo "specchat: $1" >&2
    exit 1
}

prepare() {
    stamp=$venv/installed${1:+-$1}
    unfinished=$venv/unfinished
    wanted=$(cd "$here" && { pwd && cat pyproject.toml constraints.txt; } | cksum)
    if is_ready; then return; fi

    newest=$(find_python)
    exec 9<"$here/pyproject.toml"
    "$newest" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || fail "the lock on $here/pyproject.toml cannot be taken."
    if ! is_ready; then install "$1"; fi
    exec 9<&-
}

is_ready() {
    [ -x "$python" ] && [ ! -e "$unfinished" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]
}

install() {
    echo "specchat: installing into $venv (once; this takes a few minutes)" >&2
    if [ -e "$unfinished" ] || ! "$python" -m pip --version >/dev/null 2>&1; then
        "$newest" -m venv --clear "$venv" >&2 </dev/null || fail "$venv cannot be made."
    fi
    touch "$unfinished"
    if [ -t 2 ]; then quiet=; else quiet=--quiet; fi
    (
        cd "$here"
        exec "$python" -m pip install $quiet --disable-pip-version-check \
            --constraint constraints.txt --editable ".${1:+[$1]}" >&2 </dev/null
    ) ||
        fail "the installation failed; the lines above say why, and the next start tries again."
    rm -f "$unfinished"
    printf '%s\n' "$wanted" | tee "$stamp" >"$venv/installed"
}

# The newest Python that is new enough and can make virtual environments.
find_python() {
    without_venv=
    for name in python3.13 python3.12 python3.11 python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
        if "$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            echo "$name"
            return
        fi
        without_venv=${without_venv:-$name}
    done
    [ -z "$without_venv" ] || fail "$without_venv cannot make virtual environments; install its venv module (on Debian: apt install python3-venv)."
    fail "Python 3.11 or newer is needed and was not found; install one as python3."
}
