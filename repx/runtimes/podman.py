"""podman: containers without a daemon, in storage of the user's own."""

from __future__ import annotations

from typing import Final

from repx.runtimes import containers
from repx.runtimes.contract import Runtime

# A home on a network file system cannot hold podman's storage: it keeps files of other ids.
STORAGE: Final = r"""
# FOLDER: 1 where podman's storage cannot lie, having said why.
repx_podman_storage() {
  local place=$1 kind
  while [[ $place == /?* && ! -e $place ]]; do place=${place%/*}; done
  kind=$(stat -f -c %T -- "${place:-/}" 2>/dev/null)
  case $kind in
    9p | afs | beegfs | ceph | cifs | fuse* | gpfs | lustre | nfs* | panfs | smb* | v9fs)
      echo "its storage $1 is on a network file system ($kind):" \
        "set \`node_local_path:\` in the target"
      return 1
      ;;
  esac
}
"""

_SHELL: Final = r"""
repx_try_podman() {
  repx_find podman || return
  [[ -z $repx_node_local ]] || repx_podman_local || return
  repx_why=$(repx_tool info --format '{{.Store.GraphRoot}}' 2>&1) &&
    repx_why=$(repx_podman_storage "$repx_why") && return
  repx_why="podman: ${repx_why##*$'\n'}"
  return 1
}

# Its storage on the node. podman refuses a long path for what it keeps while it runs.
repx_podman_local() {
  local run=$repx_node/podman-run sum
  if ((${#run} > 50)); then
    sum=$(printf %s "$run" | sha256sum)
    run=/tmp/repx-$EUID-${sum:0:8}
    mkdir -m 700 -- "$run" 2>/dev/null
    repx_why="podman: $run is not a folder of yours"
    [[ -d $run && ! -L $run && -O $run ]] || return
  fi
  repx_at_tool+=(--root "$repx_node/podman" --runroot "$run")
}

repx_prepare_podman() {
  local path
  repx_at_user=() repx_at_init=() repx_at_gpus=() repx_at_mounts=()
  ((EUID == 0)) || repx_at_user=(--userns keep-id)
  ! type -P catatonit >/dev/null || repx_at_init=(--init)
  case $repx_gpus in
    nvidia) repx_at_gpus=(--device nvidia.com/gpu=all) ;;
    amd) repx_amd_words ;;
  esac
  # A device may be open to a group only: with crun, not runc, the user's groups go with it.
  ((EUID == 0)) || [[ $repx_gpus != amd ]] || repx_at_gpus+=(--group-add keep-groups)
  for path in "${repx_host_paths[@]}"; do repx_at_mounts+=(--volume "$path:$path"); done
  repx_load
}

repx_begin_podman() { repx_begin_container; }
repx_end_podman() { repx_end_container; }
repx_after_podman() { repx_after_container; }
"""

PODMAN: Final = Runtime(
    name="podman",
    run=containers.run,
    functions=(containers.SHELL, STORAGE, _SHELL),
    ask="install uidmap, give the user subordinate ids (usermod --add-subuids 100000-165535 "
    "--add-subgids 100000-165535 USER), and `loginctl enable-linger USER`, which keeps "
    "/run/user/UID; then the user runs `podman system migrate`",
)
