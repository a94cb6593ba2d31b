# Sourced by the other scripts: where things are, how to speak, how to time a stage.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$root/.deps
machine=$(uname -m)
export PIP_DISABLE_PIP_VERSION_CHECK=1
# rustup's place, where a login shell has not put it into PATH.
[ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ] || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# "1:20.3" is at least "1:19": compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

# The first version number a program prints about itself, or nothing.
version_of() { "$@" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n1; }

# stage NAME COMMAND...: runs it and keeps its time for print_stages; a failure ends the script.
# late_stage: the same, but a failure only makes finish_stages fail, so that later stages still run.
stage_lines=()
stages_failed=0
timed() {
  local name=$1 begin=$SECONDS status=0 verdict=ok
  shift
  say "== $name"
  "$@" || status=$?
  [ $status -eq 0 ] || verdict=FAILED
  local took=$((SECONDS - begin))
  stage_lines+=("$(printf '%-24s %3d min %02d s  %s' "$name" $((took / 60)) $((took % 60)) $verdict)")
  return $status
}
stage() {
  timed "$@" && return 0
  print_stages
  die "$1 failed"
}
late_stage() { timed "$@" || stages_failed=$((stages_failed + 1)); }
print_stages() {
  say "-- minutes per stage"
  printf '%s\n' "${stage_lines[@]}" >&2
}
