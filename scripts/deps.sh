#!/usr/bin/env bash
# deps.sh everyday|thorough: installs what make test, or make thorough, needs besides
# Go, git, make and node: Debian packages where that is possible, and for the thorough
# checks the npm packages of the modules interop and bench/peers. Where it is not possible
# it goes on and says which tests will skip. DEPS=no installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
thorough=
case ${1:?usage: deps.sh everyday|thorough} in
thorough) thorough=yes ;;
everyday) ;;
*) echo "deps.sh: $1 is neither everyday nor thorough" >&2 && exit 2 ;;
esac

missing=() # Debian packages
skipped=() # what goes without them, in the same order

# need TEST PACKAGES EFFECT: PACKAGES are missing unless the command TEST succeeds.
need() {
  if bash -c "$1" >/dev/null 2>&1; then return; fi
  missing+=("$2")
  skipped+=("$3")
}

need 'command -v cc' 'gcc libc6-dev' 'go test -race cannot run (it needs a C compiler)'
need_more() {
  need '/usr/bin/python3 -c "import websockets"' 'python3-websockets' 'the tests with the Python client will skip'
  need '/usr/bin/python3 -c "import tornado"' 'python3-tornado' 'the tests with Tornado will skip'
  need 'node -p WebSocket || node --experimental-websocket -p 1' 'nodejs' 'the tests of the JavaScript client will skip (they need Node 20 or newer)'
  need 'command -v chromium' 'chromium' 'the tests in a browser will skip'
  need 'command -v chromedriver' 'chromium-driver' 'the tests in a browser will skip'
  need '[ -x /usr/sbin/haproxy ]' 'haproxy' 'the tests behind HAProxy will skip'
  need '[ -x /usr/sbin/nats-server ] || command -v nats-server' 'nats-server' 'the test with an old nats-server will skip'
  need '[ -x /usr/sbin/nginx ]' 'nginx' 'the tests behind nginx will skip'
  need '[ -x /usr/sbin/hitch ]' 'hitch' 'the tests behind hitch will skip'
  need '[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]' 'libnginx-mod-stream' 'the tests behind nginx as a proxy of bytes will skip'
  need '[ -x /usr/bin/caddy ]' 'caddy' 'the tests behind Caddy will skip'
  need '[ -x /usr/sbin/apache2 ]' 'apache2-bin' 'the tests behind Apache will skip'
  need '[ -x /usr/sbin/lighttpd ]' 'lighttpd' 'the tests behind lighttpd will skip'
  need '[ -x /usr/sbin/varnishd ]' 'varnish' 'the tests behind Varnish will skip'
  need '[ -x /usr/sbin/squid ]' 'squid' 'the tests behind Squid will skip'
  need '[ -x /usr/bin/stunnel4 ]' 'stunnel4' 'the tests behind stunnel will skip'
  need 'command -v tc' 'iproute2' 'the tests on a slow link will skip'
  need 'command -v curl' 'curl' 'the test with curl will skip'
}
if [ -n "$thorough" ]; then need_more; fi

# The tests start balancers themselves: what is installed here is not to run as a
# service. That is for policy-rc.d to say, if the machine has none of its own.
policy=/usr/sbin/policy-rc.d
keep_services_off() {
  if [ -e "$policy" ]; then return; fi
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

install() {
  # shellcheck disable=SC2086 # an entry may name several packages
  set -- ${missing[*]}
  echo "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  local apt=(apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  keep_services_off
  "${apt[@]}" update >/dev/null
  "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

if [ ${#missing[@]} -gt 0 ]; then
  why=
  if [ "${DEPS:-}" = no ]; then why='DEPS=no'
  elif [ "$(id -u)" != 0 ]; then why='not root'
  elif ! command -v apt-get >/dev/null; then why='no apt-get'
  fi
  if [ -z "$why" ]; then
    install
  else
    for i in "${!missing[@]}"; do echo "$why, so without ${missing[i]}: ${skipped[i]}"; done
  fi
fi

# npm packages: from the lock file, scripts off so that nothing but the registry is asked.
if [ -n "$thorough" ] && [ "${DEPS:-}" != no ]; then
  while IFS= read -r lock; do
    folder=$(dirname "$lock")
    if ! command -v npm >/dev/null; then
      echo "no npm: the tests with $folder will skip"
    elif ! cmp -s "$lock" "$folder/node_modules/.deps-lock"; then
      echo "npm ci in $folder"
      npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund
      cp "$lock" "$folder/node_modules/.deps-lock" # what is installed, so that the next run need not ask
    fi
  done < <(find interop bench/peers -name node_modules -prune -o -name package-lock.json -print 2>/dev/null)
fi
go mod download
for module in interop bench/peers pubsub/nats/natstest examples; do
  if [ -n "$thorough" ] && [ -f "$module/go.mod" ]; then (cd "$module" && go mod download); fi
done
echo 'ready'
