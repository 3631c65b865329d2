# shellcheck shell=bash
# BASE NODE AGE [DRY]: remove from this machine the images of repx that are older than AGE seconds,
# counted from their last use, or that the store BASE no longer has; NODE is the folder in which they
# were unpacked. What a submission that has not ended may need stays. DRY: only say what would go.
#
# Says one line for each: host, what holds it, image, KiB, seconds since its use, what was done.
# Jobs unpack or load again what they need.

base=$1 node=$2 age=$3 dry=$4
# srun hands on the HOSTNAME of where it was called.
host=$(uname -n) now=$(date +%s)
shopt -s nullglob
images=$node/images # as runtime.sh has it
[[ $node == */repx || ! -e $images || -O $images ]] || images+=-$EUID

# HOLDER IMAGE KIB SECONDS WHAT
say() {
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$host" "$1" "$2" "$3" "$4" "$5"
}

# IMAGE SECONDS: set REPLY to why it is kept, empty where it may go. Several stores may use one folder
# of a node; each is noted there.
reason() {
  local store stores=("$base") known=''
  [[ ! -r $images/$1.stores ]] || mapfile -t -O 1 stores <"$images/$1.stores"
  REPLY=''
  for store in "${stores[@]}"; do
    [[ ! -e $store/artifacts/images/$1/manifest.json ]] || known=1
    if is_needed "$1" "$store"; then
      REPLY='kept: a submission may need it'
    elif [[ -d $store && ! -x $store || -e $store/submissions && ! -r $store/submissions ]]; then
      REPLY="kept: $store, which you cannot read, may need it"
    fi
    [[ -z $REPLY ]] || return
  done
  [[ -z $known ]] || (($2 >= age)) || REPLY='kept: used lately'
}

# IMAGE STORE: does a submission name it that has not ended?
is_needed() {
  local rooms=("$2"/submissions/*/rooms/*.sh)
  ((${#rooms[@]})) && grep -qsEx "repx_(image|packages)='?$1'?" -- "${rooms[@]}"
}

# HOLDER IMAGE KIB SECONDS COMMAND...: remove an image unless there is a reason to keep it.
collect() {
  local said
  reason "$2" "$4"
  if [[ -z $REPLY ]]; then
    if [[ -n $dry ]]; then
      REPLY='would be removed'
    elif said=$("${@:5}" 2>&1); then
      REPLY=removed
    else
      REPLY="kept: ${said##*$'\n'}"
    fi
  fi
  say "$1" "$2" "$3" "$4" "$REPLY"
}

# ROOT: whoever unpacks or looks for it meanwhile finds it whole or not at all.
remove_root() {
  local gone=$1.gone.$$
  if [[ -L $1.lock ]]; then
    echo "$1.lock is a link"
    return 1
  fi
  exec 9>>"$1.lock" || return
  if type -P flock >/dev/null && ! flock -n 9; then
    echo 'it is being unpacked'
    return 1
  fi
  mv -T -- "$1" "$gone" || return
  reason "${1##*/}" "$age"
  if [[ -n $REPLY ]]; then # a submission came between
    mv -T -- "$gone" "$1"
    echo "${REPLY#kept: }"
    return 1
  fi
  rm -f -- "$1.stores"
  rm -rf -- "$gone" 2>/dev/null || { chmod -R u+rwX -- "$gone" && rm -rf -- "$gone"; }
}

collect_roots() {
  local root image used
  for root in "$node" "$images"; do # what it leads to is not ours to remove
    [[ ! -L $root ]] || { say unpacked '*' 0 0 "kept: $root is a link" && return; }
  done
  [[ ! -e $images || -O $images ]] || { say unpacked '*' 0 0 "kept: $images is not yours" && return; }
  for root in "$images"/*.gone.*; do
    [[ ! -L $root ]] || continue
    rm -rf -- "$root" 2>/dev/null || { chmod -R u+rwX -- "$root" && rm -rf -- "$root"; }
  done
  for root in "$images"/*; do
    image=${root##*/}
    [[ -d $root && ! -L $root && $image != *.* ]] || continue
    used=$((now - $(stat -c %Y -- "$root")))
    collect unpacked "$image" "$(size "$root")" "$used" remove_root "$root"
  done
}

# FOLDER: print its KiB.
size() {
  local kib _
  read -r kib _ < <(du -sk -- "$1" 2>/dev/null)
  echo "${kib:-0}"
}

# TOOL [OPTION...]: the images that an engine loaded for jobs of this store: for each there is the
# lock file of the loading, touched at each use. Other stores may have loaded others.
collect_loaded() {
  local name image lock used bytes
  type -P "$1" >/dev/null || return 0
  while IFS=: read -r name image; do
    [[ $name == *repx/image && -n $image ]] || continue
    lock=$images/$image.$1.$host.lock
    [[ -e $lock ]] || lock=$images/$image.$1.$HOSTNAME.lock
    [[ -e $lock ]] || continue
    used=$((now - $(stat -c %Y -- "$lock")))
    bytes=$("$@" image inspect --format '{{.Size}}' "$name:$image" 2>/dev/null)
    collect "$1" "$image" "$((${bytes:-0} / 1024))" "$used" "$@" rmi "$name:$image"
  done < <("$@" images --filter 'reference=*repx/image' --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)
}

collect_roots
storage=()
[[ $node != */repx ]] || storage=(--root "$node/podman" --runroot "$node/podman-run")
[[ ! -d $node/podman && ${#storage[@]} -gt 0 ]] || collect_loaded podman "${storage[@]}"
collect_loaded docker
