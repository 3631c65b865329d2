# shellcheck shell=bash
#
# What an environment can change in bash itself: options, functions, variables that bash heeds. All
# scripts of a submission read this first, so that they mean the same whoever starts them.

unset -f . : [ bash builtin cat cd chmod command declare echo env eval exec exit export flock id kill ln local
unset -f mapfile mkdir mv od printf pwd read return rm set sha256sum shift shopt sleep source sync tar test
unset -f touch trap true type umask unset wait
unset BASH_COMPAT CDPATH FUNCNEST GLOBIGNORE IFS POSIXLY_CORRECT TMOUT
set +efuvxkT +o pipefail +o posix
shopt -u failglob nocasematch nocaseglob extglob
