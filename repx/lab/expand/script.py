"""The bash script of a stage: the job contract around the user's own lines."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.lab.expand.store import store_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PIECE = re.compile(r"\{\{|\}\}|\{[A-Za-z_][A-Za-z0-9_-]*\}|\$out")
# Arrays filled through a reference, and functions defined by `eval`, look unused or unknown.
_SHELLCHECK = "# shellcheck disable=SC2004,SC2034,SC2154\n"
_LAB_VALUES = """\
if [[ "${parameters[*]}" == *'$lab/'* ]]; then
  for repx_rest in "${!parameters[@]}"; do
    [[ ${parameters[$repx_rest]} != '$lab/'* ]] ||
      parameters[$repx_rest]=$REPX_LAB/${parameters[$repx_rest]#*/}
  done
fi
"""
_BEGIN = """\
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


@dataclass(frozen=True)
class Body:
    """A stage's own part: ``lines`` of bash, or else the file ``program`` in the folder ``files``.

    Three fields are names in the Lab's store: ``files`` are the stage's files, ``python`` is the
    folder that holds ``repx_py`` for Python programs, ``environment`` the folder with the stage's
    Python packages. ``modules`` are those of the machine. ``bash`` is the interpreter and ``path``
    the folders of the commands if these are pinned; otherwise the machine's are used.
    """

    lines: str | None = None
    program: str | None = None
    files: str | None = None
    python: str | None = None
    bash: str | None = None
    path: Sequence[str] = ()
    environment: str | None = None
    modules: Sequence[str] = ()


def with_scripts(blueprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the blueprint with every body rendered to a script's text."""
    return {**blueprint, "runs": [_run(run) for run in blueprint["runs"]]}


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    pipelines = [
        {**pipeline, "stages": [_stage(stage) for stage in pipeline["stages"]]}
        for pipeline in run["pipelines"]
    ]
    return {**run, "pipelines": pipelines}


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    if "variants" in stage:
        shared = {name: value for name, value in stage.items() if name != "variants"}
        return {**stage, "variants": _tree(stage["variants"], shared)}
    executables = {}
    for name, executable in stage["executables"].items():
        # A stage may occur in several places of pipelines and needs the same script in all.
        stands_for = stage.get("title") or stage["key"]
        title = stands_for if name == "main" else f"{stands_for}, {name}"
        script = _script(title, executable["script"], executable.get("outputs") or {})
        executables[name] = {**executable, "script": script}
    return {**stage, "executables": executables}


def _tree(tree: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with a complete stage in each leaf."""
    if "leaf" in tree:
        return {"leaf": _stage({**shared, **tree["leaf"]})}
    cases = [[values, _tree(branch, shared)] for values, branch in tree["cases"]]
    return {"on": tree["on"], "cases": cases}


def _script(title: str, source: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in source.items() if name not in ("body", "notes")}
    if "body" in source:
        templates = {name: text for name, text in outputs.items() if isinstance(text, str)}
        body = Body(**source["body"])
        found["text"] = render(title, source.get("notes") or (), templates, body)
    if "name" not in found:
        found["name"] = store_name(found)
    return found


def render(title: str, notes: Sequence[str], outputs: Mapping[str, str], body: Body) -> str:
    """Return the whole script; ``notes`` are comments on its inputs and outputs."""
    comments = [f"Stage {title}. Usage: NAME OUT INPUTS.json PARAMETERS.json", *notes]
    # A line break would end the comment.
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    needs_parameters = body.lines is not None or any(map(_placeholders, outputs.values()))
    parts = [
        f"#!{body.bash or '/usr/bin/env bash'}\n{head}{_SHELLCHECK}",
        f"export PATH={shlex.quote(':'.join(body.path))}\n" if body.path else "",
        _template("stage.sh"),
        'repx_json "$2" inputs\n' if body.lines is not None else "",
        f'repx_json "$3" parameters\n{_LAB_VALUES}' if needs_parameters else "",
        *(f"outputs[{_quoted(name)}]={expression(path)}\n" for name, path in outputs.items()),
        _BEGIN,
        *_environment(body),
        "\n# --- the stage ---\n",
        _work(body),
        "\n\nexit\n",  # two line breaks, in case the last line ends in a backslash
        _template("stage-exceptional.sh"),
    ]
    return "".join(parts)


def python_launcher(**facts: str) -> str:
    """Return the script that starts an environment's Python; ``facts`` fill the template."""
    with open(os.path.join(os.path.dirname(__file__), "python.sh"), encoding="utf-8") as stream:
        text = stream.read()
    for name, value in facts.items():
        text = text.replace(f"@{name}@", shlex.quote(value))
    return text


def expression(template: str) -> str:
    """Return a bash word that evaluates an output template for one combination."""
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
    """Return a template from this file's folder, without its leading comments."""
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as stream:
        lines = stream.readlines()
    start = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[start:])


def _environment(body: Body) -> list[str]:
    lines = []
    if body.files is not None:
        lines.append(f"export REPX_FILES=$REPX_LAB/store/{body.files}\n")
    if body.modules:
        lines += [_template("modules.sh"), f"repx_modules {shlex.join(body.modules)}\n"]
    if body.environment is not None:
        # The user's own variables must not add other packages.
        lines.append(
            f"export VIRTUAL_ENV=$REPX_LAB/store/{body.environment} PYTHONDONTWRITEBYTECODE=1\n"
            "export PATH=$VIRTUAL_ENV/bin:$PATH\nunset PYTHONHOME PYTHONPATH\n"
        )
    if body.python is not None:
        # Python must not write compiled modules to the Lab's store.
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
