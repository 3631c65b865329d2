"""apptainer: as HPC sites have it. Written after its documentation; never run by repx's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.runtimes.contract import (
    HOSTNAME,
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

_SHELL: Final = r"""
repx_try_apptainer() {
  repx_find apptainer || return
  [[ -n $repx_image ]] || { repx_why="apptainer needs an image" && return 1; }
  repx_why=$("${repx_at_tool[@]}" --version 2>&1 </dev/null) && return
  repx_why="apptainer: ${repx_why##*$'\n'}"
  return 1
}

repx_prepare_apptainer() {
  local path
  repx_at_gpus=() repx_at_mounts=()
  repx_image_root || return
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


# Such variables of its own pass its --cleanenv.
_SECRETS: Final = r"""
for name in "${@:1:$0}"; do export "APPTAINERENV_$name=${!name}"; done
shift "$0"
exec "$@"
"""


def _run(launch: Launch, walls: Walls, asked: Resources) -> tuple[str, ...]:
    words = ["@tool", "exec", "--containall", "--no-home", "--cleanenv", "--pid", "--ipc", "--uts"]
    words += ["--hostname", HOSTNAME, "--no-privs", "@gpus", *own_gpus(asked)]
    if not walls.network:
        words += ["--net", "--network", "none"]
    for mount in view(launch, walls):
        writable = "" if mount.writable or mount.device else ",ro"
        words += ["--mount", f"type=bind,source={mount.path},destination={mount.path}{writable}"]
    for name, value in environment(walls).items():
        words += ["--env", f"{name}={value}"]
    words += ["@mounts", "--pwd", launch.out, "@root", *map(literal, launch.words)]
    return handing_on(walls, _SECRETS, words)


APPTAINER: Final = Runtime(
    name="apptainer",
    run=_run,
    functions=(_SHELL,),
    ask="install apptainer (or load its module in `slurm: prologue:`) and allow user namespaces",
)
