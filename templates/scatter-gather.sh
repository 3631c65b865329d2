# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the job file and lib.sh set what is read here
#
# The units of a scatter-gather job: scatter makes work items, steps run once per item (a
# branch), gather puts the results together. Sourced by lib.sh for all but simple jobs.
#
# A job file sets, beside what lib.sh wants,
#   of the whole job   repx_units      the names of its units, each after those it needs
#   of a step          repx_later      (PATH ...) the steps of the branch that depend on it
#   of gather          repx_sink       the last step
#                      repx_element    the manifest's element for a branch, cut where its number goes
# A step's file takes the branch's number.
#
# Locks: scatter and gather hold the job's lock alone. A step shares it and holds its own alone,
# so that steps of one job run side by side on many machines, and never beside scatter. A runner
# that holds the job's lock alone for the whole job passes it to all units instead.

repx_exceptional_read=1
# shellcheck source=templates/exceptional.sh
. "$repx_here/exceptional.sh"

repx_phase() {
  case $repx_unit in
    all) repx_whole_job "$@" ;;
    scatter) (($# == 0)) || repx_usage "takes no argument, got: $*"; repx_lock_job && repx_scatter ;;
    gather) (($# == 0)) || repx_usage "takes no argument, got: $*"; repx_lock_job && repx_gather ;;
    *) repx_step "$@" ;;
  esac
}

# Who started us may hold the job's lock for all units.
repx_lock_job() {
  [[ -n $repx_lock_fd ]] || repx_lock "$repx_home/repx" "$repx_home"
}

# --- the whole job -------------------------------------------------------------------------

# [scatter | step NAME BRANCH | gather]: one unit, or all of them in order.
repx_whole_job() {
  local units=$repx_here/jobs/$repx_job REPLY
  case "${1-}:$#" in
    :0) ;;
    scatter:1 | gather:1) exec bash "$units/$1.sh" ;;
    step:3)
      repx_steps
      [[ " $REPLY " == *" $2 "* ]] || repx_usage "NAME is one of: $REPLY, got: $2"
      exec bash "$units/step-$2.sh" "$3"
      ;;
    *) repx_usage "takes [scatter | step NAME BRANCH | gather], got: $*" ;;
  esac
  repx_lock_job
  repx_done "$repx_home/repx" || repx_all_units
}

# Set REPLY to the names of the steps.
repx_steps() {
  local unit
  REPLY=
  for unit in "${repx_units[@]}"; do
    [[ $unit != step-* ]] || REPLY+="${REPLY:+ }${unit#step-}"
  done
}

repx_all_units() {
  local repx_count unit branch
  repx_run_unit scatter || return
  repx_count "$repx_home"
  for ((branch = 0; branch < repx_count; branch++)); do
    for unit in "${repx_units[@]}"; do
      [[ $unit == step-* ]] || continue
      repx_run_unit "$unit" "$branch" || return
    done
  done
  repx_run_unit gather
}

# UNIT [BRANCH]: run its file with the job's lock; a signal is passed on to it.
repx_run_unit() {
  local code
  [[ -z $repx_stopped ]] || repx_fail_job "$repx_stopped" || return
  REPX_ENVIRON=/proc/$$/environ REPX_LOCK_FD=$repx_lock_fd bash "$repx_here/jobs/$repx_job/$1.sh" "${@:2}" &
  repx_unit_child=$!
  while
    wait "$repx_unit_child"
    code=$?
    ((code > 128)) && kill -0 "$repx_unit_child" 2>/dev/null
  do :; done
  repx_unit_child=''
  return "$code"
}

# --- scatter -------------------------------------------------------------------------------

repx_scatter() {
  local repx_count
  repx_done "$repx_home/repx" && return
  repx_drop "$repx_home/repx/FAIL" "$repx_home/repx/SUCCESS"
  repx_scatter_kept && return
  { repx_try && repx_split && repx_succeed "\"branches\":$repx_count"; } || repx_fail_job "scatter failed"
}

# Are the branches there, made from these very inputs and parameters? A success of another
# runner's scatter (RepX 0.5) does not count the branches, so they are made from its items.
repx_scatter_kept() {
  repx_done "$repx_record" && [[ -e $repx_out/work_items.json ]] || return
  if ! repx_same "$repx_inputs_file" "$repx_inputs" || ! repx_same "$repx_parameters_file" "$repx_parameters"; then
    repx_forget_steps
    return 1
  fi
  repx_count "$repx_home" && repx_has_branches && return
  repx_now && repx_start=$repx_now
  repx_split && repx_succeed "\"branches\":$repx_count"
}

# Nobody took a branch away?
repx_has_branches() {
  local branch
  for ((branch = 0; branch < repx_count; branch++)); do
    [[ -e $repx_home/branch-$branch/repx/work_item.json ]] || return
  done
}

# The inputs changed, so no step's result stands.
repx_forget_steps() {
  repx_no_links "$repx_home"/branch-* "$repx_home"/branch-*/step-* "$repx_home"/branch-*/step-*/repx
  repx_in_batches rm -f -- "$repx_home"/branch-*/step-*/repx/{SUCCESS,FAIL}
}

# Turn work_items.json into branch-<i>/repx/work_item.json; set repx_count. Steps of a branch whose
# item is another one than before are forgotten, and branches beyond the last item removed.
repx_split() {
  local items=() gone=() made=() changed=() stale=() index branch
  repx_parse_items "$repx_out/work_items.json" || repx_fail 1 "work_items.json: $REPLY" || return
  repx_count=${#items[@]}
  for branch in "$repx_home"/branch-*; do
    index=${branch##*/branch-}
    [[ $index != *[!0-9]* ]] && ((index < repx_count)) || gone+=("$branch")
  done
  repx_in_batches rm -rf -- "${gone[@]}"
  for ((index = 0; index < repx_count; index++)); do
    branch=$repx_home/branch-$index
    repx_no_links "$branch" "$branch/repx"
    [[ -d $branch/repx ]] || made+=("$branch/repx")
    ! repx_same "$branch/repx/work_item.json" "${items[index]}" || continue
    changed+=("$index")
    repx_no_links "$branch"/step-* "$branch"/step-*/repx
    stale+=("$branch"/step-*/repx/SUCCESS "$branch"/step-*/repx/FAIL "$branch/repx"/work_item.json*)
  done
  repx_in_batches mkdir -p -- "${made[@]}"
  repx_in_batches rm -f -- "${stale[@]}"
  for index in "${changed[@]}"; do
    printf '%s' "${items[index]}" >"$repx_home/branch-$index/repx/work_item.json" ||
      repx_broken "cannot write $repx_home/branch-$index/repx/work_item.json"
  done
}

# COMMAND... -- FILE...: as few processes as the length of a command line allows.
repx_in_batches() {
  local start command=()
  while [[ $1 != -- ]]; do command+=("$1") && shift; done
  shift
  for ((start = 1; start <= $#; start += 500)); do
    "${command[@]}" -- "${@:start:500}" || repx_broken "${command[0]} failed"
  done
}

# --- step ----------------------------------------------------------------------------------

# BRANCH [ended ...]
repx_step() {
  local marker
  [[ -n ${1-} && $1 != *[!0-9]* ]] || repx_usage "BRANCH is a number, got: ${1-}"
  repx_appears $((SECONDS + repx_input_wait_s)) "$repx_home/branch-$1/repx/work_item.json" ||
    repx_broken "there is no branch $1; run the phase scatter first"
  if [[ -z $repx_lock_fd ]]; then
    repx_lock "$repx_home/repx" "$repx_home" -s
    repx_lock "$repx_record" "$repx_folder"
  fi
  if (($# > 1)); then
    repx_ended "${@:2}"
  else
    repx_done "$repx_record" && repx_same "$repx_inputs_file" "$repx_inputs" && return
    for marker in "${repx_later[@]}"; do
      repx_drop "$marker"
    done
    repx_try
  fi
  # shellcheck disable=SC2181 # of either way
  { (($? == 0)) && repx_succeed ""; } || repx_fail_job "step ${repx_unit#step-} of branch $1 failed"
}

# REASON: a unit failed, so the job did. Nothing if the job has succeeded after all.
repx_fail_job() {
  repx_record=$repx_home/repx
  ! repx_succeeded "$repx_record" || return
  repx_fail 1 "${repx_stopped:-$1}"
}

# --- gather --------------------------------------------------------------------------------

repx_gather() {
  local repx_count=0
  repx_done "$repx_home/repx" && return
  repx_drop "$repx_home/repx/FAIL" "$repx_home/repx/SUCCESS"
  repx_count "$repx_home" || repx_fail_job "scatter failed" || return
  repx_sinks_done || return
  repx_clean "$repx_home/repx/worker_outs_manifest.json"
  repx_write_manifest >"$repx_home/repx/worker_outs_manifest.json" ||
    repx_broken "cannot write $repx_home/repx/worker_outs_manifest.json"
  repx_try && repx_succeed "" && repx_complete ok
}

# Has the last step succeeded in every branch?
repx_sinks_done() {
  local branch deadline=$((SECONDS + repx_input_wait_s))
  for ((branch = 0; branch < repx_count; branch++)); do
    repx_appears "$deadline" "$repx_home/branch-$branch/$repx_sink/repx/SUCCESS" &&
      repx_succeeded "$repx_home/branch-$branch/$repx_sink/repx" ||
      repx_fail_job "step ${repx_sink#step-} of branch $branch failed" || return
  done
}

repx_write_manifest() {
  local branch piece
  printf '['
  for ((branch = 0; branch < repx_count; branch++)); do
    ((branch == 0)) || printf ','
    printf '\n%s' "${repx_element[0]}"
    for piece in "${repx_element[@]:1}"; do
      printf '%d%s' "$branch" "$piece"
    done
  done
  printf '\n]\n'
}

# --- the work items as JSON ----------------------------------------------------------------

# FILE: set items to the elements of the JSON array in it, each as compact JSON. Returns 1 with
# the mistake in REPLY. One pass; quotes are what tells strings from structure.
repx_parse_items() {
  local LC_ALL=C chunk text expect=start nesting='' pieces=()
  REPLY="there is no such file"
  [[ -e $1 ]] || return
  while IFS= read -r -d '"' chunk; do
    repx_parse_structure "$chunk" && repx_parse_string || return
  done <"$1"
  repx_parse_structure "$chunk" || return
  REPLY="it ends too early, after ${#items[@]} items"
  [[ $expect == end ]]
}

# Read the rest of a string, behind its quote, from stdin: a quote after an odd number of
# backslashes does not end it.
repx_parse_string() {
  local part slashes
  text=''
  while IFS= read -r -d '"' part; do
    text+=$part
    [[ $part == *\\ ]] || break
    slashes=${part##*[!\\]}
    ((${#slashes} % 2)) || break
    text+='"'
  done || { REPLY="a string does not end" && return 1; }
  part=${text//\\[\"\\\/bfnrtu]/}
  [[ $part != *[\\$'\1'-$'\37']* ]] || { REPLY="bad string \"$text\"" && return 1; }
  repx_parse_token "\"$text\""
}

# TEXT between two strings: brackets, commas, colons, numbers and words.
repx_parse_structure() {
  case $1 in
    : | ': ') repx_parse_token : ;; # what there is most of
    , | ', ') repx_parse_token , ;;
    *) repx_parse_tokens "$1" ;;
  esac
}

# Blanks put round each mark let bash itself cut the text into tokens. That takes quadratic time,
# so a long text is cut at its commas first.
repx_parse_tokens() {
  local text=$1 token part parts IFS
  if ((${#text} > 9999)); then
    IFS=,
    # shellcheck disable=SC2206  # split on purpose; the comma added keeps an empty end
    text+=, parts=($text)
    ((${#parts[@]} > 1)) || { REPLY="nested too deeply" && return 1; }
    repx_parse_tokens "${parts[0]}" || return
    for part in "${parts[@]:1}"; do
      repx_parse_token , && repx_parse_tokens "$part" || return
    done
    return
  fi
  IFS=$' \t\r\n'
  text=${text//,/ , } text=${text//:/ : }
  text=${text//\[/ [ } text=${text//\]/ ] }
  text=${text//\{/ \{ } text=${text//\}/ \} }
  for token in $text; do
    repx_parse_token "$token" || return
  done
}

# TOKEN: check it against what the grammar expects here, and add it to the current item. A comma
# or bracket of the outermost array ends the item instead.
repx_parse_token() {
  case $expect$1 in
    key\"* | first_key\"*) expect='colon' ;;
    colon:) expect=value ;;
    value\"* | first\"*) expect=next ;;
    next,) [[ $nesting == *'[' ]] && expect=value || expect=key ;;
    value[[:alnum:]-]* | first[[:alnum:]-]*) repx_parse_word "$1" || return ;;
    value[\[\{] | first[\[\{]) repx_parse_open "$1" || return ;;
    next[]\}] | first] | first_key\}) repx_parse_close "$1" || return ;;
    start[[]) nesting='[' expect=first && return ;;
    start*) REPLY="it is not an array" && return 1 ;;
    *) REPLY="unexpected \`$1\` in item ${#items[@]}" && return 1 ;;
  esac
  case $nesting:$1 in
    "[:,") repx_parse_item ;;
    :*) expect=end && repx_parse_item ;;
    *) pieces+=("$1") ;;
  esac
}

repx_parse_open() {
  nesting+=$1
  ((${#nesting} < 500)) || { REPLY="nested too deeply" && return 1; }
  [[ $1 == '[' ]] && expect=first || expect=first_key
}

repx_parse_close() {
  local opener='['
  [[ $1 == ']' ]] || opener='{'
  [[ $nesting == *"$opener" ]] || { REPLY="unexpected \`$1\` in item ${#items[@]}" && return 1; }
  nesting=${nesting%?} expect=next
}

repx_parse_word() {
  expect=next
  case $1 in
    [0-9] | [1-9][0-9] | true | false | null) return ;; # what there is most of
  esac
  [[ $1 =~ ^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$ ]] && return
  REPLY="\`$1\` is not JSON"
  return 1
}

repx_parse_item() {
  ((${#pieces[@]})) || return 0
  printf -v "items[${#items[@]}]" '%s' "${pieces[@]}"
  pieces=()
}
