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
    amd) repx_at_gpus=(--device /dev/kfd --device /dev/dri) ;;
  esac
  for path in "${repx_host_paths[@]}"; do repx_at_mounts+=(--volume "$path:$path"); done
  repx_load
}

repx_begin_docker() { repx_begin_container; }
repx_end_docker() { repx_end_container; }
repx_after_docker() { repx_after_container; }
"""

DOCKER: Final = Runtime(
    name="docker",
    run=containers.run,
    functions=(containers.SHELL, _SHELL),
    inherits_lock=False,
    ask="start dockerd and add the user to the group docker (which is as good as root)",
)
