#!/usr/bin/env bash
# Runs tests with the packed tarball installed in a clean folder, from which they take their fixtures, and with only basic
# tools on PATH, no compiler among them: `.ci/installed.sh node --import tsx --test test/exit.test.ts`.
set -euo pipefail

# What npm and the tests call.
readonly tools=(
  node npm sh bash env cat cp grep kill mkdir mkfifo mount nsenter rm script sleep timeout touch true unshare
)
# What fixtures import besides the package, in the project's versions.
readonly companions=(signal-exit-3 @lydell/node-pty)

main() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  npm pack --pack-destination "$folder" --loglevel=error >/dev/null
  link_tools
  export PATH=$folder/bin PID1_TEST_FIXTURES=$folder/app/
  install_app
  # One that was built in another way takes the place of the one in the tarball.
  if [[ -n ${PID1_TEST_NATIVE:-} ]]; then cp "$PID1_TEST_NATIVE" "$folder/app/node_modules/pid1/dist/native/"; fi
  "$@"
}

link_tools() {
  local tool
  mkdir "$folder/bin"
  for tool in "${tools[@]}"; do
    ln -s "$(realpath "$(type -P "$tool")")" "$folder/bin/$tool"
  done
}

install_app() {
  local name ranges=()
  for name in "${companions[@]}"; do
    ranges+=("$name@$(node -p 'require("./package.json").devDependencies[process.argv[1]]' "$name")")
  done
  cp -r test/fixtures "$folder/app"
  echo '{ "private": true, "type": "module" }' >"$folder/app/package.json"
  npm install --prefix "$folder/app" --no-audit --no-fund --loglevel=error "$folder"/pid1-*.tgz "${ranges[@]}"
}

main "$@"
