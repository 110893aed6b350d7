# Set-up that the demo, the tests and the benchmarks share. Sourced by bash; every function can be
# called again and does only what is missing.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
system_python=/usr/bin/python3

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }

as_root() {
    if is_root; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        die "this needs root once, and there is no sudo: $*"
    fi
}

# Debian packages that are not there yet.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing from the distribution: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# /dev/fuse is open to all on an ordinary machine; where it is not, root can open it.
open_fuse() {
    [ -e /dev/fuse ] || { say "no /dev/fuse: base images will be fetched whole (tier T3)"; return; }
    [ "$(stat -c %a /dev/fuse)" = 666 ] && return
    if is_root; then
        say "opening /dev/fuse to all users (it was $(stat -c %a /dev/fuse))"
        chmod 0666 /dev/fuse
    fi
}

# Where programs and data lie that the unprivileged user must be able to read. Root works for a user
# of its own (or, with LAZYBUILD_USER=root, for itself); anybody else works as himself.
if is_root; then
    builder=${LAZYBUILD_USER:-lazybuild-user}
    home=${LAZYBUILD_HOME:-/var/lib/lazybuild}
else
    builder=$(id -un)
    home=${LAZYBUILD_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/lazybuild-dev}
fi
venv=$home/venv

make_user() {
    mkdir -p "$home"
    if [ "$builder" = root ]; then return; fi
    if is_root; then
        id "$builder" >/dev/null 2>&1 || { say "making the unprivileged user $builder"; useradd -m -s /bin/bash "$builder"; }
        grep -q "^$builder:" /etc/subuid || usermod --add-subuids 400000-465535 --add-subgids 400000-465535 "$builder"
        chmod 0755 "$home"
    fi
    grep -q "^$builder:" /etc/subuid || die "$builder has no range in /etc/subuid; run: sudo usermod --add-subuids 400000-465535 --add-subgids 400000-465535 $builder"
}

as_builder() {
    if is_root && [ "$builder" != root ]; then
        runuser -u "$builder" -- env HOME="$(getent passwd "$builder" | cut -d: -f6)" XDG_RUNTIME_DIR= "$@"
    else
        "$@"
    fi
}

# A folder with the dockerd of Debian trixie, which the tests that need a real BuildKit start there.
make_trixie() {
    trixie=$home/trixie
    is_root || return 0
    [ ! -x "$trixie/usr/sbin/dockerd" ] || return 0
    say "making $trixie with mmdebstrap: docker.io and docker-buildx of Debian trixie"
    rm -rf "$trixie.part"
    mmdebstrap --quiet --variant=minbase \
        --include=docker.io,docker-cli,docker-buildx,git,ca-certificates,iptables trixie "$trixie.part" >&2
    mv "$trixie.part" "$trixie"
}

# A virtual environment of the system's Python; $1 is "dev" or "run".
make_venv() {
    local wanted
    local sum made
    sum=$(sha256sum "$here/pyproject.toml" | cut -d' ' -f1)
    wanted="$1 $sum"
    made=$(cat "$venv/.made-from" 2>/dev/null || true)
    if [ "$made" != "$wanted" ] && [ "$made" != "dev $sum" ]; then
        say "making the virtual environment $venv"
        [ -x "$venv/bin/python" ] || "$system_python" -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check -U pip
        "$venv/bin/python" "$here/scripts/requirements.py" "$1" "$here/pyproject.toml" > "$venv/requirements.txt"
        "$venv/bin/pip" install -q --disable-pip-version-check -r "$venv/requirements.txt"
        echo "$wanted" > "$venv/.made-from"
    fi
}

# A copy of the sources where the unprivileged user can read them, importable from the environment.
copy_sources() {
    mkdir -p "$home/src"
    rsync -a --delete --exclude .git --exclude __pycache__ --exclude '.*_cache' --exclude .hypothesis "$here/" "$home/src/"
    if is_root; then chown -R "$builder:" "$home/src"; fi
    "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' | while read -r site; do
        echo "$home/src" > "$site/lazybuild-src.pth"
    done
    printf '#!%s/bin/python\nfrom lazybuild.cli.main import main\nmain()\n' "$venv" > "$venv/bin/lazybuild"
    chmod 0755 "$venv/bin/lazybuild"
}
