"""The bash script a stage becomes: the job contract around the user's own lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import assets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PIECE: Final = re.compile(r"\{\{|\}\}|\{[A-Za-z_][A-Za-z0-9_-]*\}|\$out")
# Arrays filled through a reference, and functions defined by `eval`, look unused or unknown.
_SHELLCHECK: Final = "# shellcheck disable=SC2004,SC2034,SC2154\n"
_LAB_VALUES: Final = """\
if [[ "${parameters[*]}" == *'$lab/'* ]]; then
  for repx_rest in "${!parameters[@]}"; do
    [[ ${parameters[$repx_rest]} != '$lab/'* ]] ||
      parameters[$repx_rest]=$REPX_LAB/${parameters[$repx_rest]#*/}
  done
fi
"""
_BEGIN: Final = """\
for repx_rest in "${!outputs[@]}"; do
  REPX_OUTPUTS=${REPX_OUTPUTS-},\\"$repx_rest\\":\\"${outputs[$repx_rest]}\\"
done
if [[ "${outputs[*]}" == *[\\\\\\"[:cntrl:]]* ]]; then
  repx_load
  repx_escape_outputs
fi
REPX_OUTPUTS=${REPX_OUTPUTS-}
export REPX_OUTPUTS="{${REPX_OUTPUTS#,}}"
[[ -d $out ]] || mkdir -p -- "$out"
shopt -s nullglob dotglob
repx_old=("$out"/*)
shopt -u nullglob dotglob
if ((${#repx_old[@]})); then
  repx_load
  repx_clear
fi
unset repx_rest repx_old
cd -- "$out"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a stage does: ``lines`` of bash, or else the file ``program`` in the folder ``files``.

    ``files`` and ``python`` are names in the Lab's store: the stage's files, and the folder
    that holds ``repx_py`` for Python programs.
    """

    lines: str | None = None
    program: str | None = None
    files: str | None = None
    python: str | None = None


def render(title: str, notes: Sequence[str], outputs: Mapping[str, str], body: Body) -> str:
    """Return the whole script; ``notes`` are comments that say what it reads and writes."""
    comments = [f"Stage {title}. Usage: NAME OUT INPUTS.json PARAMETERS.json", *notes]
    # A line break in a comment would end it.
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    needs_parameters = body.lines is not None or any(map(_placeholders, outputs.values()))
    parts = [
        f"#!/usr/bin/env bash\n{head}{_SHELLCHECK}",
        _template("stage.sh"),
        'repx_json "$2" inputs\n' if body.lines is not None else "",
        f'repx_json "$3" parameters\n{_LAB_VALUES}' if needs_parameters else "",
        *(f"outputs[{name}]={expression(path)}\n" for name, path in outputs.items()),
        _BEGIN,
        *_environment(body),
        "\n# --- the stage ---\n",
        _work(body),
        "\n\nexit\n",  # two, for a last line that ends in a backslash
        _template("stage-rare.sh"),
    ]
    return "".join(parts)


def expression(template: str) -> str:
    """Return a bash word that gives what an output template gives for one combination."""
    words = []
    end = 0
    for match in _PIECE.finditer(template):
        words.append(_quoted(template[end : match.start()]))
        piece = match.group()
        if piece == "$out":
            words.append('"$out"')
        elif piece in ("{{", "}}"):
            words.append(_quoted(piece[0]))
        else:
            words.append(f'"${{parameters[{piece[1:-1]}]}}"')
        end = match.end()
    return "".join([*words, _quoted(template[end:])])


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def _placeholders(template: str) -> bool:
    return any(piece not in ("{{", "}}", "$out") for piece in _PIECE.findall(template))


def _template(name: str) -> str:
    """Return a shipped piece of script without the comment lines that begin it."""
    text = assets.path(f"templates/{name}").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[start:])


def _environment(body: Body) -> list[str]:
    lines = []
    if body.files is not None:
        lines.append(f"export REPX_FILES=$REPX_LAB/store/{body.files}\n")
    if body.python is not None:
        # Compiled modules must not be left in the Lab's store.
        folder = f"$REPX_LAB/store/{body.python}"
        lines.append(
            f"export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={folder}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        )
    return lines


def _work(body: Body) -> str:
    if body.lines is not None:
        return body.lines
    program = shlex.quote(body.program or "")
    return f'exec "$REPX_FILES"/{program} "$out" "$inputs_json" "$parameters_json"'
