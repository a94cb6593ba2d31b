# Sourced by setup and vulkan: Debian packages, without touching the machine's own apt settings.
# A private list of sources repeats the Debian mirror this machine uses and adds what may be missing
# from it: security updates (a recent Rust) and backports (a recent Mesa).
apt_dir=$deps/apt
apt_options=()

codename() { (. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}"); }

# as_root COMMAND...: directly, or through sudo; fails when neither is possible.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo "$@"
  else
    return 1
  fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

# Writes the private sources once a day and fetches their lists.
apt_ready() {
  [ ${#apt_options[@]} -eq 0 ] || return 0
  mkdir -p "$apt_dir"/lists/partial "$apt_dir"/cache/archives/partial
  local name uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=''
  name=$(codename)
  # REPO_URI of the suite this machine was installed from.
  uri=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v name="$name" '$1 == name { print $2; exit }')
  [ -n "$uri" ] || die "apt knows no source for Debian '$name'; scripts/setup needs Debian 12."
  [ -f $keyring ] && signed="[signed-by=$keyring] "
  {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
      grep " $name" | sort -u | sed "s|^|deb $signed|"
    echo "deb $signed$uri $name-backports main"
    echo "deb $signed${uri%/}-security/ $name-security main"
  } | awk '{ key = $0; gsub("/ ", " ", key) } !seen[key]++' >"$apt_dir/sources.list.new"
  apt_options=(-o "Dir::Etc::sourcelist=$apt_dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt_dir/lists" -o "Dir::Cache=$apt_dir/cache"
    -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false -o Acquire::Languages=none
    -o Acquire::Retries=3 -o Debug::NoLocking=true -qq)
  if ! cmp -s "$apt_dir/sources.list" "$apt_dir/sources.list.new" ||
    [ -z "$(find "$apt_dir/updated" -mmin -1440 2>/dev/null)" ]; then
    mv "$apt_dir/sources.list.new" "$apt_dir/sources.list"
    say "reading package lists"
    if apt-get "${apt_options[@]}" update; then
      touch "$apt_dir/updated"
    else
      say "warning: some package lists could not be read"
    fi
  fi
}

apt_install() {
  apt_ready
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "${apt_options[@]}" -o Debug::NoLocking=false \
    -o APT::Sandbox::User=root -y install "$@" >&2 && return 0
  say "trying again with this machine's own apt settings"
  as_root apt-get -qq update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >&2
}

# unpack_closure FOLDER PACKAGE...: the packages and whatever of their dependencies this machine
# lacks, unpacked below FOLDER; nothing is installed.
unpack_closure() {
  local into=$1 list
  shift
  apt_ready
  list=$(apt-get "${apt_options[@]}" -s install "$@" | awk '$1 == "Inst" { print $2 }')
  [ -n "$list" ] || list=$*
  mkdir -p "$into" "$apt_dir/debs"
  rm -f "$apt_dir"/debs/*.deb
  # The suite written behind a package's name holds for the packages asked for, not for the rest.
  local named=() one asked
  for one in $list; do
    for asked in "$@"; do
      [ "${asked%%/*}" = "${one%%:*}" ] && one=$asked
    done
    named+=("$one")
  done
  (cd "$apt_dir/debs" && apt-get "${apt_options[@]}" download "${named[@]}")
  for one in "$apt_dir"/debs/*.deb; do
    dpkg-deb -x "$one" "$into"
  done
  rm -f "$apt_dir"/debs/*.deb
}
