#!/usr/bin/env bash
# Runs tests with the packed tarball installed in a clean folder, which also has the fixtures. On PATH there are only basic tools,
# and no compiler: `.ci/installed.sh node --import tsx --test test/exit.test.ts`.
set -euo pipefail

# The programs that npm and the tests start.
readonly tools=(
  node npm sh bash env cat cp grep kill mkdir mkfifo mount nsenter rm script setpriv sleep timeout touch true unshare
)
# The other packages that fixtures import, in the versions of this project.
readonly companions=(signal-exit-3 @lydell/node-pty)

main() {
  folder=$(mktemp -d)
  chmod 755 "$folder" # children of other users find the tools too
  trap 'rm -rf "$folder"' EXIT
  npm pack --pack-destination "$folder" --loglevel=error >/dev/null
  link_tools
  export PATH=$folder/bin PID1_TEST_FIXTURES=$folder/app/
  install_app
  # Another build of the native part replaces the one in the tarball.
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
