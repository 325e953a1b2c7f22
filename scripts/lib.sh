# Shared by the scripts of this folder; to be sourced. Stands in the repository's root afterwards.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What comes next, with the seconds since the script began.
say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS" >&2; }

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# need_packages COMMAND=PACKAGE… : installs the Debian packages of the commands that are missing; where this user may not, says how and stops.
need_packages() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    install_packages "${missing[@]}"
}

install_packages() {
    command -v apt-get >/dev/null 2>&1 || die "these are missing, please install them: $*"
    [ "$(id -u)" = 0 ] || die "missing on this machine; run: sudo apt-get install -y $*"
    say "apt-get install $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_rust() {
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null 2>&1 || die "cargo is missing: install Rust (https://rustup.rs), then run this again"
}

need_python() {
    need_packages python3=python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || die "Python 3.11 or later is needed; this is $(python3 --version)"
    # Debian keeps ensurepip, without which a venv has no pip, in a package of its own.
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
}

# need_fuse : fusermount3, and /dev/fuse usable by everybody where this user can make it so.
need_fuse() {
    need_packages fusermount3=fuse3
    [ -e /dev/fuse ] || die "/dev/fuse is missing: load the kernel module (modprobe fuse), or start the container with --device /dev/fuse --cap-add SYS_ADMIN"
    if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
        chmod 666 /dev/fuse
    fi
}

# need_venv NAME REQUIREMENTS [PYTHON [OPTION…]] : a virtual environment target/venv/NAME with exactly these packages. Does nothing where
# it is there already.
need_venv() {
    local name=$1 requirements=$2 python=${3:-python3} folder="target/venv/$1" stamp
    stamp="$("$python" -c 'import sys; print(sys.version)' | cat - "$requirements" | sha256sum | cut -d' ' -f1)"
    [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ] && return 0
    say "Python packages of $requirements into $folder"
    rm -rf "$folder"
    mkdir -p target/venv
    "$python" -m venv "${@:4}" "$folder"
    # Python compiles what it imports; to compile all that is installed takes longer than to install it.
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-input --no-compile --requirement "$requirements"
    printf '%s\n' "$stamp" > "$folder/stamp"
}

# need_torch : target/venv/torch with Debian's torch, which is for processors alone. Where that cannot be had, the tests of training say
# that they are skipped.
need_torch() {
    local python=/usr/bin/python3 may_install=
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && may_install=1
    if ! "$python" -c 'import torch, ensurepip' 2>/dev/null \
        && ! { [ "$may_install" ] && install_packages python3-torch python3-venv; }; then
        say "without Debian's python3-torch: the tests of training are skipped"
        return 0
    fi
    need_venv torch tests/requirements/torch.txt "$python" --system-site-packages
}
