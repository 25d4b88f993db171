#!/usr/bin/env bash
# What some tests want from the system: Chromium (the page), espeak-ng (made-up speech), coturn (a TURN server), iproute2
# (networks of their own), redis-server (budgets on it), baresip and sipp (a telephone, and very many), Kamailio and rtpengine
# (the gateway in infra/sip-gateway) and PostgreSQL 15 or newer (the ledger on it). Installed as root on Debian and Ubuntu, and
# none of their services started: tests start their own. Anywhere else the tests that need them are skipped, and this says so.
# Never fails. promtool (the alert rules) is unpacked into .venv-tools.
set -uo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v espeak-ng >/dev/null || missing+=(espeak-ng)
command -v turnserver >/dev/null || missing+=(coturn)
command -v ip >/dev/null || missing+=(iproute2)
command -v baresip >/dev/null || missing+=(baresip-core)
command -v sipp >/dev/null || missing+=(sip-tester)
command -v kamailio >/dev/null || missing+=(kamailio)
command -v rtpengine >/dev/null || missing+=(rtpengine-daemon)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
# The alert rules are tried with promtool. Its package would start a server: only the program is taken out of it.
if ! command -v promtool >/dev/null && [[ ! -x .venv-tools/promtool ]] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
  unpacked="$(mktemp -d)"
  (cd "$unpacked" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb .) >&2 &&
    mkdir -p .venv-tools && mv "$unpacked/usr/bin/promtool" .venv-tools/promtool
  rm -rf "$unpacked"
fi
((${#missing[@]})) || exit 0

if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
  printf 'test: installing %s with apt-get\n' "${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d # packages ask it whether to start their services
  if [[ ! -e "$policy" ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 && exit 0
  # One that a distribution does not have keeps none of the others away.
  for package in "${missing[@]}"; do apt-get install -y -qq --no-install-recommends "$package" >&2 || true; done
fi
printf 'test: %s not found and not installed here; tests that need it are skipped (sudo apt-get install %s)\n' \
  "${missing[*]}" "${missing[*]}" >&2
exit 0
