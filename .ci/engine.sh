#!/usr/bin/env bash
# Runs a command with a container engine that exists only for it: `.ci/engine.sh npm run test:docker`.
# The engine has a socket, a data root and a `node:24-slim` of its own, and leaves nothing behind. Debian, as root.
set -euo pipefail

readonly packages=(docker.io busybox-static)
readonly start_seconds=60

main() {
  if (($# == 0)); then give_up 'Usage: .ci/engine.sh COMMAND [ARGUMENT...]'; fi
  if ((EUID != 0)); then give_up 'A container engine of its own needs root'; fi
  # A short path, because the name of a socket has at most 107 bytes.
  root=$(mktemp -d /tmp/engine.XXXXXX)
  trap 'finish $?' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  install_missing_packages
  start_engine
  make_base_image
  run "$@"
}

give_up() {
  printf '%s\n' "$*" >&2
  exit 64
}

install_missing_packages() {
  if type -P docker dockerd containerd busybox >/dev/null; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${packages[@]}"
}

start_engine() {
  mkdir "$root/config"
  echo '{}' >"$root/daemon.json" # not the machine's own /etc/docker/daemon.json
  unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
  export DOCKER_HOST=unix://$root/docker.sock DOCKER_CONFIG=$root/config
  # In a session of its own, so that Ctrl-C reaches only the command. Containers can then be killed before their engine exits.
  setsid dockerd --config-file "$root/daemon.json" --host "$DOCKER_HOST" --pidfile "$root/docker.pid" \
    --data-root "$root/data" --exec-root "$root/exec" --shutdown-timeout 3 \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
    >"$root/log" 2>&1 </dev/null &
  engine=$!
  local end=$((SECONDS + start_seconds))
  until docker version >/dev/null 2>&1; do
    if ((SECONDS > end)) || ! kill -0 "$engine" 2>/dev/null; then
      tail -n 20 "$root/log" >&2
      echo 'dockerd did not start' >&2
      return 1
    fi
    sleep 0.1
  done
}

# An image with what the examples' Dockerfiles need: Node 24 and npm from the registry, the user `node`, and Debian's own sh.
# (Busybox's sh becomes its last command, which then gets the signal: that would hide the problem.)
make_base_image() {
  local image=$root/image modules=usr/local/lib/node_modules npm_folder=$root/npm
  npm install --prefix "$npm_folder" --ignore-scripts --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
    "node-linux-$(node -p process.arch)@24" npm@11 >/dev/null
  mkdir -p "$image"/{bin,dev,etc,home/node,proc,root,sys,tmp,usr/bin,usr/local/bin} "$image/$modules"
  chmod 1777 "$image/tmp"
  chown 1000:1000 "$image/home/node"
  cp "$npm_folder"/node_modules/node-linux-*/bin/node "$image/usr/local/bin/"
  cp -r "$npm_folder/node_modules/npm" "$image/$modules/"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$image/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$image/usr/local/bin/npx"
  cp "$(command -v busybox)" "$image/bin/busybox"
  chroot "$image" /bin/busybox --install -s /bin
  ln -s /bin/env "$image/usr/bin/env"
  cp --remove-destination "$(readlink -f "$(command -v dash)")" "$image/bin/sh"
  copy_libraries "$image" "$image/usr/local/bin/node" "$image/bin/sh"
  printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'node:x:1000:1000::/home/node:/bin/sh' >"$image/etc/passwd"
  printf '%s\n' 'root:x:0:' 'node:x:1000:' >"$image/etc/group"
  tar --directory "$image" --create . | docker import --change 'CMD ["node"]' - node:24-slim >/dev/null
  rm -rf "$image" "$npm_folder"
}

copy_libraries() {
  local library
  ldd "${@:2}" | sed -nE 's/^[^/]*(\/[^ :]+) \(.*/\1/p' | sort -u | while read -r library; do
    cp --dereference --parents "$library" "$1"
  done
}

# In the background, because bash runs a trap only when the command in the foreground has ended.
run() {
  "$@" <&0 &
  command=$!
  wait "$command"
}

finish() {
  trap - EXIT
  trap '' HUP INT TERM
  set +e
  end "${command:-}"
  if [[ -n ${engine:-} ]]; then
    docker ps --quiet 2>/dev/null | xargs -r docker kill >/dev/null 2>&1
    end "$engine"
  fi
  # The processes that dockerd has started: containerd and its shims. No other process has this folder's name among its arguments.
  local file
  grep -lsF "$root/" /proc/[0-9]*/cmdline | while read -r file; do
    kill -KILL "$(cut -d / -f 3 <<<"$file")" 2>/dev/null
  done
  awk -v root="$root/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount --lazy
  rm -rf --one-file-system "$root"
  exit "$1"
}

# SIGTERM, and SIGKILL after three seconds.
end() {
  local tries=0
  kill -TERM "$1" 2>/dev/null || return 0
  while kill -0 "$1" 2>/dev/null; do
    if ((tries++ == 30)); then kill -KILL "$1" 2>/dev/null; fi
    if ((tries == 40)); then return; fi
    sleep 0.1
  done
  wait "$1" 2>/dev/null
}

main "$@"
