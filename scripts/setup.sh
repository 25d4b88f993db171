#!/usr/bin/env bash
# Makes .venv what uv.lock says, and is quick when it already is.
#
#   scripts/setup.sh run    what the server needs (embedded engines included)
#   scripts/setup.sh dev    the same, and what tests and checks need
#   scripts/setup.sh docs   the same as dev, and what the documentation needs
#
# EXTRA names further extras of pyproject.toml, with spaces between them: EXTRA="azure" make run
#
# Needs bash, coreutils and Python 3.11, 3.12 or 3.13. Package indexes are the environment's own choice (uv's and pip's
# settings are respected); Python itself is never downloaded. On Debian and Ubuntu, as root, missing system packages
# are installed; otherwise the script says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOLS=.venv-tools
readonly UV_WANTED="uv>=0.8,<1"
export UV_PYTHON_DOWNLOADS=never
export UV_PROJECT_ENVIRONMENT=.venv
# Trust what this machine trusts (a school's or a company's own certificates too); the name changed between versions.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-true}"
unset VIRTUAL_ENV

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

profile="${1:-run}"
case "$profile" in
  run) groups=(--no-default-groups --inexact) ;;
  dev) groups=(--group dev --inexact) ;;
  docs) groups=(--group dev --group docs --inexact) ;;
  *) fail "unknown profile '$profile': run, dev or docs" ;;
esac

extras_of() { # what a profile brings; the tests also want Azure's SDK, PostgreSQL's and Redis' clients, and OpenTelemetry's
  printf '%s\n' embedded piper smart-turn
  [[ "$1" == run ]] || printf '%s\n' azure postgres redis telemetry
  [[ -z "${EXTRA:-}" ]] || printf '%s\n' $EXTRA
}

fingerprint() { # of everything that decides what is installed
  { printf '%s\n' "$1"; extras_of "$1"; cat uv.lock pyproject.toml scripts/setup.sh; } | sha256sum | cut -d' ' -f1
}

installed() { # a wider profile covers a narrower one
  local stamp=".venv/.setup-$1"
  [[ -x .venv/bin/python && -f "$stamp" && "$(cat "$stamp")" == "$(fingerprint "$1")" ]] &&
    .venv/bin/python -c '' 2>/dev/null
}

apt_install() { # as root on Debian or Ubuntu; false where that is not what this is
  [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null || return 1
  say "installing $* with apt-get"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

usable_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && usable_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

usable_uv() { # --version also fails where a version manager's shim has nothing behind it
  local version
  version="$("$1" --version 2>/dev/null)" || return 1
  [[ "$version" =~ ^uv\ ([0-9]+)\.([0-9]+) ]] && ((BASH_REMATCH[1] > 0 || BASH_REMATCH[2] >= 8))
}

find_uv() {
  local candidate
  for candidate in uv "$TOOLS/bin/uv"; do
    if command -v "$candidate" >/dev/null && usable_uv "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

install_uv() { # into a private environment: nothing of the system's is touched
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    local version
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    apt_install "python$version-venv" ||
      fail "Python's venv module is missing: install it (Debian, Ubuntu: sudo apt-get install python$version-venv) and try again."
  fi
  say "installing uv into $TOOLS"
  rm -rf "$TOOLS"
  "$python" -m venv "$TOOLS"
  printf '*\n' >"$TOOLS/.gitignore"
  "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check "$UV_WANTED" >&2 ||
    fail "uv could not be installed: is a package index reachable? (pip's settings are respected)"
}

adopt_pip_settings() { # uv has its own names for what pip may already have been told
  local index="${PIP_INDEX_URL:-}"
  [[ -n "$index" ]] || index="$("$python" -m pip config get global.index-url 2>/dev/null || true)"
  if [[ -n "$index" && -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
    export UV_DEFAULT_INDEX="$index"
  fi
  if [[ -n "${PIP_CERT:-}" && -z "${SSL_CERT_FILE:-}" ]]; then
    export SSL_CERT_FILE="$PIP_CERT"
  fi
}

sync_from_index() { # the same versions, checked by the same hashes, from the environment's own index
  local wanted=.venv/requirements.lock
  [[ -x .venv/bin/python ]] || "$uv" venv --quiet --python "$python" .venv
  "$uv" export --quiet --frozen --no-emit-project "${extras[@]}" "${groups[@]:0:${#groups[@]}-1}" -o "$wanted" >/dev/null
  "$uv" pip install --quiet --python .venv/bin/python --require-hashes -r "$wanted"
  "$uv" pip install --quiet --python .venv/bin/python --no-deps -e .
}

for wider in "$profile" dev docs; do
  [[ "$profile" == docs && "$wider" == dev ]] && continue
  if installed "$wider"; then exit 0; fi
done

python="$(find_python)" || { apt_install python3 python3-venv && python="$(find_python)"; } ||
  fail "Python 3.11, 3.12 or 3.13 is needed and was not found (Debian, Ubuntu: sudo apt-get install python3 python3-venv; or set PYTHON)."
adopt_pip_settings
if [[ -z "${PYTHON:-}" ]] && usable_python .venv/bin/python; then
  python=.venv/bin/python # by any other path uv would make .venv anew, and what was added to it would be gone
fi
uv="$(find_uv)" || { install_uv && uv="$(find_uv)"; } || fail "uv is not usable; remove $TOOLS and try again."

# The embedded language model's llama.cpp is linked against GNU OpenMP, which a bare system may not have.
if command -v ldconfig >/dev/null && ! ldconfig -p | grep -q 'libgomp\.so\.1'; then
  apt_install libgomp1 ||
    say "libgomp1 is missing: without it the embedded language model does not load (Debian, Ubuntu: sudo apt-get install libgomp1)."
fi

say "installing what uv.lock names into .venv (the first time this fetches about 1 GB)"
extras=()
for extra in $(extras_of "$profile"); do extras+=(--extra "$extra"); done
sync_from_lock() { "$uv" sync --frozen --python "$python" "${extras[@]}" "${groups[@]}"; }
if [[ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
  sync_from_index || fail "the packages could not be installed from the configured package index; see above."
else
  sync_from_lock || { say "trying the configured package index"; sync_from_index; } ||
    fail "the packages could not be installed; see above. (Offline? Another index? Set UV_DEFAULT_INDEX or pip's index-url.)"
fi
fingerprint "$profile" >".venv/.setup-$profile"
say "ready"
