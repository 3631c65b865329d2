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
  repx_at_root=() repx_at_gpus=() repx_at_mounts=()
  repx_at_hidden=() repx_at_kernel=() repx_at_sealed=()
  repx_spared=2
  if [[ -n $repx_image ]]; then
    repx_image_root && repx_root_words '' || return
  else
    repx_host_words
    [[ -z ${repx_packages-} ]] || repx_package_words || return
  fi
  for path in "${repx_host_paths[@]}"; do repx_at_mounts+=(--bind "$path" "$path"); done
  repx_gpu_devices
  for device in "${repx_devices[@]}"; do repx_at_gpus+=(--dev-bind "$device" "$device"); done
  # What the libraries of GPUs ask about them.
  [[ -z $repx_gpus || -z $repx_image ]] || repx_at_kernel+=(--ro-bind /sys /sys)
  repx_kernel_files
  for path in "${repx_kernel[@]}"; do repx_at_kernel+=(--ro-bind "$path" "$path"); done
}

# The node's root, read-only, without the folders that belong to users, and without /run, where
# services listen. What is hidden takes no file either, once all is mounted in it.
repx_host_words() {
  local folder file
  repx_at_root=(--ro-bind / /)
  for folder in "${repx_hidden[@]}"; do
    [[ -d $folder ]] || continue
    folder=$(realpath -- "$folder")
    repx_at_hidden+=(--tmpfs "$folder")
    repx_opened "$folder" || repx_at_sealed+=(--remount-ro "$folder")
  done
  for file in /run/current-system /run/opengl-driver; do # the programs of NixOS
    [[ ! -L $file ]] || repx_at_hidden+=(--symlink "$(readlink -- "$file")" "$file")
  done
  file=$(realpath -- /etc/resolv.conf 2>/dev/null)
  [[ -z $repx_network || $file != /run/* || ! -f $file ]] ||
    repx_at_hidden+=(--ro-bind "$file" "$file")
}

# FOLDER: does the target open it, or all that it lies in?
repx_opened() {
  local point
  for point in "${repx_mountpoints[@]:1}" "${repx_host_paths[@]}"; do
    [[ $1 != "$point" && $1 != "${point%/}"/* ]] || return 0
  done
  return 1
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
    repx_at_root=("${words[@]}")
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

# Where the node's own root is shown, a failure may come from what is not declared.
repx_after_bwrap() {
  [[ -n $repx_image || $repx_status == 0 ]] ||
    repx_say_undeclared 2>/dev/null >>"$repx_record/stderr.log"
}

# Name what the program's last complaints are about if that is there, but not for the program.
repx_say_undeclared() {
  local log line word quote said=$'\n'
  local -a lines words pieces
  local -a quotes=('"' '`' $'\xe2\x80\x98' $'\xe2\x80\x99' $'\xe2\x80\x9c' $'\xe2\x80\x9d')
  for log in stderr stdout; do
    mapfile -t lines < <(tail -n 1000 -- "$repx_record/$log.log")
    for line in "${lines[@]:0:1000}"; do
      line=${line:0:4000}
      for quote in "${quotes[@]}"; do line=${line//"$quote"/"'"}; done
      read -r -a words <<<"${line//[\',;()<>]/ }"
      for quote in ': ' ' ('; do line=${line//"$quote"/"'"}; done # a path may hold spaces
      mapfile -t pieces <<<"${line//"'"/$'\n'}"
      for word in "${pieces[@]}" "${words[@]%%:*}"; do
        [[ $word != /?* ]] || repx_say_read "$word"
      done
      for word in "${pieces[@]}"; do [[ $word != /?* ]] || repx_say_write "$word" "$line"; done
      case $line in
        *'etwork is unreachable'* | *'ame resolution'* | *'ould not resolve'* | *'not known'*)
          repx_say_once 'the program asked for the network: `network: true` in the target opens it'
          ;;
      esac
    done
  done
}

# PATH: say that the program may not read it, if so.
repx_say_read() {
  [[ ! -e $1 ]] || ! repx_unseen "$1" ||
    repx_say_once "the program asked for $1, which is not among its inputs"
}

# PATH COMPLAINT: say that the program may not write to it, if so.
repx_say_write() {
  local folder=${1%/*}
  [[ -d $folder && $1 != "$repx_store"/@(artifacts|labs)/* ]] || return 0 # the script itself
  if [[ $2 == *'ead-only file system'* ]] || { [[ ! -e $1 ]] && repx_unseen "$1"; }; then
    repx_say_once "the program asked for $1: it can write to its \$out and to /tmp only"
  fi
}

# TEXT
repx_say_once() {
  [[ $said != *$'\n'"$1"$'\n'* ]] || return 0
  said+=$1$'\n'
  printf 'repx: isolated: %s\n' "$1"
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
        *("@kernel", "@hidden", "@mounts", "@gpus"),
    ]
    for mount in view(launch, walls):
        words += [_kind(mount), mount.path, mount.path]
    words += ["@sealed", "--remount-ro", "/", "--clearenv", *own_gpus(asked)]
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
