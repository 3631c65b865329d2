#!/usr/bin/env bash
# Python with the packages of a Lab, wherever the Lab lies: the Python that the packages were
# installed with where the machine has it, else one of the same version that PATH finds.
home=@home@ version=@version@ platform=@platform@ file=@file@
case $0 in
  */*) here=$0 ;;
  *) here=$(type -P "$0") ;;
esac
base=$home/python$version
[[ -x $base && (-z $platform || $platform == *"$HOSTTYPE"*) ]] || base=''
if [[ -z $base ]]; then
  [[ -z ${REPX_ASKS_PYTHON-} ]] || exit 127 # it is asked by another launcher
  ask="import os, sys, sysconfig
good = '%d.%d' % sys.version_info[:2] == '$version' and '$platform' in ('', sysconfig.get_platform())
good and print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))"
  while read -r python && [[ -z $base ]]; do
    [[ ${python%/*} -ef ${here%/*} ]] || base=$(REPX_ASKS_PYTHON=1 "$python" -I -c "$ask" 2>/dev/null)
  done < <(type -aP "python$version" python3)
fi
if [[ -z $base ]]; then
  printf 'repx: the packages of %s need Python %s (%s), which %s does not have\n' \
    "$file" "$version" "${platform:-any machine}" "${HOSTNAME:-this machine}" >&2
  exit 127
fi
# Python looks for its packages beside the name that it is called by.
exec -a "$here" "$base" "$@"
