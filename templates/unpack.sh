# shellcheck shell=bash
# shellcheck disable=SC2034  # `why` is read by whoever calls
#
# An image's layers as one folder, as container engines unpack them: layers in order, white-outs and
# opaque folders honoured, modes kept. Needs bash 4.2, coreutils and GNU tar; root is not needed.
#
# Each layer is unpacked into an empty folder, where tar itself keeps members inside. That is the
# root for the first one; others are then moved into the root. Nothing here follows a link of a
# layer: a hostile one could lead out of the root. Programs are started per layer and per folder
# that is there already, not per file.

shopt -s dotglob nullglob

# ROOT (LAYER SHA256)...: make the folder ROOT. Sets `why` and returns 1 where that is impossible.
# `explicit` holds the modes of the folders that a layer lists, `modes` those of the layers before
# while nothing of them was removed, `thawed` folders that are writable for a while.
repx_unpack() {
  local root=$1 staging=$1 index=$1.index
  local -A explicit thawed modes=()
  local -a lines
  shift
  while (($#)); do
    repx_extract "$1" "$2" || return
    repx_why="cannot add the layer $1 to $root"
    mapfile -t lines <"$index"
    [[ ${lines[*]} == *.wh.* ]] || repx_drop_files
    explicit=() thawed=()
    repx_read_index || return
    [[ $staging == "$root" ]] || { repx_merge "$staging" "$root" '' && rm -r -- "$staging"; } || return
    ((${#thawed[@]} == 0)) || chmod u-w -- "${!thawed[@]}"
    for REPLY in "${!explicit[@]}"; do modes[$REPLY]=${explicit[$REPLY]}; done
    staging=$root.layer
    shift 2
  done
  rm -f -- "$index" "$root.sum"
  repx_why="cannot complete $root"
  repx_complete_root "$root"
}

# LAYER SHA256: unpack one layer into `staging` and list its members in `index`.
repx_extract() {
  local sum unpacked=1
  repx_why="cannot make $staging"
  [[ ! -e $staging ]] || repx_delete "$staging" || return
  mkdir -p -- "$staging" && chmod u=rwx,go=rx -- "$staging" || return
  repx_why="layer missing: $1"
  [[ -r $1 ]] || return
  repx_sum "$1" >|"$root.sum" &
  repx_tar "$1" || unpacked=''
  wait $!
  sum=$(<"$root.sum")
  repx_why="layer broken: $1 is not what its sha256 says; \`repx run\` sends it again"
  [[ ${sum%% *} == "$2" ]] || { mv -f -- "$1" "$1.broken" 2>/dev/null; return 1; }
  repx_why="tar cannot unpack the layer $1"
  [[ -n $unpacked ]]
}

# FILE: print its sha256. openssl is several times as fast where the processor helps.
repx_sum() {
  openssl dgst -sha256 -r <"$1" 2>/dev/null || sha256sum <"$1"
}

# LAYER: tar knows gzip by itself, and zstd since 1.31.
repx_tar() {
  local magic
  magic=$(od -An -tx1 -N4 -- "$1")
  if [[ $magic == ' 28 b5 2f fd' ]]; then
    zstd -dcq -- "$1" | repx_untar -
  else
    repx_untar "$1"
  fi
}

# ARCHIVE|-: members below dev/ are left out, since only root may make them and no job gets them.
repx_untar() {
  tar --extract --file="$1" --force-local --directory="$staging" --no-same-owner --same-permissions \
    --anchored --exclude='dev/*' --exclude='./dev/*' \
    --verbose --verbose --index-file="$index" --quoting-style=escape >&2
}

# Read what the layer says of itself: folders (kept in `explicit`), devices and white-outs (obeyed).
repx_read_index() {
  local line
  for line in "${lines[@]}"; do
    case $line in
      d*)
        repx_member "$line" || continue
        explicit[${REPLY:-.}]=${line%% *}
        [[ $line == dr?x* || $line == dr?[st]* || $EUID == 0 ]] || chmod u+rx -- "$staging/$REPLY"
        ;;
      [bc]*) ! repx_member "$line" || ! repx_plain_above "$staging" "$REPLY" || rm -f -- "$staging/$REPLY" ;;
      *.wh.*) ! repx_member "$line" || repx_white_out "$REPLY" || return ;;
    esac
  done
}

# Without white-outs only lines of folders and devices matter.
repx_drop_files() {
  local IFS=$'\n'
  lines=("${lines[@]/#[!dbc]*/}")
  set -f
  # shellcheck disable=SC2206 # what is empty goes
  lines=(${lines[*]})
  set +f
}

# LINE: set REPLY to the member's path, without ./ before and / after.
repx_member() {
  local pattern='^[^ ]+ +[^ ]+ +[^ ]+ [0-9]+-[0-9]+-[0-9]+ [0-9:.]+ (.*)$'
  [[ $1 =~ $pattern ]] || return
  REPLY=${BASH_REMATCH[1]}
  [[ $REPLY != *\\* ]] || printf -v REPLY %b "$REPLY"
  while [[ $REPLY == /* || $REPLY == ./* ]]; do REPLY=${REPLY#/} REPLY=${REPLY#./}; done
  REPLY=${REPLY%/}
  [[ $REPLY != . ]] || REPLY=''
  [[ /$REPLY/ != */../* ]] # tar does not unpack such a member
}

# MEMBER: a white-out is a file `.wh.NAME` that stands for the absence of NAME in layers below.
repx_white_out() {
  local name=${1##*/} folder='' gone
  [[ $name == .wh.* ]] && repx_plain_above "$staging" "$1" || return 0
  rm -f -- "$staging/$1"
  [[ $staging != "$root" ]] || return 0 # no layer is below
  [[ $1 != */* ]] || folder=${1%/*}
  repx_plain "$root" "$folder" || return 0
  case ${name#.wh.} in
    .wh..opq) gone=("$root/$folder"/*) ;;
    '' | . | .. | .wh.*) return 0 ;;
    *) gone=("$root/$folder/${name#.wh.}") ;;
  esac
  ((${#gone[@]} == 0)) || { repx_thaw "$root/$folder" && repx_delete "${gone[@]}"; }
}

# ROOT PATH: is PATH a folder below ROOT that is reached without a link?
repx_plain() {
  local path=$1 name
  local -a names
  IFS=/ read -r -a names <<<"$2"
  [[ -d $path && ! -L $path ]] || return
  for name in "${names[@]}"; do
    [[ $name != .. ]] || return
    path+=/$name
    [[ -d $path && ! -L $path ]] || return
  done
}

# ROOT PATH: is what PATH lies in reached without a link?
repx_plain_above() {
  [[ $2 != */* ]] || repx_plain "$1" "${2%/*}"
}

# FROM INTO PATH: move what FROM holds into INTO, both the folder PATH of the image.
repx_merge() {
  local entry name from=$1 into=$2 path=$3
  local -a moved=() frozen=()
  name=${path%/}
  if [[ -n ${explicit[${name:-.}]-} && ${explicit[${name:-.}]} != "${modes[${name:-.}]-}" ]]; then
    unset "thawed[$into]"
    chmod --reference="$from" -- "$into" || return
  fi
  repx_thaw "$into" && { [[ -w $from ]] || chmod u+w -- "$from"; } || return
  for entry in "$from"/*; do
    name=${entry##*/}
    if [[ -d $entry && ! -L $entry ]]; then
      if repx_same_folder "$into/$name" "$path$name"; then
        repx_merge "$entry" "$REPLY" "$path$name/" || return
        continue
      fi
      [[ -w $entry ]] || frozen+=("$entry") # only a folder one may write to can be moved
    fi
    [[ ! -e $into/$name && ! -L $into/$name ]] || repx_delete "$into/$name" || return
    moved+=("$entry")
  done
  ((${#frozen[@]} == 0)) || chmod u+w -- "${frozen[@]}" || return
  repx_move "$into" "${moved[@]}" || return
  ((${#frozen[@]} == 0)) || chmod u-w -- "${frozen[@]/#"$from"/$into}"
}

# THERE PATH: is the layer's folder PATH one that is there already? Then REPLY is where. A link
# to a folder stays where the layer does not mention the folder itself.
repx_same_folder() {
  local link
  REPLY=$1
  [[ -L $1 ]] || { [[ -d $1 ]] && return; }
  [[ -L $1 && -z ${explicit[$2]-} ]] || return
  link=$(readlink -- "$1")
  [[ $link == /* || $2 != */* ]] || link=${2%/*}/$link
  REPLY=$root/${link#/}
  repx_plain "$root" "${link#/}"
}

# INTO ENTRY...: a thousand at a time, for the sake of the longest command line there may be.
repx_move() {
  local into=$1
  shift
  while (($#)); do
    mv -f -t "$into" -- "${@:1:1000}" || return
    shift $(($# < 1000 ? $# : 1000))
  done
}

# FOLDER: make it writable until the layer is done.
repx_thaw() {
  [[ -w $1 ]] || { thawed[$1]=1 && chmod u+w -- "$1"; }
}

# PATH...: remove, also what is read-only.
repx_delete() {
  modes=()
  rm -rf -- "$@" 2>/dev/null || { chmod -R u+rwX -- "$@" && rm -rf -- "$@"; }
}

# ROOT: add what every program may expect and an image made by Nix lacks.
repx_complete_root() {
  local name shell
  local -A thawed=()
  repx_thaw "$1"
  for name in dev proc sys tmp run etc bin var root home usr mnt; do
    [[ -e $1/$name || -L $1/$name ]] || mkdir -- "$1/$name" || return
  done
  for name in dev proc sys tmp; do # these are mounted upon, so no link will do
    [[ ! -L $1/$name ]] || { rm -f -- "$1/$name" && mkdir -- "$1/$name"; } || return
  done
  repx_complete_bin "$1"
  repx_complete_etc "$1"
  ((${#thawed[@]} == 0)) || chmod u-w -- "${!thawed[@]}"
}

# ROOT: a /bin/sh, from the bash of a Nix image.
repx_complete_bin() {
  local shell
  repx_plain "$1" bin && [[ ! -e $1/bin/sh && ! -L $1/bin/sh ]] || return 0
  for shell in "$1"/bin/bash "$1"/usr/bin/{sh,bash} "$1"/nix/store/*-bash*/bin/bash; do
    [[ -f $shell ]] || continue
    repx_thaw "$1/bin"
    ln -s -- "${shell#"$1"}" "$1/bin/sh"
    return
  done
}

# ROOT: names for the users that a job may see.
repx_complete_etc() {
  local user=''
  repx_plain "$1" etc || return 0
  repx_thaw "$1/etc"
  ((UID == 0)) || user="user:x:$UID:65534:user:/tmp:/bin/sh"$'\n'
  repx_new "$1/etc/passwd" \
    "root:x:0:0:root:/root:/bin/sh"$'\n'"${user}nobody:x:65534:65534:nobody:/:/bin/sh"$'\n'
  repx_new "$1/etc/group" $'root:x:0:\nnogroup:x:65534:\n'
  repx_new "$1/etc/nsswitch.conf" $'passwd: files\ngroup: files\nhosts: files dns\n'
  repx_new "$1/etc/hosts" $'127.0.0.1 localhost\n::1 localhost\n'
  repx_new "$1/etc/resolv.conf" ''
}

# FILE TEXT: write a file that is not there.
repx_new() {
  [[ -e $1 || -L $1 ]] || printf %s "$2" >"$1"
}
