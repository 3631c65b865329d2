"""apptainer: as HPC sites have it. Written after its documentation; never run by repx's tests.

It runs the unpacked root as bwrap does, not a SIF file, which would need squashfs tools on nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import (
    HOSTNAME,
    Runtime,
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

_SHELL: Final = r"""
repx_try_apptainer() {
  repx_find apptainer || return
  [[ -n $repx_image ]] || { repx_why="apptainer needs an image" && return 1; }
  repx_why=$("${repx_at_tool[@]}" --version 2>&1 </dev/null) &&
    [[ $repx_why != *' 1.0.'* ]] && return
  repx_why="apptainer 1.1 or newer is needed: ${repx_why##*$'\n'}"
  return 1
}

repx_prepare_apptainer() {
  local path
  repx_at_gpus=() repx_at_mounts=() repx_at_env=()
  repx_image_root || return
  for path in /usr/bin/env /bin/env; do
    [[ ! -e $repx_root$path && ! -L $repx_root$path ]] || repx_at_env=("$path")
  done
  repx_why="apptainer needs /usr/bin/env in the image"
  ((${#repx_at_env[@]})) || return
  case $repx_gpus in
    nvidia) repx_at_gpus=(--nv) ;;
    amd) repx_at_gpus=(--rocm) ;;
  esac
  for path in "${repx_host_paths[@]}"; do repx_at_mounts+=(--bind "$path"); done
  repx_at_root=("$repx_root")
}

# TERM for the program and what it started; apptainer itself ends with them.
repx_end_apptainer() {
  repx_signal_below TERM "$repx_child"
}
"""


# A user's APPTAINER_BIND and the like would open more; APPTAINERENV_NAME passes its --cleanenv.
_OWN: Final = r"""
repx_names=" ${*:1:$0} "
shift "$0"
for repx_name in "${!APPTAINER@}" "${!SINGULARITY@}"; do unset "$repx_name"; done
while IFS= read -r -d '' repx_entry; do
  [[ $repx_names != *" ${repx_entry%%=*} "* ]] || export "APPTAINERENV_$repx_entry"
done </proc/self/environ
exec "$@"
"""


def _run(launch: Launch, walls: Walls, asked: Resources) -> tuple[str, ...]:
    words = ["@tool", "exec", "--containall", "--no-home", "--cleanenv", "--no-eval"]
    words += ["--no-mount", "hostfs,cwd,bind-paths", "--pid", "--ipc", "--uts"]
    words += ["--hostname", HOSTNAME, "--no-privs", "@gpus", *own_gpus(asked)]
    if not walls.network:
        words += ["--net", "--network", "none"]
    for mount in view(launch, walls):
        kept = () if mount.writable or mount.device else ("ro",)
        place = (f"source={mount.path}", f"destination={mount.path}")
        words += ["--mount", mount_fields("type=bind", *place, *kept)]
    words += ["@mounts", "--pwd", launch.out, "@root"]
    # apptainer takes no HOME from outside, and splits values at commas.
    words += ["@env", *(f"{name}={value}" for name, value in environment(walls).items())]
    words += ["/bin/sh", "-c", 'exec "$@"', "sh"]  # env itself would take `a=b/program` for a value
    names = walls.secrets
    return ("bash", "-c", _OWN, str(len(names)), *names, *words, *map(literal, launch.words))


APPTAINER: Final = Runtime(
    name="apptainer",
    run=_run,
    functions=(_SHELL,),
    ask="install apptainer (or load its module in `slurm: prologue:`) and allow user namespaces",
)
