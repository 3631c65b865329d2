# shellcheck shell=bash disable=SC2154,SC2034,SC2004
# What a stage script rarely needs: difficult JSON, hostile paths, and an `out` that is not empty.

# FILE: fill repx_into from repx_parts, which hold any JSON object.
repx_any_json() {
  local repx_key repx_text repx_depth repx_marks repx_value
  [[ ${repx_parts[0]-} == *'{'* ]] || repx_refuse "$1" 'it does not hold a JSON object'
  while ((repx_at < ${#repx_parts[@]})); do
    repx_string
    repx_unescape "$1"
    repx_key=$repx_text
    repx_squeeze "${repx_parts[repx_at]#*:}"
    case $repx_rest in
      '')
        ((repx_at += 1))
        repx_string
        repx_unescape "$1"
        repx_value=$repx_text
        ;;
      '['* | '{'*) repx_nested ;;
      *)
        repx_rest=${repx_rest%[,\}]}
        repx_number
        repx_value=$repx_rest
        ;;
    esac
    ((repx_at += 1))
    [[ -z $repx_key ]] || repx_into[$repx_key]=$repx_value # bash allows no empty key
  done
}

repx_refuse() {
  printf 'repx: cannot read %s: %s\n' "$1" "$2" >&2
  exit 3
}

# Take the string that begins at part repx_at, as it is written. A part that ends in an odd
# number of backslashes ends in an escaped quotation mark: the string goes on.
repx_string() {
  local first=$repx_at
  while [[ ${repx_parts[repx_at]} == *\\ && ${repx_parts[repx_at]} =~ (\\+)$ ]] &&
    ((${#BASH_REMATCH[1]} % 2)); do
    ((repx_at += 1))
  done
  repx_text=${repx_parts[repx_at]}
  if ((repx_at > first)); then
    printf -v repx_text '%s"' "${repx_parts[@]:first:repx_at-first+1}"
    repx_text=${repx_text%\"}
  fi
  ((repx_at += 1))
}

# Take the list or object that begins with repx_rest. Behind its end stands the comma that
# follows it, or the brace of the object around it.
repx_nested() {
  local -a pieces=() # joined once: to append to a long text copies it
  repx_depth=0
  while :; do
    if [[ $repx_rest == *[][{}]* ]]; then
      repx_count "$repx_rest" '[{'
      repx_depth=$((repx_depth + repx_marks))
      repx_count "$repx_rest" ']}'
      repx_depth=$((repx_depth - repx_marks))
    fi
    ((repx_depth > 0)) || break
    pieces+=("$repx_rest")
    ((repx_at += 1))
    repx_string
    pieces+=("\"$repx_text\"")
    repx_rest=${repx_parts[repx_at]}
    if ((${#repx_rest} < 100)); then # a call costs more than the blanks between two texts
      repx_rest=${repx_rest//[[:space:]]/}
    else
      repx_squeeze "$repx_rest"
    fi
  done
  printf -v repx_value %s "${pieces[@]}" "${repx_rest%?}"
}

# TEXT: set repx_rest to it without white space. What replaces each match takes quadratic time.
repx_squeeze() {
  local - IFS=$' \t\n\r\v\f'
  local -a words
  set -f
  # shellcheck disable=SC2206  # split on purpose
  words=($1)
  IFS=
  repx_rest=${words[*]}
}

# TEXT MARKS: set repx_marks to how many characters of the text are one of these.
repx_count() {
  local - IFS=$2
  local -a between
  set -f
  # shellcheck disable=SC2206  # split on purpose
  between=(${1}x)
  repx_marks=$((${#between[@]} - 1))
}

# Write the number repx_rest as serde_json does, whoever wrote the file: 1e+16, 0.00001, 1e-6.
repx_number() {
  local sign whole fraction exponent
  [[ $repx_rest =~ ^(-?)([0-9]+)(\.([0-9]+))?[eE]([+-]?)0*([0-9]+)$ ]] || return 0
  sign=${BASH_REMATCH[1]} whole=${BASH_REMATCH[2]} fraction=${BASH_REMATCH[4]}
  exponent=${BASH_REMATCH[5]:-+}${BASH_REMATCH[6]}
  repx_rest=$sign$whole${fraction:+.$fraction}e$exponent
  [[ $exponent != -5 || $whole != [1-9] ]] || repx_rest=${sign}0.0000$whole$fraction
}

# FILE: replace the escapes in repx_text. Bytes 1 and 2, which JSON never holds as they are, stand
# for an escaped backslash and for the start of a \u escape meanwhile.
repx_unescape() {
  [[ $repx_text == *\\* ]] || return 0
  local slash=\\
  repx_text=${repx_text//\\\\/$'\1'}
  repx_text=${repx_text//\\\"/\"}
  repx_text=${repx_text//\\\//\/}
  repx_text=${repx_text//\\b/$'\b'}
  repx_text=${repx_text//\\f/$'\f'}
  repx_text=${repx_text//\\n/$'\n'}
  repx_text=${repx_text//\\r/$'\r'}
  repx_text=${repx_text//\\t/$'\t'}
  if [[ $repx_text == *\\u* ]]; then
    repx_code_points "$1"
  else
    repx_text=${repx_text//$'\1'/"$slash"}
  fi
}

repx_code_points() {
  local - IFS=$'\2' slash=\\ plain piece code high=0
  local -a pieces
  set -f
  repx_text=${repx_text//\\u/$'\2'}
  # shellcheck disable=SC2206  # split at byte 2 on purpose
  pieces=($repx_text)
  plain=${pieces[0]//$'\1'/"$slash"}
  for piece in "${pieces[@]:1}"; do
    code=$((16#${piece:0:4})) piece=${piece:4}
    if ((high && code >> 10 == 0x37)); then # the second half of a surrogate pair
      code=$((code + ((high - 0xd7c0) << 10) - 0xdc00))
    elif ((high)); then
      plain+=$'\xef\xbf\xbd'
    fi
    high=0
    if [[ -z $piece ]] && ((code >> 10 == 0x36)); then
      high=$code
      continue
    fi
    ((code != 0)) || repx_refuse "$1" 'bash cannot hold the NUL character'
    repx_utf8
    plain+=$repx_text${piece//$'\1'/"$slash"}
  done
  ((high == 0)) || plain+=$'\xef\xbf\xbd'
  repx_text=$plain
}

# Set repx_text to the UTF-8 form of the code point in code; half a surrogate pair is U+FFFD.
repx_utf8() {
  ((code >> 11 != 0x1b)) || code=$((0xfffd))
  if ((code < 0x80)); then
    printf -v repx_text '\\x%02x' "$code"
  elif ((code < 0x800)); then
    printf -v repx_text '\\x%02x' $((code >> 6 | 0xc0)) $((code & 63 | 128))
  elif ((code < 0x10000)); then
    printf -v repx_text '\\x%02x' $((code >> 12 | 0xe0)) $((code >> 6 & 63 | 128)) \
      $((code & 63 | 128))
  else
    printf -v repx_text '\\x%02x' $((code >> 18 | 0xf0)) $((code >> 12 & 63 | 128)) \
      $((code >> 6 & 63 | 128)) $((code & 63 | 128))
  fi
  printf -v repx_text '%b' "$repx_text"
}

# Remove repx_old, which is in `out`, except for Slurm's own logs.
repx_clear() {
  local path
  local -a old=()
  for path in "${repx_old[@]}"; do
    [[ ${path##*/} == slurm-*.out ]] || old+=("$path")
  done
  while ((${#old[@]})); do
    chmod -R u+w -- "${old[@]:0:500}" 2>/dev/null || :
    rm -rf -- "${old[@]:0:500}"
    old=("${old[@]:500}")
  done
}

# PATH: set repx_text to the path as JSON text holds it.
repx_escape() {
  local LC_ALL=C code raw
  repx_text=${1//\\/\\\\}
  repx_text=${repx_text//\"/\\\"}
  for code in {1..31}; do
    printf -v raw '\\x%02x' "$code"
    printf -v raw '%b' "$raw"
    [[ $repx_text != *"$raw"* ]] || repx_text=${repx_text//"$raw"/\\u00$(printf %02x "$code")}
  done
}

repx_escape_outputs() {
  local name repx_text
  REPX_OUTPUTS=
  for name in "${!outputs[@]}"; do
    repx_escape "${outputs[$name]}"
    REPX_OUTPUTS+=,\"$name\":\"$repx_text\"
  done
}
