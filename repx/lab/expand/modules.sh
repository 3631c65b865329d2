# shellcheck shell=bash
# MODULE...: load modules of the machine; a job whose modules cannot be loaded fails.
repx_modules() {
  local repx_init repx_why='' repx_module repx_before
  set +eu
  if ! declare -F module >/dev/null; then
    for repx_init in "$LMOD_PKG/init/bash" "$MODULESHOME/init/bash" /etc/profile.d/lmod.sh \
      /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash; do
      # shellcheck source=/dev/null
      [[ ! -r $repx_init ]] || . "$repx_init" >/dev/null
      declare -F module >/dev/null && break
    done
  fi
  if ! declare -F module >/dev/null; then
    repx_why="${HOSTNAME:-this machine} has no \`module\` command"
  else
    for repx_module; do
      repx_before=$LOADEDMODULES
      module load "$repx_module" </dev/null || repx_why="\`module load $repx_module\` failed"
      # Old versions of modules succeed whatever happens.
      [[ :$LOADEDMODULES: == *":$repx_module"[:/]* || $LOADEDMODULES != "$repx_before" ]] ||
        repx_why=${repx_why:-"\`module load $repx_module\` loaded nothing"}
      [[ -z $repx_why ]] || break
    done
  fi
  set -eu
  [[ -n $repx_why ]] || return 0
  printf 'repx: cannot load the modules of this stage (%s): %s\n' "$*" "$repx_why" >&2
  exit 3
}

