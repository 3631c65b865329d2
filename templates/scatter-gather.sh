# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # the job script and lib.sh set what is read here
#
# The phases of a scatter-gather job: scatter makes work items, steps run once per item (a
# branch), gather puts the results together. Sourced after lib.sh.
#
# A job script sets, beside what lib.sh wants,
#   steps sink                   names in an order that respects their dependencies; the last one's
#   scatter, step NAME, gather   functions that set executable command inputs needs outputs;
#                                `step` also sets later (the steps that depend on NAME) and reads branch
#   worker_outs                  a function that prints the manifest's element for branch
#
# Locks: scatter and gather hold the job's lock alone. A step shares it and holds its own alone,
# so that steps of one job run side by side on many machines, and never beside scatter. A runner
# that holds the job's lock alone for the whole job passes it to all phases instead.

# shellcheck source=templates/rare.sh
. "$folder/rare.sh"

repx_scatter_gather() {
  case "${1-}:$#" in
    :0) repx_lock_job && repx_all_phases ;;
    scatter:1) repx_lock_job && repx_scatter ;;
    step:3) repx_lock_step "$2" "$3" && repx_step "$2" "$3" ;;
    gather:1) repx_lock_job && repx_gather ;;
    *) repx_usage "takes [scatter | step NAME BRANCH | gather], got: $*" ;;
  esac
}

# Who started us may hold the job's lock for all phases.
repx_lock_job() {
  [[ -n $lock_fd ]] || repx_lock "$home/repx"
}

repx_all_phases() {
  local count name index
  repx_done "$home/repx" && return
  repx_scatter || return
  repx_count
  for ((index = 0; index < count; index++)); do
    for name in "${steps[@]}"; do
      [[ -z $stopped ]] || repx_fail_job "$stopped" || return
      repx_step "$name" "$index" || return
    done
  done
  repx_gather
}

# --- scatter -------------------------------------------------------------------------------

repx_scatter() {
  local count
  repx_done "$home/repx" && return
  repx_drop "$home/repx/FAIL" "$home/repx/SUCCESS"
  scatter
  repx_scatter_kept && return
  record=$home/scatter/repx out=$home/scatter/out
  if repx_attempt "$home/repx/inputs.json" "$home/repx/parameters.json" && repx_split; then
    repx_succeed "\"branches\":$count"
  else
    repx_fail_job "scatter failed"
  fi
}

# Are the branches there, made from these very inputs and parameters? A success of another
# runner's scatter (RepX 0.5) does not count the branches, so they are made from its items.
repx_scatter_kept() {
  record=$home/scatter/repx
  repx_done "$record" && [[ -e $home/scatter/out/work_items.json ]] || return
  if ! repx_same "$home/repx/inputs.json" "$inputs" || ! repx_same "$home/repx/parameters.json" "$parameters"; then
    repx_forget_steps
    return 1
  fi
  repx_count && repx_has_branches && return
  repx_now && start=$now
  repx_split && repx_succeed "\"branches\":$count"
}

# Set count to the number of branches, as scatter's marker says it.
repx_count() {
  local line=''
  read -r line <"$home/scatter/repx/SUCCESS"
  [[ $line =~ \"branches\":([0-9]+) ]] && count=${BASH_REMATCH[1]}
}

# Nobody took a branch away?
repx_has_branches() {
  local branch
  for ((branch = 0; branch < count; branch++)); do
    [[ -e $home/branch-$branch/repx/work_item.json ]] || return
  done
}

# The inputs changed, so no step's result stands.
repx_forget_steps() {
  repx_in_batches rm -f -- "$home"/branch-*/step-*/repx/{SUCCESS,FAIL}
}

# Turn work_items.json into branch-<i>/repx/work_item.json; set count. Steps of a branch whose
# item is another one than before are forgotten, and branches beyond the last item removed.
repx_split() {
  local items=() gone=() made=() changed=() stale=() index branch
  repx_parse_items "$home/scatter/out/work_items.json" || repx_fail 1 "work_items.json: $REPLY" || return
  count=${#items[@]}
  for branch in "$home"/branch-*; do
    index=${branch##*/branch-}
    [[ $index != *[!0-9]* ]] && ((index < count)) || gone+=("$branch")
  done
  repx_in_batches rm -rf -- "${gone[@]}"
  for ((index = 0; index < count; index++)); do
    branch=$home/branch-$index
    [[ -d $branch/repx ]] || made+=("$branch/repx")
    ! repx_same "$branch/repx/work_item.json" "${items[index]}" || continue
    changed+=("$index")
    stale+=("$branch"/step-*/repx/SUCCESS "$branch"/step-*/repx/FAIL)
  done
  repx_in_batches mkdir -p -- "${made[@]}"
  repx_in_batches rm -f -- "${stale[@]}"
  for index in "${changed[@]}"; do
    printf '%s' "${items[index]}" >"$home/branch-$index/repx/work_item.json" ||
      repx_broken "cannot write $home/branch-$index/repx/work_item.json"
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

# NAME BRANCH: hold the step's lock, and a share of the job's.
repx_lock_step() {
  repx_find_branch "$2"
  [[ -z $lock_fd ]] || return 0
  repx_lock "$home/repx" -s
  repx_lock "$home/branch-$2/step-$1/repx"
}

repx_find_branch() {
  [[ $1 != *[!0-9]* ]] || repx_usage "BRANCH is a number, got: $1"
  repx_appears $((SECONDS + input_wait_s)) "$home/branch-$1/repx/work_item.json" ||
    repx_broken "there is no branch $1; run the phase scatter first"
}

repx_step() {
  local later=() name
  branch=$2 record=$home/branch-$2/step-$1/repx out=$home/branch-$2/step-$1/out
  step "$1" || repx_usage "NAME is one of: ${steps[*]}, got: $1"
  repx_done "$record" && repx_same "$record/inputs.json" "$inputs" && return
  for name in "${later[@]}"; do
    repx_drop "$home/branch-$2/step-$name/repx/SUCCESS"
  done
  if repx_attempt "$record/inputs.json"; then
    repx_succeed ""
  else
    repx_fail_job "step $1 of branch $2 failed"
  fi
}

# REASON: a phase failed, so the job did. Nothing if the job has succeeded after all.
repx_fail_job() {
  record=$home/repx
  [[ ! -e $record/SUCCESS ]] || return
  repx_fail 1 "${stopped:-$1}"
}

# --- gather --------------------------------------------------------------------------------

repx_gather() {
  local count=0 inputs=''
  repx_done "$home/repx" && return
  repx_drop "$home/repx/FAIL" "$home/repx/SUCCESS"
  repx_count || repx_fail_job "scatter failed" || return
  repx_sinks_done || return
  repx_write_manifest >"$home/repx/worker_outs_manifest.json" ||
    repx_broken "cannot write $home/repx/worker_outs_manifest.json"
  gather
  record=$home/repx out=$home/out
  repx_attempt "$record/gather_inputs.json" && repx_succeed "" && repx_complete ok
}

# Has the last step succeeded in every branch?
repx_sinks_done() {
  local deadline=$((SECONDS + input_wait_s))
  for ((branch = 0; branch < count; branch++)); do
    repx_appears "$deadline" "$home/branch-$branch/step-$sink/repx/SUCCESS" ||
      repx_fail_job "step $sink of branch $branch failed" || return
  done
}

repx_write_manifest() {
  printf '['
  for ((branch = 0; branch < count; branch++)); do
    ((branch == 0)) || printf ','
    printf '\n'
    worker_outs
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
