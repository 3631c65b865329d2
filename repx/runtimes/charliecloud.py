"""charliecloud: `ch-run`, which needs nothing of root, in further namespaces made by `unshare`.

ch-run itself hides neither the network nor other processes, shows all devices and mounts nothing
read-only; what is around it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import (
    Runtime,
    Walls,
    environment,
    literal,
    mount_points,
    own_gpus,
    view,
)

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.target import Resources

_SHELL: Final = r"""
repx_try_charliecloud() {
  local tool
  repx_find ch-run || return
  [[ -n $repx_image ]] || { repx_why="charliecloud needs an image" && return 1; }
  for tool in unshare setpriv mount; do
    repx_why="charliecloud is not isolated without $tool, which is not installed"
    type -P "$tool" >/dev/null || return
  done
  mkdir -p -- "$repx_node/view" 2>/dev/null
  repx_charliecloud_outer
  repx_why=$("${repx_at_outer[@]}" -- "$BASH" -c : 2>&1 </dev/null) && return
  repx_why="unshare cannot make namespaces: ${repx_why##*$'\n'}"
  return 1
}

# Words before ch-run: namespaces, and in them a folder with all that the program sees. All of it
# ends with the process that starts it.
repx_charliecloud_outer() {
  local alone=(--net)
  [[ -z $repx_network ]] || alone=()
  repx_at_outer=(env "USER=${USER:-$(id -un)}"
    setpriv --pdeathsig KILL
    unshare --user --map-current-user --keep-caps --pid --ipc --uts --mount-proc --kill-child
    "${alone[@]}" "$BASH" -c "$repx_charliecloud_inside" repx "$repx_node/view")
}

# VIEW (ro|rw|sealed PATH)... -- WORD...: run the words where VIEW/root has the paths, and /dev
# little. What is sealed stays where it is, read-only.
repx_charliecloud_inside='
set -e
view=$1
shift
mount -t tmpfs -o mode=755,nosuid repx "$view"
mkdir "$view/root" "$view/dev" "$view/dev/shm" "$view/dev/pts" "$view/dev/mqueue"
show() { # PATH PLACE
  if [[ -d $1 ]]; then mkdir -p "$2"; else mkdir -p "${2%/*}" && [[ -e $2 ]] || : >"$2"; fi
  mount --rbind "$1" "$2"
}
seal() { # PATH: read-only with all that is mounted below it
  local at
  mount --rbind "$1" "$1"
  while read -r _ _ _ _ at _; do
    [[ $at != "$1" && $at != "$1"/* ]] || mount -o remount,bind,ro "$at"
  done </proc/self/mountinfo
}
printf repx >/proc/sys/kernel/hostname 2>/dev/null || hostname repx
while [[ $1 != -- ]]; do
  case $1 in
    sealed) seal "$2" ;;
    *)
      show "$2" "$view/root$2"
      [[ $1 == rw ]] || mount -o remount,bind,ro "$view/root$2"
      ;;
  esac
  shift 2
done
shift
for name in null zero full random urandom; do show "/dev/$name" "$view/dev/$name"; done
show /dev/null "$view/dev/tty"
ln -s /proc/self/fd "$view/dev/fd"
ln -s /proc/self/fd/0 "$view/dev/stdin"
ln -s /proc/self/fd/1 "$view/dev/stdout"
ln -s /proc/self/fd/2 "$view/dev/stderr"
for name in "$view"/root/dev/*; do
  [[ ! -e $name ]] || show "$name" "$view/dev/${name##*/}"
done
mount --rbind "$view/dev" /dev
exec setpriv --inh-caps=-all --ambient-caps=-all "$@"
'

repx_prepare_charliecloud() {
  local path
  repx_at_gpus=() repx_at_mounts=() repx_at_binds=() repx_at_user=() repx_at_kernel=()
  repx_spared=1
  # Inside, root would have the powers to mount and to make the image writable.
  ((EUID != 0)) || repx_at_user=(--uid 1000 --gid 1000) repx_at_kernel=(sealed /sys)
  repx_kernel_files
  for path in "${repx_kernel[@]}"; do repx_at_kernel+=(sealed "$path"); done
  repx_image_root && repx_once "$repx_root" repx_charliecloud_points || return
  repx_gpu_devices
  for path in "${repx_devices[@]}"; do repx_at_gpus+=(rw "$path"); done
  for path in "${repx_host_paths[@]}"; do
    repx_at_mounts+=(rw "$path")
    repx_at_binds+=(--bind "$repx_node/view/root$path:$path")
  done
  repx_at_root=("$repx_root")
}

# ch-run makes nothing to mount upon in an image, but for what lies below /tmp, which is the job's.
repx_charliecloud_points() {
  local point
  for point in "${repx_mountpoints[@]}" "${repx_host_paths[@]}"; do
    case $point in
      /tmp/* | /dev/*) ;;
      *) [[ -e $repx_root$point ]] || repx_charliecloud_point "$point" || return ;;
    esac
  done
}

# PATH: make it in the image, and follow none of the image's links for it.
repx_charliecloud_point() {
  local above=$repx_root frozen name
  local -a names
  IFS=/ read -r -a names <<<"${1#/}"
  for name in "${names[@]}"; do
    repx_why="charliecloud cannot mount $1 on the image: cannot make $above/$name"
    [[ ! -L $above/$name ]] || return
    if [[ ! -d $above/$name ]]; then
      frozen=''
      [[ -w $above ]] || { frozen=1 && chmod u+w -- "$above"; } || return
      if [[ $above/$name == "$repx_root$1" && ! -d $1 ]]; then
        : >>"$above/$name"
      else
        mkdir -m 755 -- "$above/$name"
      fi || return
      [[ -z $frozen ]] || chmod u-w -- "$above"
    fi
    above+=/$name
  done
}

# TERM for the program and what it started, below the first process of its namespace.
repx_end_charliecloud() {
  local inner
  for inner in $(<"/proc/$repx_child/task/$repx_child/children"); do
    repx_signal_below TERM "$inner"
    kill -TERM "$inner"
  done 2>/dev/null
}
"""


def _run(launch: Launch, walls: Walls, asked: Resources) -> tuple[str, ...]:
    words = ["@outer", "@kernel", "@gpus", "@mounts"]
    for mount in view(launch, walls):
        words += ["rw" if mount.writable else "ro", mount.path]
    kept = f"!({'|'.join(walls.secrets)})" if walls.secrets else "*"
    words += ["--", "@tool", "@user", "--no-passwd", "--private-tmp", f"--unset-env={kept}"]
    words += own_gpus(asked)
    words += [f"--set-env={name}={value}" for name, value in environment(walls).items()]
    for path in mount_points(walls):
        if not path.startswith("/dev/"):
            words += ["--bind", f"{walls.node}/view/root{path}:{path}"]
    words += ["@binds", "--cd", launch.out, "@root", "--"]
    return (*words, *map(literal, launch.words))


CHARLIECLOUD: Final = Runtime(
    name="charliecloud",
    run=_run,
    functions=(_SHELL,),
    ask="install charliecloud and util-linux 2.38 or newer, and allow user namespaces "
    "(sysctl user.max_user_namespaces=15000)",
)
