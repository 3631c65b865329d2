# shellcheck shell=bash
# shellcheck disable=SC2154 # the job file that sources this file sets what is read here
#
# What every job file does, whatever the job: lock, run, check, mark. Needs bash 4.2 and
# coreutils. A job for which nothing is out of the ordinary costs little of bash: what happens
# seldom is in exceptional.sh, read when it is needed.
#
# A job file sets these, as plain data, and calls `repx_main`:
#   repx_job repx_unit repx_store           which unit of which job, and where
#   repx_scheduler repx_submission          who runs it
#   repx_forced                             whether only a success of this submission counts
#   repx_input_wait_s                       how long a network file system may take to show a file
#   repx_missing_outputs repx_durability    fail or warn; full or fast
#   repx_asks                               (CPUS MEM TIME ...) per rung of the ladder, or null
#   repx_asked_gpus                         how many GPUs, or nothing
#   repx_folder                             the unit's folder, of `out` and `repx`
#   repx_executable repx_command            the program, and the words that start it
#   repx_room repx_in_NAME                  what isolates it, and the command for each runtime
#   repx_inputs repx_inputs_file            JSON for the program, and where it expects that
#   repx_parameters repx_parameters_file    likewise; no file where another unit writes it
#   repx_needs repx_outputs                 (NAME PATH ...) that must exist before and after
#   repx_environment repx_secrets           (NAME VALUE ...); (NAME file|env FROM ...)
#   repx_path                               what comes first in the program's PATH
# and may define a function `repx_site`, a site's own lines, for the program's own process.
# Nothing of a caller's environment has a say here: all names begin with `repx_`, and the program
# gets the environment that this process was started with, not what bash makes of it.

# shellcheck source=templates/plain.sh
. "$repx_here/plain.sh"
set -C # what is written is new: nothing is written through a link
shopt -u failglob nocasematch nocaseglob extglob
shopt -s nullglob dotglob

# shellcheck source=templates/markers.sh
. "$repx_here/markers.sh"

repx_attempt=${REPX_ATTEMPT:-$((${SLURM_RESTART_COUNT//[!0-9]/} + 1))}
repx_grace_s=${REPX_GRACE_S:-10} repx_lock_mode=${REPX_LOCK-} repx_lock_fd=${REPX_LOCK_FD-}
repx_rung=${REPX_RUNG:-0} repx_reaper=${REPX_REAPER-} repx_by=${REPX_BY-}
repx_our_locale=${REPX_LOCALE-} # LC_ALL is for us alone: bash starts faster when it loads no locale
# Nonsense in these variables is as good as nothing.
[[ $repx_attempt && $repx_attempt != *[!0-9]* ]] || repx_attempt=1
[[ $repx_grace_s && $repx_grace_s != *[!0-9]* ]] || repx_grace_s=10
[[ $repx_rung && $repx_rung != *[!0-9]* ]] || repx_rung=0
[[ $repx_by != *[!A-Za-z0-9:._-]* ]] || repx_by=''
[[ $repx_lock_fd != *[!0-9]* && -e /dev/fd/$repx_lock_fd ]] || repx_lock_fd=''
[[ $repx_reaper != *[!0-9]* ]] || repx_reaper=''
# The variables that the job was started with: bash changes some before it starts a unit's own file.
repx_environ=${REPX_ENVIRON-}
[[ $repx_environ =~ ^/proc/[0-9]+/environ$ && -r $repx_environ ]] || repx_environ=/proc/self/environ
repx_exceptional_read=''
repx_stopped='' # why a signal ends the unit
repx_child=''   # the process group of the unit's program while it runs
repx_ticks=0    # cpu time of earlier programs, in clock ticks
repx_rss=null   # the largest memory of its processes, in bytes, where that is known
repx_unit_child='' # the job file of a unit that this one runs
repx_waiter=''  # the process that waits for the lock
repx_runtime='' # what the program runs in, when that isolates it
repx_isolated='' # members of the marker that tell so
repx_gpus_said='' # members of the marker about GPUs
repx_oom=''     # it was killed for memory, its runtime says
repx_missing='' # names of outputs that are missing and may be
repx_start=''

# NAME ARGUMENT...: call a function of exceptional.sh.
repx_exceptional() {
  if [[ -z $repx_exceptional_read ]]; then
    # shellcheck source=templates/exceptional.sh
    . "$repx_here/exceptional.sh"
    repx_exceptional_read=1
  fi
  "repx_$1" "${@:2}"
}

repx_main() {
  [[ -n $repx_reaper || -n ${SLURM_JOB_ID-} ]] || repx_adopt "$0" "$@"
  trap 'repx_exceptional stopped cancelled' TERM INT HUP
  trap 'repx_exceptional stopped timeout USR1' USR1
  repx_home=$repx_store/outputs/$repx_job
  repx_record=$repx_folder/repx repx_out=$repx_folder/out
  repx_no_links "${repx_home%/*}" "$repx_home" "${repx_folder%/*}" "$repx_folder" "$repx_record"
  if [[ $repx_unit != main ]]; then
    # shellcheck source=templates/scatter-gather.sh
    . "$repx_here/scatter-gather.sh"
    repx_phase "$@"
    return
  fi
  [[ -n $repx_lock_fd ]] || repx_exceptional lock "$repx_record" "$repx_home"
  if (($#)); then
    repx_exceptional ended "$@"
  else
    repx_done "$repx_record" && return
    repx_try
  fi && repx_succeed "" && repx_complete ok
}

# FILE ARGUMENT...: become this job file anew, as the parent of whatever loses its own (a child
# subreaper, prctl(2)). Only python3 can ask for that here; without it, marks alone tell what is left.
repx_adopt() {
  # python3 may be a script of a version manager: no variable of the caller changes it, and what it
  # adds does not reach the program. The caller's environment, which may hold secrets, comes through
  # a pipe: everybody can read a command line.
  local given=() entry pipe python=(env -i "PATH=$PATH" ${HOME+"HOME=$HOME"} python3 -I -S -c)
  [[ -r /proc/self/environ && -r /proc/self/task/$$/children ]] || return 0
  "${python[@]}" 'import ctypes' 2>/dev/null || return 0
  while IFS= read -r -d '' entry; do [[ $entry != *=* ]] || given+=("$entry"); done </proc/self/environ
  exec {pipe}< <(printf '%s\0' "${given[@]}" "REPX_REAPER=$$")
  exec "${python[@]}" '
import contextlib, ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
with open(int(sys.argv[1]), "rb") as pipe:
    given = pipe.read().split(b"\0")[:-1]
with contextlib.suppress(ChildProcessError):  # a script that stands for python3 may have waited
    os.wait()  # for the process that wrote
os.execve(sys.argv[2], sys.argv[3:], dict(entry.split(b"=", 1) for entry in given))' \
    "$pipe" "$BASH" bash "$@"
}

# Run the command once. Leaves FAIL and returns 1 when it did not do its work.
repx_try() {
  local content
  repx_now
  repx_start=$repx_now
  [[ -d $repx_record && -d $repx_out ]] || repx_exceptional make "$repx_record" "$repx_out"
  [[ -e $repx_record/lock ]] || : >"$repx_record/lock" # the unit is ours: markers.sh
  repx_clean "$repx_record/SUCCESS" "$repx_record/FAIL"
  repx_present "${repx_needs[@]}" ||
    repx_exceptional await "$repx_input_wait_s" input "${repx_needs[@]}" || return
  content=("$repx_out"/*)
  [[ ${#content[@]} == 0 && ! -L $repx_out ]] || repx_exceptional clear "$repx_out"
  repx_put "$repx_inputs_file" "$repx_inputs"
  [[ -z $repx_parameters_file ]] || repx_put "$repx_parameters_file" "$repx_parameters"
  [[ ! -s $repx_record/stdout.log && ! -s $repx_record/stderr.log ]] || repx_exceptional keep_logs
  repx_clean "$repx_record/stdout.log" "$repx_record/stderr.log"
  [[ -x $repx_executable && ! -d $repx_executable ]] || repx_exceptional no_program || return
  ((${#repx_secrets[@]} == 0)) || repx_exceptional check_secrets || return
  cd -- "$repx_out" || repx_exceptional broken "cannot enter $repx_out"
  [[ -z $repx_room ]] || repx_exceptional isolate || return
  repx_run
  [[ -z $repx_room ]] || repx_exceptional leave
  { ((repx_status == 0)) && [[ -z $repx_stopped ]] && repx_present "${repx_outputs[@]}"; } ||
    repx_exceptional judge
}

# PATH...: a link could lead anywhere.
repx_no_links() {
  while (($#)); do
    [[ ! -L $1 ]] || repx_exceptional broken "a link stands where a folder of the store belongs: $1"
    shift
  done
}

# FILE...: remove those that exist.
repx_clean() {
  local file
  for file; do
    [[ ! -e $file && ! -L $file ]] || { repx_exceptional drop "$@" && return; }
  done
}

# FILE TEXT
repx_put() {
  repx_clean "$1"
  printf '%s\n' "$2" >"$1" || repx_exceptional broken "cannot write $1"
}

# Run the program in a process group of its own; set repx_status. What it has left running when
# it has ended is ended, too.
repx_run() {
  local first
  [[ -z $repx_stopped ]] || { repx_status=143 && return; }
  if [[ ${repx_command[0]} == "$repx_executable" && -r $repx_executable ]] &&
    read -rN 20 first <"$repx_executable" && [[ $first == '#!/usr/bin/env bash'$'\n' ]]; then
    repx_command=(bash "${repx_command[@]}") # as env would do, which is one more program to start
  fi
  set -m
  (repx_become) </dev/null >"$repx_record/stdout.log" 2>"$repx_record/stderr.log" &
  repx_child=$!
  set +m
  [[ -z $repx_stopped ]] || repx_exceptional end_group # the signal came while the child was not known
  {
    wait "$repx_child"
    repx_status=$?
    kill -0 -- "-$repx_child"
  } 2>/dev/null && repx_exceptional end_group
  repx_child=''
  repx_alone || repx_exceptional end_remains
}

# Become the program, with the environment that this process was started with and the target's.
repx_become() {
  local given=() entry path=${PATH-/usr/bin:/bin}
  while IFS= read -r -d '' entry; do
    case $entry in
      REPX_ATTEMPT=* | REPX_BY=* | REPX_ENVIRON=* | REPX_GPUS=* | REPX_GRACE_S=* | REPX_LOCALE=* | REPX_LOCK=* | REPX_LOCK_FD=* | REPX_REAPER=* | REPX_RUNG=*) ;;
      REPX_UNIT=* | PWD=* | =*) ;;
      LC_ALL=*) [[ -n $repx_our_locale ]] || given+=("$entry") ;;
      *=*) given+=("$entry") ;;
    esac
  done 2>/dev/null <"$repx_environ"
  given+=("PWD=$repx_out" "REPX_UNIT=$repx_folder#$repx_attempt#")
  for ((entry = 0; entry < ${#repx_environment[@]}; entry += 2)); do
    given+=("${repx_environment[entry]}=${repx_environment[entry + 1]}")
    [[ ${repx_environment[entry]} != PATH ]] || path=${repx_environment[entry + 1]}
  done
  [[ -z $repx_path ]] || given+=("PATH=$repx_path:$path")
  if ((${#repx_secrets[@]} > 0)) || [[ ! -r /proc/self/environ ]] || declare -F repx_site >/dev/null; then
    repx_exceptional become_otherwise "${given[@]}"
  fi
  exec env -i -- "${given[@]}" "${repx_command[@]}"
}

# Has the program left nothing running? A runner that is the parent of all that is left shows it
# as children beside this process; else the environment of each process tells.
repx_alone() {
  local children=''
  if [[ -z $repx_reaper ]]; then
    ! repx_exceptional find_marked "$repx_folder#$repx_attempt#"
    return
  fi
  read -r children 2>/dev/null <"/proc/$repx_reaper/task/$repx_reaper/children"
  [[ -z $children || $children == "$$" ]]
}

# NAME PATH...: does each path exist?
repx_present() {
  while (($#)); do
    [[ -e $2 ]] || return
    shift 2
  done
}

# MEMBERS: leave SUCCESS, with further members of its JSON. It is made last, when what it promises,
# and with full durability the marker itself, is on the disk.
repx_succeed() {
  local part=$repx_record/SUCCESS.$$.part
  if [[ $repx_durability == full ]]; then
    repx_write_success "$part" "$1"
    repx_flush "$part" || repx_exceptional lost "$part" || return
    mv -fT -- "$part" "$repx_record/SUCCESS" || repx_exceptional broken "cannot write $repx_record/SUCCESS"
  else
    repx_write_success "$repx_record/SUCCESS" "$1"
  fi
}

# FILE MEMBERS: the job may have removed its folder, or written this file itself.
repx_write_success() {
  [[ -d $repx_record ]] || repx_exceptional make "$repx_record"
  repx_clean "$1"
  repx_mark "$1" success 0 '""' "$repx_missing$2" && return
  rm -f -- "$1"
  repx_exceptional broken "cannot write $repx_record/SUCCESS"
}

# FILE: bring it and the outputs to the disk, with the folders that they are in; where that fails,
# REPLY is what `sync` said. An output that is a folder or a link takes its whole file system along.
# Phases are kept as long as their inputs are the same, so those go there, too; the work items of a
# scatter are many.
repx_flush() {
  local index path files=("$1" "$repx_out" "$repx_folder") folders=()
  case $repx_unit in
    main) ;;
    scatter) folders=("$repx_home") ;;
    *) files+=("$repx_inputs_file") ;;
  esac
  for ((index = 1; index < ${#repx_outputs[@]}; index += 2)); do
    path=${repx_outputs[index]}
    if [[ -d $path || -L $path ]]; then
      [[ ! -e $path ]] || folders+=("$path")
    elif [[ -e $path ]]; then
      files+=("$path")
    fi
    while path=${path%/*} && [[ $path == "$repx_out"/* ]]; do files+=("$path"); done
  done
  ((${#folders[@]} == 0)) || files=(-f -- "$1" "${folders[@]}")
  REPLY=$(LC_ALL=C sync "${files[@]}" 2>&1)
}

# FILE OUTCOME EXIT REASON MEMBERS: write a marker, one line of JSON.
repx_mark() {
  local stat='' fields used by=${repx_by:-$repx_scheduler} host=$HOSTNAME rung=$((repx_rung * 3))
  # Ended children's cpu time, user and system: proc(5), fields 16 and 17; a tick is 1/100 s.
  [[ ! -r /proc/self/stat ]] || read -r stat </proc/self/stat
  # shellcheck disable=SC2206 # split at blanks on purpose; the name in brackets is cut off
  fields=(${stat##*) })
  ((used = ${fields[13]:-0} + ${fields[14]:-0} - repx_ticks, repx_ticks += used))
  [[ ! -r /proc/sys/kernel/hostname ]] || read -r host </proc/sys/kernel/hostname
  [[ -z $repx_by ]] || repx_exceptional peak_memory
  [[ -z $repx_asked_gpus ]] || repx_exceptional say_gpus
  ((rung + 3 <= ${#repx_asks[@]})) || rung=$((${#repx_asks[@]} - 3))
  repx_now
  printf '{"outcome":"%s","exit":%d,"reason":%s,"start":%s,"end":%s,"host":"%s","attempt":%d,"scheduler":"%s","submission":"%s","cpu_s":%d.%02d,"rss_bytes":%s,"cpus":%s,"mem":%s,"time":%s%s%s%s}\n' \
    "$2" "$3" "$4" "${repx_start:-$repx_now}" "$repx_now" "${host//[^A-Za-z0-9._-]/}" "$repx_attempt" "$by" "$repx_submission" \
    $((used / 100)) $((used % 100)) "$repx_rss" "${repx_asks[@]:rung:3}" "$repx_gpus_said" "$repx_isolated" "${5:+,$5}" >"$1"
}

# ok|fail: the line RepX 0.5 reads. A hint only, so a failure to write it fails nothing.
repx_complete() {
  local id=${repx_job//\\/\\\\}
  [[ ! -L $repx_store/outputs/completions.jsonl ]] || return 0 # a neighbour's, who leads us elsewhere
  printf '{"id":"%s","s":"%s"}\n' "${id//\"/\\\"}" "$1" >>"$repx_store/outputs/completions.jsonl" || true
}

# Set repx_now: seconds since the epoch, to the microsecond from bash 5 on.
repx_now() {
  repx_now=${EPOCHREALTIME-}
  repx_now=${repx_now/,/.} # some locales
  [[ -n $repx_now ]] || printf -v repx_now '%(%s)T' -1
}
