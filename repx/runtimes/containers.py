"""What docker and podman share: the words of `run`, and how an image gets into their storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import (
    HOSTNAME,
    Mount,
    Walls,
    environment,
    literal,
    mount_fields,
    own_gpus,
    view,
)

if TYPE_CHECKING:
    from repx.launch import Launch
    from repx.target import Resources

IMAGE: Final = "repx/image"
_PROCESSES: Final = 4096


def run(launch: Launch, walls: Walls, asked: Resources) -> tuple[str, ...]:
    """Return the words that run a launch in a container."""
    words = [
        *("@start", "@tool", "run", "--name", "@name", "--hostname", HOSTNAME),
        *("@input", "@user", "@init", "@gpus"),
        *("--read-only", "--pull", "never", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--pids-limit", str(_PROCESSES)),
        *("--tmpfs", "/tmp:rw,exec,mode=1777"),  # noqa: S108  # a mount of the job's own
        *("--network", "host" if walls.network else "none", "--log-driver", "none"),
        *("--label", f"repx.store={walls.base}", "--label", f"repx.folder={launch.folder}"),
    ]
    if asked.cpus:
        words.append(f"--cpus={asked.cpus}")
    if asked.memory:
        words.append(f"--memory={asked.memory}")
    words += [*own_gpus(asked), "@mounts"]
    for mount in view(launch, walls):
        words += _mount(mount)
    for name, value in environment(walls).items():
        words += ["--env", f"{name}={value}"]
    for name in walls.secrets:  # the client takes them from its own environment
        words += ["--env", name]
    words += ["--workdir", launch.out, "--entrypoint", "@entry", f"{IMAGE}:{walls.image}"]
    return (*words, "@guard", *map(literal, launch.words[1:]))


def _mount(mount: Mount) -> list[str]:
    if mount.device:
        return ["--device", mount.path]
    kept = () if mount.writable else ("readonly",)
    fields = mount_fields("type=bind", f"source={mount.path}", f"target={mount.path}", *kept)
    return ["--mount", fields]


SHELL: Final = r"""
# Load the image unless the storage has it, one process of a machine at a time.
repx_load() {
  local lock=$repx_images/$repx_image.${repx_at_tool[0]##*/}.$HOSTNAME
  repx_has_image || repx_once "$lock" repx_load_now || return
  touch -c -- "$lock.lock" 2>/dev/null || true # `repx gc --images` asks when it was used
}

repx_has_image() {
  repx_tool image inspect "repx/image:$repx_image" >/dev/null 2>&1
}

repx_load_now() {
  ! repx_has_image || return 0
  repx_why=$(repx_sums && repx_docker_archive |
    (repx_export_environment && exec "${repx_at_tool[@]}" load) 2>&1) && repx_has_image && return
  # podman tells this in the midst of other words.
  [[ $repx_why != *'insufficient UIDs'* ]] || repx_why='no subordinate ids (/etc/subuid)'
  repx_why="${repx_at_tool[0]##*/} cannot load the image ${repx_image_name:-}: ${repx_why##*$'\n'}"
  return 1
}

# The archive that `docker save` would write, from where its parts lie in the store.
repx_docker_archive() {
  local place names=()
  for place in "${repx_layers[@]}"; do
    [[ $place != /* ]] || names+=("${place##*/}")
  done
  tar --create --directory="$repx_archive" manifest.json config.json \
    --directory="${repx_layers[0]%/*}" "${names[@]}"
}

# AMD's GPUs are devices like others.
repx_amd_words() {
  local device
  repx_gpu_devices
  for device in "${repx_devices[@]}"; do repx_at_gpus+=(--device "$device"); done
}

# Each layer must be what its digest says.
repx_sums() {
  local sum
  local -a rest=("${repx_layers[@]}")
  while ((${#rest[@]})); do
    sum=$(sha256sum <"${rest[0]}") || { echo "layer missing: ${rest[0]}"; return 1; }
    [[ $sum == "${rest[1]}  -" ]] || {
      mv -f -- "${rest[0]}" "${rest[0]}.broken" 2>/dev/null
      echo "layer broken: ${rest[0]}; \`repx run\` sends it again"
      return 1
    }
    rest=("${rest[@]:2}")
  done
}

# An attempt before may have left its container: its client was killed, the container was not.
repx_begin_container() {
  local sum
  sum=$(printf %s "$repx_record" | sha256sum)
  repx_at_name=("repx-${sum:0:24}")
  repx_why="an earlier attempt left the container ${repx_at_name[0]}, which cannot be removed"
  repx_remove_container || return
  repx_at_start=() repx_at_input=() repx_at_guard=() repx_at_entry=("$repx_executable")
  if [[ -n ${repx_attended-} ]]; then
    repx_attend_container
  else
    repx_await_elsewhere || return
    repx_guard
    repx_note_container
  fi
}

# Write down where the container runs, and in how many seconds it ends without its client, if so.
repx_note_container() {
  local note=$repx_record/container ends=never
  ((${#repx_at_guard[@]} == 0)) || ends=$((repx_grace_s + 5))
  repx_clean "$note"
  printf '%s %s %s\n' "$(</proc/sys/kernel/hostname)" "${repx_at_name[0]}" "$ends" >"$note"
}

# A container that an attempt before has left on another node is not seen from here. The job's lock
# is free, so its client has ended: so has the container after some seconds, if it is guarded.
repx_await_elsewhere() {
  local note=$repx_record/container host name ends
  [[ -f $note && ! -L $note ]] && read -r host name ends <"$note" || return 0
  [[ $host != "$(</proc/sys/kernel/hostname)" ]] || return 0
  host=${host//[^A-Za-z0-9._-]/} name=${repx_at_name[0]}
  repx_why="an attempt before was killed on $host, where its container $name may still run: type "
  repx_why+="\`${repx_at_tool[0]##*/} rm --force $name\` there, then remove $note"
  [[ $ends && $ends != *[!0-9]* ]] || return
  repx_exceptional say \
    "an attempt before was killed on $host; waiting $ends s until its container has ended"
  sleep "$ends" &
  wait $!
  return 0
}

# A person's own shell. This process becomes its client, which may be killed or lose its terminal:
# then the container ends, too. Its name is new, so that a next shell has nothing to do with it.
repx_attend_container() {
  repx_at_name=("${repx_at_name[0]}-$$")
  repx_at_input=(--rm --interactive)
  [[ ! -t 0 ]] || repx_at_input+=(--tty)
  {
    trap '' HUP INT QUIT TERM
    while kill -0 "$$" && [[ ${repx_at_input[-1]} != --tty || -t 0 ]]; do sleep 1; done
    repx_tool kill "${repx_at_name[0]}"
    repx_remove_container
  } <&0 >/dev/null 2>&1 9>&- &
}

# A container outlives its client, be that killed. So its first process reads from the client, who
# never says a word: the end of that tells that the client is gone. It is the program's own bash.
repx_guard() {
  local silence=$repx_here/nodes/${repx_at_name[0]}.$HOSTNAME.$$
  repx_interpreter "$repx_executable" || return 0
  [[ $REPLY == */bash || "$REPLY $repx_argument" == "/usr/bin/env bash" ]] || return 0
  mkfifo -- "$silence" 2>/dev/null || return 0
  repx_at_start=("$BASH" -c 'exec <>"$0" && rm -f -- "$0" && exec "$@"' "$silence")
  repx_at_input=(--interactive)
  repx_at_entry=("$REPLY")
  repx_at_guard=(-c "$repx_guard_inside" "$repx_grace_s" "$repx_executable")
  [[ $REPLY != */env ]] || repx_at_guard=(bash "${repx_at_guard[@]}")
  repx_at_init=()
}

# GRACE, in $0: run the words that are given; end all when stdin does.
repx_guard_inside='
set -m
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
exec 2>/dev/null
trap "kill -TERM -1" TERM
{
  trap "" TERM
  read -r _ <&3
  kill -TERM -1
  sleep "$0"
  kill -KILL -1
} >/dev/null &
exec 3<&-
while :; do
  wait "$program"
  status=$?
  kill -0 "$program" || exit "$status"
done
'

# Remove the container, running or not; 1 when it is still there. An engine that is busy with the
# container's end may refuse to for a while.
repx_remove_container() {
  local tries
  for ((tries = 1; tries <= 20; tries++)); do
    repx_tool rm --force "${repx_at_name[0]}" >/dev/null 2>&1
    repx_tool container inspect "${repx_at_name[0]}" >/dev/null 2>&1 || return 0
    sleep 0.5
  done
  return 1
}

# TERM, after the grace KILL, and gone.
repx_end_container() {
  repx_tool stop -t "$repx_grace_s" "${repx_at_name[0]}" >/dev/null 2>&1
}

# Whatever has become of the client, nothing of the container stays.
repx_after_container() {
  [[ $repx_status != 137 || $(repx_tool container inspect --format '{{.State.OOMKilled}}' \
    "${repx_at_name[0]}" 2>/dev/null) != true ]] || repx_oom=1
  if repx_remove_container; then
    repx_clean "$repx_record/container"
  else
    repx_exceptional say "the container ${repx_at_name[0]} cannot be removed"
  fi
}
"""
