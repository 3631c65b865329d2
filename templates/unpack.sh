# shellcheck shell=bash
# shellcheck disable=SC2034,SC2206  # `repx_why` is read by whoever calls; words are split on purpose
#
# An image's layers as one folder, as container engines unpack them: layers in order, white-outs and
# opaque folders honoured, modes kept. Needs bash 4.2, coreutils and GNU tar; root is not needed.
#
# Nothing here follows a link of a layer: a hostile one could lead out of the root. In an empty folder
# tar itself keeps members inside: that is the root for the first layer. A later layer goes straight
# into the root where it only adds to plain folders. Any other layer, and one that is packed (to list
# it is to unpack it), is unpacked into a folder apart and then moved into the root, which starts
# programs per folder that is there already, not per file.
#
# Names come from layers: bash must not evaluate them, as `unset "array[$name]"` would.

shopt -s dotglob nullglob

repx_gzip=$'\x1f\x8b' repx_bzip2=BZh repx_xz=$'\xfd7zX' repx_zstd=$'\x28\xb5\x2f\xfd'

# ROOT (LAYER SHA256)...: make the folder ROOT. Sets `repx_why` and returns 1 where that is impossible.
# The sums are taken while tar works: the root counts only when all are right.
repx_unpack() {
  local root=$1 why='' sums
  shift
  repx_check_files "$@" || return
  exec {sums}< <(repx_print_sums "$@")
  repx_add_layers "$@" || why=$repx_why
  repx_check_sums "$@" <&"$sums" || return
  exec {sums}<&-
  repx_why=${why:-cannot complete $root}
  [[ -z $why ]] && repx_complete_root "$root"
}

# (LAYER SHA256)...
repx_check_files() {
  while (($#)); do
    repx_why="layer missing: $1"
    [[ -r $1 ]] || return
    shift 2
  done
}

# (LAYER SHA256)...: print the sum of each. openssl is several times as fast where the processor helps.
repx_print_sums() {
  while (($#)); do
    openssl dgst -sha256 -r <"$1" 2>/dev/null || sha256sum <"$1" || echo
    shift 2
  done
}

# (LAYER SHA256)...: compare the sums on stdin.
repx_check_sums() {
  local sum
  while (($#)); do
    repx_why="cannot read the layer $1"
    read -r sum _ && [[ -n $sum ]] || return
    repx_why="layer broken: $1 is not what its sha256 says; \`repx run\` sends it again"
    [[ $sum == "$2" ]] || { mv -f -- "$1" "$1.broken" 2>/dev/null; return 1; }
    shift 2
  done
}

# (LAYER SHA256)...: `explicit` holds the modes of the folders that a layer lists, `modes` those of the
# layers before while nothing of them was removed, `thawed` folders that are writable for a while.
repx_add_layers() {
  local staging=$root
  local -A explicit thawed modes=()
  local -a lines names excluded=()
  while (($#)); do
    [[ $staging != "$root" ]] && repx_add_over "$1" || repx_add_apart "$1" || return
    staging=$root.layer
    shift 2
  done
}

# LAYER: unpack it right into the root, where that is the same as apart.
repx_add_over() {
  local magic
  repx_read_magic "$1"
  case $magic in "$repx_gzip"* | "$repx_bzip2"* | "$repx_xz" | "$repx_zstd") return 1 ;; esac
  repx_set_lines "$(repx_tar "$1" --list)"
  names=("${lines[@]}")
  repx_set_lines "$(repx_tar "$1" --list --verbose --verbose)"
  repx_only_adds || return
  modes=()
  repx_untar "$1" "$root"
}

# LAYER: unpack it into `staging`, and move it into the root from there.
repx_add_apart() {
  excluded=()
  repx_why="cannot make $staging"
  repx_new_folder "$staging" || return
  repx_why="tar cannot unpack the layer $1"
  repx_untar "$1" "$staging" || repx_untar_again "$1" || return
  repx_why="cannot add the layer $1 to $root"
  [[ ${lines[*]} == *.wh.* ]] || repx_drop_lines '[!dbc]'
  explicit=() thawed=()
  repx_read_lines || return
  [[ $staging == "$root" ]] || { repx_merge "$staging" "$root" '' && rm -r -- "$staging"; } || return
  ((${#thawed[@]} == 0)) || chmod u-w -- "${!thawed[@]}"
  for REPLY in "${!explicit[@]}"; do modes[$REPLY]=${explicit[$REPLY]}; done
}

# FOLDER: make it anew.
repx_new_folder() {
  [[ ! -e $1 && ! -L $1 ]] || repx_delete "$1" || return
  mkdir -p -- "$1" && chmod u=rwx,go=rx -- "$1"
}

# --- tar ------------------------------------------------------------------------------------

# LAYER FOLDER: unpack it; `lines` tell what is in it.
repx_untar() {
  local listed done=1
  listed=$(repx_extract "$1" "$2" --verbose --verbose) || done=''
  repx_set_lines "$listed"
  [[ -n $done ]]
}

# LAYER: the same into `staging`, which tar could not do: without device nodes, which only root may
# make, and with files of layers below that the layer has hard links to. Else say what tar says.
repx_untar_again() {
  local said
  repx_prepare_again || return
  said=$(repx_extract "$1" "$staging" 2>&1) || { repx_why+=": ${said%%$'\n'*}" && return 1; }
  repx_set_lines "$(repx_tar "$1" --list --verbose --verbose)"
}

# LAYER FOLDER OPTION...: members below dev/ are left out, since no job gets them.
repx_extract() {
  repx_tar "$1" --extract --directory="$2" --no-same-owner --same-permissions \
    --anchored --exclude={,./,/}'dev/*' "${excluded[@]}" "${@:3}"
}

# LAYER OPTION...: tar knows gzip by itself, and zstd since 1.31.
repx_tar() {
  local magic
  local -a words=(--force-local --quoting-style=escape --warning=no-{timestamp,unknown-keyword} "${@:2}")
  repx_read_magic "$1"
  if [[ $magic == "$repx_zstd" ]]; then
    zstd -dcq -- "$1" | tar --file=- "${words[@]}"
  else
    tar --file="$1" "${words[@]}"
  fi
}

# FILE: set `magic` to its first bytes, zeros left out.
repx_read_magic() {
  local LC_ALL=C
  IFS= read -r -d '' -n 4 magic <"$1"
}

# TEXT: set `lines` to its lines.
repx_set_lines() {
  local IFS=$'\n'
  set -f
  lines=($1)
  set +f
}

# PATTERN: drop those of `lines` that begin with it.
repx_drop_lines() {
  local IFS=$'\n'
  lines=("${lines[@]/#$1*/}")
  repx_set_lines "${lines[*]}"
}

# Make `staging` anew; `lines` tell how far tar came.
repx_prepare_again() {
  local line target
  repx_new_folder "$staging" || return
  repx_drop_lines '[!bch]'
  excluded=(--no-wildcards)
  for line in "${lines[@]}"; do
    repx_member "$line" || continue
    case $line in
      h*) repx_borrow "$target" || return ;;
      *) excluded+=(--exclude={,./,/}"$REPLY") ;;
    esac
  done
}

# PATH: give `staging` the root's file.
repx_borrow() {
  local from=$root/$1 to=$staging/$1
  [[ $staging != "$root" && -f $from && ! -L $from && ! -e $to ]] || return 0
  repx_plain_above "$root" "$1" || return 0
  mkdir -p -- "${to%/*}" && ln -- "$from" "$to"
}

# --- what a layer says of itself ------------------------------------------------------------

# LINE: set REPLY to the member's path, without ./ before and / after, and `target` to what a hard
# link is one to. Where a name could be read in two ways, returns 1.
repx_member() {
  local pattern='^[^ ]+ +[^ ]+ +[^ ]+ [0-9]+-[0-9]+-[0-9]+ [0-9:.]+ (.*)$' name between
  [[ $1 =~ $pattern ]] || return
  name=${BASH_REMATCH[1]} target=''
  case $1 in
    l*) between=' -> ' ;;
    h*) between=' link to ' ;;
    *) between='' ;;
  esac
  if [[ -n $between ]]; then
    target=${name#*"$between"} name=${name%%"$between"*}
    [[ $target != *"$between"* ]] || return
    repx_relative "$target"
    target=$REPLY
  fi
  repx_relative "$name"
  [[ /$REPLY/ != */../* ]] # tar does not unpack such a member
}

# NAME: set REPLY to it as a path below the root, as tar would.
repx_relative() {
  REPLY=$1
  # shellcheck disable=SC2059 # tar writes odd bytes as printf reads them
  [[ $REPLY != *\\* ]] || printf -v REPLY -- "${REPLY//%/%%}"
  while [[ $REPLY == /* || $REPLY == ./* ]]; do REPLY=${REPLY#/} REPLY=${REPLY#./}; done
  REPLY=${REPLY%/}
  [[ $REPLY != . ]] || REPLY=''
}

# Do `names` and `lines` of a layer only add to plain folders of the root? No white-outs, no devices,
# and no way through a link, be it the root's or the layer's own.
repx_only_adds() {
  local name
  local -A ways=()
  for name in "${names[@]}"; do
    case $name in
      *\\* | *.wh.* | /* | *//* | ?*/./* | ../* | */../* | */.. | ..) return 1 ;;
      *) [[ $name == */ || ! -d $root/$name ]] || return ;;
    esac
    [[ -n ${ways[${name%/*}]-} ]] || repx_plain_way "$name" || return
  done
  repx_drop_lines -
  repx_plain_links
}

# NAME: are the folders before its last part plain ones that may be written to, as far as the root has
# them? Notes them in `ways`.
repx_plain_way() {
  local way='' name
  local -a folders
  [[ $1 == */* ]] || return 0
  repx_relative "${1%/*}"
  repx_parts "$REPLY"
  for name in "${folders[@]}"; do
    way+=${way:+/}$name
    [[ -z ${ways[$way]-} ]] || continue
    ways[$way]=1
    [[ ! -e $root/$way && ! -L $root/$way ]] || [[ -d $root/$way && ! -L $root/$way && -w $root/$way ]] || return
  done
  ways[${1%/*}]=1 # as the layer writes it
}

# `lines` without files: is none of the links a way, neither of names nor to a hard link's target?
repx_plain_links() {
  local line target name
  local -a links=()
  for line in "${lines[@]}"; do
    repx_member "$line" || return
    case $line in
      dr?[xst]*) ;;
      d*) ((EUID == 0)) || return ;;
      [lh]*) links+=("$REPLY") ;;
      *) return 1 ;;
    esac
    [[ $line != h* ]] || { [[ /$target/ != */../* ]] && repx_plain_way "$target"; } || return
  done
  for name in "${links[@]}"; do [[ -z ${ways[$name]-} ]] || return; done
}

# Obey `lines`: folders (kept in `explicit`), devices and white-outs.
repx_read_lines() {
  local line target
  for line in "${lines[@]}"; do
    case $line in
      d*)
        repx_member "$line" || continue
        explicit[${REPLY:-.}]=${line%% *}
        [[ $line == dr?[xst]* || $EUID == 0 ]] || ! repx_plain "$staging" "$REPLY" || chmod u+rx -- "$staging/$REPLY"
        ;;
      [bc]*) ! repx_member "$line" || ! repx_plain_above "$staging" "$REPLY" || rm -f -- "$staging/$REPLY" ;;
      *.wh.*) ! repx_member "$line" || repx_white_out "$REPLY" || return ;;
    esac
  done
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
  local -a folders
  repx_parts "$2"
  [[ -d $path && ! -L $path ]] || return
  for name in "${folders[@]}"; do
    [[ $name != .. ]] || return
    path+=/$name
    [[ -d $path && ! -L $path ]] || return
  done
}

# PATH: set `folders` to its parts.
repx_parts() {
  local IFS=/
  set -f
  folders=($1)
  set +f
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
    unset 'thawed[$into]'
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
  local name
  local -A thawed=()
  local -a missing=()
  repx_thaw "$1"
  for name in dev proc sys tmp run etc bin var root home usr mnt; do
    [[ -e $1/$name || -L $1/$name ]] || missing+=("$1/$name")
  done
  ((${#missing[@]} == 0)) || mkdir -- "${missing[@]}" || return
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
