# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the job file, lib.sh and exceptional.sh set what is read here
#
# The environment of a program that has secrets, or for which a site has lines of its own. Values of
# secrets are read where the job runs; they stand in no file of ours and in no command line.

# Can every secret be read? They are read once more, by the program's own process.
repx_check_all_secrets() {
  local index REPLY
  for ((index = 0; index < ${#repx_secrets[@]}; index += 3)); do
    repx_secret "$index" || repx_fail 1 "environment: $REPLY" || return
  done
}

# INDEX: set REPLY to a secret's value, or to what is wrong.
repx_secret() {
  local name=${repx_secrets[$1]} from=${repx_secrets[$1 + 2]} code
  if [[ ${repx_secrets[$1 + 1]} == env ]]; then
    repx_caller_has "$from" || { REPLY="$name: the variable $from is not set" && return 1; }
  else
    # shellcheck disable=SC2088 # a text, to be expanded here
    [[ $from != '~/'* ]] || from=${HOME-}/${from:2}
    [[ -f $from && -r $from ]] || { REPLY="$name: cannot read $from" && return 1; }
    IFS= read -r -d '' REPLY <"$from" && { REPLY="$name: $from has a NUL byte" && return 1; }
    while [[ $REPLY == *$'\n' ]]; do REPLY=${REPLY%$'\n'}; done
  fi
  ((${#REPLY} < 100000)) || { REPLY="$name: $from is longer than a variable may be" && return 1; }
}

# NAME: set REPLY to the value that this process was started with; bash itself changes some.
repx_caller_has() {
  local entry
  if [[ ! -r /proc/self/environ ]]; then
    REPLY=${!1-}
    [[ -n ${!1+set} ]]
    return
  fi
  while IFS= read -r -d '' entry; do
    [[ $entry == "$1="* ]] && REPLY=${entry#*=} && return
  done <"$repx_environ"
  return 1
}

# ENTRY...: become the program, where its environment is not just these entries: a site's own
# lines change it, or secrets must not stand in a command line that everybody sees. Secrets, and
# variables of the caller that hold them, come through this shell's own environment.
repx_become_with_secrets() {
  local repx_index repx_entry repx_site_path repx_hidden=' ' repx_open=() repx_words='' repx_env REPLY
  repx_env=$(type -P env)
  for ((repx_index = 0; repx_index < ${#repx_secrets[@]}; repx_index += 3)); do
    repx_hidden+="${repx_secrets[repx_index]} "
    [[ ${repx_secrets[repx_index + 1]} != env ]] || repx_hidden+="${repx_secrets[repx_index + 2]} "
  done
  for repx_entry; do
    if [[ $repx_hidden == *" ${repx_entry%%=*} "* ]]; then
      printf -v repx_words '%s%s=%q ' "$repx_words" "${repx_entry%%=*}" "${repx_entry#*=}"
    else
      repx_open+=("$repx_entry")
    fi
  done
  for ((repx_index = 0; repx_index < ${#repx_secrets[@]}; repx_index += 3)); do
    repx_secret "$repx_index" || exit 1
    printf -v repx_words '%s%s=%q ' "$repx_words" "${repx_secrets[repx_index]}" "$REPLY"
  done
  if [[ $(type -t repx_site) == function || ! -r /proc/self/environ ]]; then
    repx_become_changed
  else
    repx_leave_out
  fi
  # An assignment before a command holds for it alone, and reaches it as it is.
  eval "$repx_words exec \"\$repx_env\" \"\${repx_open[@]}\" \"\${repx_command[@]}\""
}

# The environment is that of this shell when the site's lines have run, and what the target adds.
repx_become_changed() {
  set +C
  repx_unset_ours
  [[ $(type -t repx_site) != function ]] || repx_site
  repx_open=(-- "PWD=$repx_out" "REPX_UNIT=$repx_folder#$repx_attempt#")
  repx_site_path=$PATH
  for ((repx_index = 0; repx_index < ${#repx_environment[@]}; repx_index += 2)); do
    [[ $repx_hidden == *" ${repx_environment[repx_index]} "* ]] ||
      repx_open+=("${repx_environment[repx_index]}=${repx_environment[repx_index + 1]}")
    [[ ${repx_environment[repx_index]} != PATH ]] || repx_site_path=${repx_environment[repx_index + 1]}
  done
  [[ -z $repx_path ]] || repx_open+=("PATH=$repx_path:$repx_site_path")
}

# Of what this shell would hand on, leave out what is not among the program's variables.
repx_leave_out() {
  local known=' ' out=()
  for repx_entry in "${repx_open[@]}"; do known+="${repx_entry%%=*} "; done
  while IFS= read -r -d '' repx_entry; do
    [[ $repx_hidden$known == *" ${repx_entry%%=*} "* ]] || out+=(-u "${repx_entry%%=*}")
  done < <("$repx_env" -0)
  repx_open=("${out[@]}" -- "${repx_open[@]}")
}
