# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # read and set by lib.sh, the job script and rooms/<room>.sh
#
# How a program gets into the runtime that its target names. Read by jobs that do not just run
# natively. `isolation.sh` of a submission is this file with the functions of each runtime below it.
#
# rooms/<room>.sh says what all jobs of an image share; nodes/ what was found out on a node: which
# runtime works there, why others do not, and the words that only the node knows. Where the runtime
# is no more than a command, `repx_spared` says how many generations of its processes are its own,
# not to be told to stop: from then on the runner starts programs without bash (runner/room.py).

# Set `repx_command`, and `repx_runtime` to what it is for. Fails the job where nothing works.
repx_enter() {
  # shellcheck source=/dev/null
  . "$repx_here/rooms/$repx_room.sh"
  repx_runtime='' repx_oom=''
  repx_known || repx_find_out || return
  repx_say_runtime
  if [[ $repx_runtime == native ]]; then
    repx_try_native || repx_no_runtime "native: $repx_why"
    return
  fi
  ! repx_has begin || "repx_begin_$repx_runtime" || { repx_exceptional fail 126 "$repx_why"; return; }
  repx_expand "repx_in_$repx_runtime"
}

# The runner has started the program itself, as `repx_enter` would have.
repx_entered() {
  # shellcheck source=/dev/null
  . "$repx_here/rooms/$repx_room.sh"
  repx_known || return
  repx_say_runtime
  repx_expand "repx_in_$repx_runtime"
}

# Set what the marker says of the runtime.
repx_say_runtime() {
  repx_isolated=",\"runtime\":\"$repx_runtime\""
  [[ -n $repx_passed_over ]] || return 0
  repx_exceptional quote "$repx_passed_over"
  repx_isolated+=",\"passed_over\":$REPLY"
}

# HOOK: does the runtime have such a function?
repx_has() {
  declare -F "repx_$1_$repx_runtime" >/dev/null
}

# Has a job found out already what this node can do? What it unpacked may be gone since.
repx_known() {
  local boot=unknown
  [[ ! -r /proc/sys/kernel/random/boot_id ]] || read -r boot </proc/sys/kernel/random/boot_id
  repx_node_file=$repx_here/nodes/${HOSTNAME//\//}.${boot%%-*}.$repx_room.sh
  [[ -r $repx_node_file ]] || return
  # shellcheck source=/dev/null
  . "$repx_node_file"
  repx_own_gpus
  [[ -z ${repx_root-} || -d $repx_root ]]
}

# Choose and prepare, in a group of its own as a program would be, so that it can be stopped.
repx_find_out() {
  set -m
  (
    repx_export_environment
    repx_choose
  ) </dev/null >&2 &
  repx_child=$!
  set +m
  wait "$repx_child"
  repx_status=$?
  repx_child=''
  [[ -z $repx_stopped ]] || { repx_exceptional fail 143 "$repx_stopped"; return; }
  ((repx_status == 0)) && repx_known && return
  repx_why=cancelled
  [[ ! -r $repx_node_file.why ]] || repx_why=$(<"$repx_node_file.why")
  repx_no_runtime "$repx_why"
}

# WHY: the job fails.
repx_no_runtime() {
  repx_runtime=''
  repx_exceptional fail 125 "no runtime of the target works on ${HOSTNAME:-this node}: $1"
}

# Write `repx_node_file` for the first runtime that works, else `repx_node_file.why`.
repx_choose() {
  local name others=''
  mkdir -p -- "$repx_here/nodes" || return
  for name in "${repx_runtimes[@]}"; do
    repx_root='' repx_devices='' repx_why='' repx_spared=''
    repx_runtime=$name
    repx_host_folders
    if repx_paths_exist && repx_own_node && "repx_try_$name" && "repx_prepare_$name"; then
      repx_note "$others"
      return
    fi
    others+="${others:+; }$name: $repx_why"
  done
  repx_clean "$repx_node_file.why"
  printf '%s' "$others" >|"$repx_node_file.why"
  return 1
}

# OTHERS: write down what was found out, as one assignment a line.
repx_note() {
  local name part=$repx_node_file.$$.part
  repx_clean "$part"
  [[ -z $1 ]] || repx_exceptional say "runs in $repx_runtime, since others do not work on $HOSTNAME: $1"
  {
    repx_assign repx_runtime "$repx_runtime"
    repx_assign repx_passed_over "$1"
    repx_assign repx_root "$repx_root"
    repx_assign repx_spared "$repx_spared"
    for name in "${!repx_at_@}"; do
      repx_assign_words "$name"
    done
  } >"$part" && mv -fT -- "$part" "$repx_node_file"
}

# NAME VALUE
repx_assign() {
  repx_word "$2"
  printf '%s=%s\n' "$1" "$REPLY"
}

# ARRAY
repx_assign_words() {
  local word words=() all="$1[@]"
  for word in "${!all}"; do
    repx_word "$word"
    words+=("$REPLY")
  done
  printf '%s=(%s)\n' "$1" "${words[*]}"
}

# TEXT: set REPLY to it in quotes, as shlex.quote writes them.
repx_word() {
  local quote="'\"'\"'"
  REPLY="'${1//\'/$quote}'"
}

# ARRAY: set `repx_command` to its words, with the node's for each `@name`.
repx_expand() {
  local word all="$1[@]" words
  repx_command=()
  for word in "${!all}"; do
    case $word in
      @@*) repx_command+=("${word:1}") ;;
      @*)
        words="repx_at_${word:1}[@]"
        repx_command+=("${!words}")
        ;;
      *) repx_command+=("$word") ;;
    esac
  done
}

# --- for the runtimes' own functions --------------------------------------------------------

# PROGRAM: set repx_at_tool to its path, be it the node's or one of the Lab's host tools.
repx_find() {
  local path
  repx_at_tool=()
  path=$(PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin type -P "$1") || path=$repx_tools/$1
  repx_why="$1 is not installed"
  [[ -x $path ]] && repx_at_tool=("$path")
}

# WORD...: the runtime's own program, in the job's environment.
repx_tool() (
  repx_export_environment
  "${repx_at_tool[@]}" "$@" </dev/null
)

# PATH...: a link could lead anywhere.
repx_plain_paths() {
  local path
  for path; do
    repx_why="a link stands where a folder of the node belongs: $path"
    [[ ! -L $path ]] || return
  done
}

# Set repx_images to where this user's images are unpacked. In a store of several users each has a
# folder of their own, the first one `images`.
repx_own_images() {
  repx_images=$repx_node/images
  [[ -n $repx_node_local || ! -e $repx_images || -O $repx_images ]] || repx_images+=-$EUID
}

# On a node, anybody may have made the folder first, and jobs run what is in it. (A store is shared
# on purpose: whoever may write to it is trusted.)
repx_own_node() {
  local image=${repx_image:-${repx_packages-}} folder uid owner mode
  repx_own_images
  [[ -n $repx_node_local && -n $image ]] || return 0
  for folder in "${repx_node%/*}" "$repx_node" "$repx_images" "$repx_images/$image" "$repx_node"/podman{,-run}; do
    read -r uid owner mode < <(stat -Lc '%u %U %a' -- "$folder" 2>/dev/null) || continue
    if [[ $folder != "${repx_node%/*}" && $uid != "$EUID" && $uid != 0 ]]; then
      repx_why="$folder belongs to $owner, who can change what jobs run in"
    elif ((8#$mode & 2 && !(8#$mode & 8#1000))); then
      repx_why="everybody may write to $folder, and change what jobs run in"
    else
      continue
    fi
    repx_why+="; set node_local_path to a folder of your own"
    return 1
  done
}

# LOCK COMMAND...: run it while nobody else on this file system holds LOCK.lock.
repx_once() {
  local descriptor
  repx_plain_paths "$repx_node" "${1%/*}" "$1" "$1.lock" || return
  repx_why="cannot write to ${1%/*}"
  mkdir -p -- "${1%/*}" && exec {descriptor}>>"$1.lock" || return
  chmod go= -- "${1%/*}"
  [[ -z $repx_node_local || ! -O $repx_node ]] || chmod go-w -- "$repx_node"
  ! type -P flock >/dev/null || flock "$descriptor"
  "${@:2}" && exec {descriptor}>&-
}

# Unpack the image, once for all jobs that share its folder; set repx_root to where it is.
repx_image_root() {
  repx_root=$repx_images/$repx_image
  repx_plain_paths "$repx_node" "${repx_root%/*}" "$repx_root" "$repx_root.stores" || return
  [[ -d $repx_root ]] || repx_once "$repx_root" repx_unpack_image || return
  repx_note_use "$repx_root.stores" 2>/dev/null || true
}

# FILE: `repx gc --images` asks when the root was used, and by which stores.
repx_note_use() {
  local stores=''
  touch -c -- "$repx_root"
  [[ ! -e $1 ]] || stores=$'\n'$(<"$1")$'\n'
  [[ $stores == *$'\n'"$repx_store"$'\n'* ]] || printf '%s\n' "$repx_store" >>"$1"
}

repx_unpack_image() {
  local part=$repx_root.part
  [[ ! -d $repx_root ]] || return 0
  repx_exceptional say "unpacking the image $repx_image_name into $repx_root"
  # shellcheck source=/dev/null
  . "$repx_here/unpack.sh"
  umask 022
  # What a killed process has left; without flock another may be at work there.
  type -P flock >/dev/null || part+=.$HOSTNAME.$$
  repx_delete "$part" "$part".* || return
  repx_unpack "$part" "${repx_layers[@]}" || { repx_delete "$part" "$part".*; return 1; }
  repx_why="cannot rename $part"
  mv -T -- "$part" "$repx_root" || [[ -d $repx_root ]]
}

# Is there on this node what the target opens? The first mount point is the store's.
repx_paths_exist() {
  local path
  [[ $repx_runtime != native ]] || return 0
  for path in "${repx_mountpoints[@]:1}"; do
    repx_why="\`mount_paths:\` names $path, which is not there"
    [[ -e $path ]] || return
  done
}

# With mount_host_paths: the node's folders for data, which no image brings.
repx_host_folders() {
  local folder
  repx_host_paths=()
  [[ -n $repx_all_paths ]] || return 0
  for folder in /*; do
    case $folder in
      /bin | /boot | /dev | /etc | /lib* | /nix | /proc | /root | /run | /sbin | /sys | /tmp | /usr | /var) ;;
      *) [[ ! -d $folder || -L $folder || ! -r $folder ]] || repx_host_paths+=("$folder") ;;
    esac
  done
}

# Set repx_kernel to what a process of root's may write to in any /proc: these files are root's own,
# so that it needs no capability for them.
repx_kernel_files() {
  local name
  repx_kernel=()
  ((EUID == 0)) || return 0
  for name in acpi asound bus driver dynamic_debug fs irq mtrr scsi sys sysrq-trigger; do
    [[ ! -e /proc/$name ]] || repx_kernel+=("/proc/$name")
  done
}

# Set repx_devices to those of the GPUs that the target asks for.
repx_gpu_devices() {
  local device
  repx_devices=()
  case $repx_gpus in
    nvidia) set -- /dev/nvidia* ;;
    amd) set -- /dev/kfd /dev/dri ;;
    *) set -- ;;
  esac
  for device; do [[ ! -e $device ]] || repx_devices+=("$device"); done
}

# A job that was given some of the node's GPUs sees no others (repx_at_gpus), and its program is told
# their names (repx_at_own). Slurm says in SLURM_JOB_GPUS what the numbers on the node are; where a
# bundle's jobs share those, each is only told its names.
repx_own_gpus() {
  local given=${REPX_GPUS-} name=CUDA_VISIBLE_DEVICES value
  [[ -n ${CUDA_VISIBLE_DEVICES-} ]] || name=ROCR_VISIBLE_DEVICES
  repx_at_own=() value=${!name-}
  [[ -n $value && -n $given${SLURM_JOB_GPUS-} ]] || return 0
  [[ -z ${SLURM_JOB_GPUS-} ]] || given=${given:+shared}${given:-$SLURM_JOB_GPUS}
  if [[ $given$value != *[!0-9,]* ]] && repx_narrow_gpus "$given"; then
    value=$REPLY
  fi
  case $repx_runtime in
    bwrap) repx_at_own=(--setenv "$name" "$value") ;;
    charliecloud) repx_at_own=("--set-env=$name=$value") ;;
    *) repx_at_own=(--env "$name=$value") ;;
  esac
}

# NUMBERS: leave only these of NVIDIA's GPUs in repx_at_gpus; 1 where nothing can be left out. Sets
# REPLY to their names for a program that cannot open others: numbers from 0 on.
repx_narrow_gpus() {
  local size=2 start last number numbers words=() narrowed=''
  [[ $repx_runtime != bwrap ]] || size=3
  IFS=, read -ra numbers <<<"$1"
  for ((start = 0; start < ${#repx_at_gpus[@]}; start += size)); do
    last=${repx_at_gpus[start + size - 1]-}
    case $last in
      all) narrowed=1 words+=(--gpus "\"device=$1\"") ;;
      nvidia.com/gpu=all)
        narrowed=1
        for number in "${numbers[@]}"; do words+=(--device "nvidia.com/gpu=$number"); done
        ;;
      /dev/nvidia[0-9]*)
        narrowed=1
        [[ ,$1, != *",${last#/dev/nvidia},"* ]] || words+=("${repx_at_gpus[@]:start:size}")
        ;;
      *) words+=("${repx_at_gpus[@]:start:size}") ;;
    esac
  done
  [[ -n $narrowed ]] || return
  repx_at_gpus=("${words[@]}") REPLY=${!numbers[*]}
  REPLY=${REPLY// /,}
}

# SIGNAL PID: send it to every process below a process.
repx_signal_below() {
  local pid
  for pid in $(<"/proc/$2/task/$2/children"); do
    kill "-$1" "$pid"
    repx_signal_below "$1" "$pid"
  done 2>/dev/null
}

# PROGRAM: set REPLY to the interpreter its first line names, repx_argument to what it is given
# first; 1 where it names none.
repx_interpreter() {
  local first=''
  [[ -r $1 ]] && IFS= read -r -n 1000 -d $'\n' first <"$1" 2>/dev/null
  [[ $first == '#!'* ]] || return
  read -r REPLY repx_argument _ <<<"${first:2}"
}
