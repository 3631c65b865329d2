"""bwrap (bubblewrap): namespaces of an ordinary user, on an unpacked image or the node's root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import (
    HOSTNAME,
    Mount,
    Runtime,
    Walls,
    environment,
    handing_on,
    literal,
    own_gpus,
    view,
)

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.target import Resources

_NAMESPACES: Final = (
    "--unshare-user-try",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-uts",
    "--unshare-cgroup-try",
)
# A terminal is a way out: what is typed into it is read outside.
_SYSTEM: Final = (
    *("--dev", "/dev", "--ro-bind", "/dev/null", "/dev/tty"),
    *("--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108  # a mount of the job's own
)

_SHELL: Final = r"""
repx_try_bwrap() {
  local alone=(--unshare-net)
  repx_find bwrap || return
  [[ -z $repx_network ]] || alone=()
  repx_why=$("${repx_at_tool[@]}" --unshare-user-try --unshare-pid --unshare-ipc --unshare-uts \
    "${alone[@]}" --ro-bind / / --dev /dev --proc /proc \
    -- "$BASH" -c : 2>&1 </dev/null) && return
  repx_why="bwrap cannot make namespaces: ${repx_why##*$'\n'}"
  return 1
}

repx_prepare_bwrap() {
  local device path
  repx_at_root=() repx_at_gpus=()
  repx_spared=2
  if [[ -n $repx_image ]]; then
    repx_image_root && repx_root_words '' || return
  else
    repx_host_words
    [[ -z ${repx_packages-} ]] || repx_package_words || return
  fi
  for path in "${repx_host_paths[@]}"; do repx_at_root+=(--bind "$path" "$path"); done
  repx_gpu_devices
  for device in "${repx_devices[@]}"; do repx_at_gpus+=(--dev-bind "$device" "$device"); done
}

# The node's root, read-only, without the folders that belong to users.
repx_host_words() {
  local folder
  repx_at_root=(--ro-bind / /)
  for folder in "${repx_hidden[@]}"; do
    [[ ! -d $folder ]] || repx_at_root+=(--tmpfs "$(realpath -- "$folder")")
  done
}

# In the node's root, show the packages that the image has in /nix/store, and no others.
repx_package_words() {
  local repx_image=$repx_packages entry words=()
  repx_image_root || return
  if [[ ! -d /nix/store ]]; then # nor can it be made in a root that is read-only
    for entry in /* /.[!.]*; do
      case $entry in
        /dev | /nix | /proc | /tmp) continue ;;
      esac
      if [[ -L $entry ]]; then
        words+=(--symlink "$(readlink -- "$entry")" "$entry")
      elif [[ -e $entry ]]; then
        words+=(--ro-bind "$entry" "$entry")
      fi
    done
    repx_at_root=("${words[@]}" "${repx_at_root[@]:3}")
  fi
  repx_at_root+=(--ro-bind "$repx_root/nix/store" /nix/store)
}

# PATH/: show what the image has there, but leave room for what is mounted upon or below it.
repx_root_words() {
  local entry name
  for entry in "$repx_root/$1"*; do
    name=/$1${entry##*/}
    case $(repx_mounted "$name") in
      at) continue ;;
      below)
        [[ ! -L $entry && -d $entry ]] || continue
        repx_at_root+=(--dir "$name")
        repx_root_words "${name#/}/"
        continue
        ;;
    esac
    if [[ -L $entry ]]; then
      repx_at_root+=(--symlink "$(readlink -- "$entry")" "$name")
    else
      repx_at_root+=(--ro-bind "$entry" "$name")
    fi
  done
  [[ -n $1 || -z $repx_network ]] || repx_name_servers
}

# Is something mounted at PATH, or below it?
repx_mounted() {
  local point
  for point in /dev /proc /tmp "${repx_mountpoints[@]}" "${repx_host_paths[@]}"; do
    [[ $point != "$1" ]] || { echo at && return; }
    [[ $point != "$1"/* ]] || { echo below && return; }
  done
}

# With a network come the node's names for it.
repx_name_servers() {
  local file
  [[ ! -L $repx_root/etc ]] || return 0
  for file in /etc/resolv.conf /etc/hosts; do
    [[ ! -f $file || ! -f $repx_root$file || -L $repx_root$file ]] ||
      repx_at_root+=(--ro-bind "$(realpath -- "$file")" "$file")
  done
}

# Where the node's own root is shown, a failure may come from a path that is not declared.
repx_after_bwrap() {
  [[ -n $repx_image || $repx_status == 0 ]] || repx_say_undeclared
}

# Name the paths in the program's complaints that exist, but not for the program.
repx_say_undeclared() {
  local line word said=' ' log=$repx_record/stderr.log
  local -a words lines
  mapfile -t -n 1000 lines <"$log"
  for line in "${lines[@]}"; do
    read -r -a words <<<"${line//[\'\"\`,;()<>]/ }"
    for word in "${words[@]}"; do
      word=${word%%:*}
      [[ $word == /?* && -e $word && $said != *" $word "* ]] || continue
      repx_unseen "$word" || continue
      said+="$word "
      printf 'repx: isolated: the program asked for %s, %s\n' "$word" \
        'which is not among its inputs' >>"$log"
    done
  done
}

# PATH: does it lie in a hidden folder, and is it not mounted?
repx_unseen() {
  local folder place hidden=''
  for folder in "${repx_hidden[@]}" /tmp; do [[ $1 != "$folder"/* ]] || hidden=1; done
  [[ -n $hidden ]] || return
  for ((place = 0; place < ${#repx_command[@]}; place++)); do
    case ${repx_command[place]} in
      --bind | --ro-bind | --dev-bind)
        folder=${repx_command[place + 2]}
        [[ $folder == / || ($1 != "$folder" && $1 != "$folder"/*) ]] || return
        ;;
      --) break ;;
    esac
  done
}

# TERM for the program and what it started. bwrap itself and its first process stay, since with
# them everything would end at once.
repx_end_bwrap() {
  local inner
  for inner in $(<"/proc/$repx_child/task/$repx_child/children"); do
    repx_signal_below TERM "$inner"
  done 2>/dev/null
}
"""


# bwrap reads further options from a descriptor.
_SECRETS: Final = r"""
repx_names=" ${*:1:$0} "
shift "$0"
exec 3< <(while IFS= read -r -d '' repx_entry; do
  [[ $repx_names != *" ${repx_entry%%=*} "* ]] ||
    printf '%s\0' --setenv "${repx_entry%%=*}" "${repx_entry#*=}"
done </proc/self/environ)
exec "$@"
"""


def _run(launch: Launch, walls: Walls, asked: Resources) -> tuple[str, ...]:
    words = [
        "@tool",
        *_NAMESPACES,
        *(() if walls.network else ("--unshare-net",)),
        *("--die-with-parent", "--hostname", HOSTNAME, "--cap-drop", "ALL"),
        "@root",
        *_SYSTEM,
        "@gpus",
    ]
    for mount in view(launch, walls):
        words += [_kind(mount), mount.path, mount.path]
    words += ["--remount-ro", "/", "--clearenv", *own_gpus(asked)]
    for name, value in environment(walls).items():
        words += ["--setenv", name, literal(value)]
    if walls.secrets:
        words += ["--args", "3"]
    return handing_on(walls, _SECRETS, [*words, "--chdir", launch.out, "--", *launch.words])


def _kind(mount: Mount) -> str:
    if mount.device:
        return "--dev-bind"
    return "--bind" if mount.writable else "--ro-bind"


BWRAP: Final = Runtime(
    name="bwrap",
    run=_run,
    functions=(_SHELL,),
    ask="install bubblewrap and allow user namespaces (sysctl user.max_user_namespaces=15000, "
    "and kernel.apparmor_restrict_unprivileged_userns=0 where there is one)",
)
