"""docker: containers of a daemon that the user may talk to."""

from __future__ import annotations

from typing import Final

from repx.runtimes import containers
from repx.runtimes.contract import Runtime

_SHELL: Final = r"""
repx_try_docker() {
  repx_find docker || return
  repx_why=$(repx_tool version --format '{{.Server.Version}}' 2>&1) && return
  repx_why="docker's daemon does not answer: ${repx_why##*$'\n'}"
  return 1
}

repx_prepare_docker() {
  local path
  repx_at_user=(--user "$(id -u):$(id -g)") repx_at_init=() repx_at_gpus=() repx_at_mounts=()
  ! type -P docker-init >/dev/null || repx_at_init=(--init)
  case $repx_gpus in
    nvidia) repx_at_gpus=(--gpus all) ;;
    amd) repx_amd_words && repx_docker_groups ;;
  esac
  for path in "${repx_host_paths[@]}"; do repx_at_mounts+=(--volume "$path:$path"); done
  repx_load
}

# A device may be open to a group only, and a program of docker's is in none of the user's.
repx_docker_groups() {
  local device group own joined=' '
  own=" $(id -G) "
  for device in "${repx_devices[@]}"; do
    for group in $(stat -c %g -- "$device" "$device"/* 2>/dev/null); do
      [[ $own == *" $group "* && $joined != *" $group "* ]] || continue
      joined+="$group "
      repx_at_gpus+=(--group-add "$group")
    done
  done
}

repx_begin_docker() { repx_begin_container; }
repx_end_docker() { repx_end_container; }
repx_after_docker() { repx_after_container; }
"""

DOCKER: Final = Runtime(
    name="docker",
    run=containers.run,
    functions=(containers.SHELL, _SHELL),
    ask="start dockerd and add the user to the group docker (which is as good as root)",
)
