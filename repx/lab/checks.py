"""Mistakes in lab.yaml that a schema cannot find: names, templates and lines of bash."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from repx.errors import Problem, did_you_mean
from repx.lab import sweeps
from repx.lab.definition import STORE_BASE, WORK_ITEM
from repx.lab.expand import RESERVED_RUNS, BlueprintError, holes, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from repx.lab.definition import Definition, Pointer, Program, Run, Stage

# ${inputs[x]} ${#inputs["x"]} ${inputs['x']:-} and inputs[x] in tests; `@` and `*` mean all keys.
_USE: Final = re.compile(
    r"""\b(inputs|parameters|outputs)\[(?:"([^"\]$`]+)"|'([^'\]]+)'|([^\]"'$`]+)|[^\]]*)\]"""
)
_WHOLE: Final = {
    "inputs": re.compile(r"\b(inputs_json|REPX_INPUTS_JSON)\b"),
    "parameters": re.compile(r"\b(parameters_json|REPX_PARAMETERS_JSON)\b"),
    "outputs": re.compile(r"\bREPX_OUTPUTS\b"),
}
_COMMENT: Final = re.compile(r"(?:^|(?<=[\s;]))#.*$", re.MULTILINE)
_BASH_LINE: Final = re.compile(r"bash: line (\d+): (.*)$", re.MULTILINE)
# SC2154: `inputs` and similar arrays are set before these lines.
_SHELLCHECK: Final = (
    *("shellcheck", "--shell=bash", "--severity=warning", "--exclude=SC2154"),
    *("--format=json1", "-"),
)
# The lines run with these options; otherwise shellcheck asks for `cd ... || exit`.
_STRICT: Final = "set -euo pipefail\n"


class Tool(Protocol):
    """How checks run a program: its exit code and output, or None if not installed."""

    def __call__(self, argv: Sequence[str], stdin: str) -> tuple[int, str] | None:
        """Run the program to its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of an array in a stage's lines; ``name`` is the key, None for any or all keys."""

    array: str
    name: str | None
    line: int


def names(definition: Definition) -> None:
    """Note ambiguous names of runs and groups, unknown names, and cyclic runs."""
    for run in definition.runs.values():
        _run_names(definition, run)
    for group, members in definition.groups.items():
        if group in definition.runs:
            definition.error(("groups", group), f"a run and a group are both called '{group}'")
        for index, name in enumerate(members):
            message = f"there is no run '{name}'"
            definition.known(("groups", group, index), message, name, definition.runs)
    needs = {
        name: [other for other in run.dependencies if other in definition.runs]
        for name, run in definition.runs.items()
    }
    try:
        ordered(needs, "runs")
    except BlueprintError as error:
        definition.error(("runs",), str(error))


def _run_names(definition: Definition, run: Run) -> None:
    if run.name in RESERVED_RUNS:
        definition.error(run.at, f"a run cannot be called '{run.name}': repx uses the word itself")
    for index, pipeline in enumerate(run.pipelines):
        at = (*run.at, "pipelines", index)
        definition.known(at, f"there is no pipeline '{pipeline}'", pipeline, definition.pipelines)
    for other in run.dependencies:
        at = (*run.at, "dependencies", other)
        definition.known(at, f"there is no run '{other}'", other, definition.runs)


def stages(definition: Definition) -> None:
    """Note templates that use unknown parameters, and names that clash."""
    for stage in definition.stages.values():
        for name, default in stage.parameters.items():
            sweeps.check_value(definition, (*stage.at, "parameters", name), default)
            sweeps.check_path(definition, (*stage.at, "parameters", name), default)
        _templates(definition, stage)
        for program in stage.programs.values():
            _outputs(definition, program)
            if program.name in ("main", "scatter") and WORK_ITEM in program.inputs:
                definition.error((*stage.at, "inputs"), f"only steps have the input '{WORK_ITEM}'")


def run(definition: Definition, run: Run, stages: Mapping[str, Stage]) -> None:
    """Note needs of a run's stages that the run does not meet."""
    sweeps.check(definition, run, stages)
    for key, stage in stages.items():
        for other in stage.metadata_of:
            if other not in run.dependencies:
                near = did_you_mean(other, run.dependencies)
                definition.error(
                    (*stage.at, "inputs"),
                    f"stage '{key}' reads the metadata of run '{other}', which run '{run.name}' "
                    f"does not depend on" + (f", {near}" if near else ""),
                )


def _templates(definition: Definition, stage: Stage) -> None:
    """Note every ``{name}`` and ``if`` that is not a parameter of the stage."""
    found: list[tuple[Pointer, str]] = [((*stage.at, "pname"), stage.pname)]
    found += _resource_texts((*stage.at, "resources"), stage.resources)
    for program in stage.programs.values():
        found += _resource_texts((*program.at, "resources"), program.resources)
        for name, template in program.outputs.items():
            if isinstance(template, str):
                found.append(((*program.at, "outputs", name), template))
    used = [(at, name) for at, template in found for name in holes(template)]
    parts: list[Stage | Program] = [stage, *stage.programs.values()]
    for part in parts:
        for index, rule in enumerate(part.resources.get("when", ())):
            at: Pointer = (*part.at, "resources", "when", index, "if")
            used += [((*at, name), name) for name in rule["if"]]
    for at, name in used:
        message = f"stage '{stage.key}' has no parameter '{name}'"
        definition.known(at, message, name, stage.parameters)


def _resource_texts(at: Pointer, resources: Mapping[str, object]) -> list[tuple[Pointer, str]]:
    found = [((*at, name), text) for name, text in resources.items() if isinstance(text, str)]
    rules = resources.get("when", ())
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        found += _resource_texts((*at, "when", index), rule)
    return found


def _outputs(definition: Definition, program: Program) -> None:
    seen: dict[object, str] = {}
    for name, template in program.outputs.items():
        at = (*program.at, "outputs", name)
        if isinstance(template, str) and ".." in template.split("/"):
            definition.error(at, f"output '{name}': '{template}' leaves the job's folder")
        if isinstance(template, str) and template in seen:
            definition.error(at, f"outputs '{seen[template]}' and '{name}' are the same file")
        elif isinstance(template, str):
            seen[template] = name


def uses(lines: str) -> Iterator[Use]:
    """Yield each use of an array in lines of bash; the first line is line 1."""
    # Comments are blanked, not removed, so that lines keep their numbers.
    code = _COMMENT.sub(lambda match: " " * len(match.group()), lines)
    for match in _USE.finditer(code):
        name = match.group(2) or match.group(3) or match.group(4)
        if name is not None and (name in "@*" or "$" in name):
            name = None
        line = code.count("\n", 0, match.start()) + 1
        yield Use(array=match.group(1), name=name, line=line)
    for array, pattern in _WHOLE.items():
        if whole := pattern.search(code):
            yield Use(array=array, name=None, line=code.count("\n", 0, whole.start()) + 1)


def arrays(definition: Definition, stage: Stage) -> None:
    """Note names that a stage's bash lines use undeclared, and declared names that are unused."""
    for program in stage.programs.values():
        if program.run is None:
            continue
        declared: dict[str, Iterable[str]] = {
            "inputs": program.inputs,
            "parameters": stage.parameters,
            "outputs": program.outputs,
        }
        for use in uses(program.run):
            if use.name is not None and use.name not in declared[use.array]:
                near = did_you_mean(use.name, declared[use.array])
                message = f"{use.array}[{use.name}] is used but not declared"
                _at_line(definition, program, use.line, f"{message}, {near}" if near else message)
        _unused(definition, stage, program)
    _unused_parameters(definition, stage)


def _unused(definition: Definition, stage: Stage, program: Program) -> None:
    lines = program.run or ""
    found = list(uses(lines))
    if not any(use.array == "inputs" and use.name is None for use in found):
        named = {use.name for use in found if use.array == "inputs"}
        place = (*(stage if program.name in ("main", "scatter") else program).at, "inputs")
        shared = program.name in ("scatter", "gather")  # steps and gather may read them too
        for index, name in enumerate(program.inputs):
            if name not in named and not shared and name != STORE_BASE:
                definition.warn((*place, index), f"input '{name}' is declared but not used")
    if any(use.array == "outputs" and use.name is None for use in found):
        return
    named = {use.name for use in found if use.array == "outputs"}
    for name, template in program.outputs.items():
        if not isinstance(template, str) or name in named:
            continue
        literal = max(re.split(r"\{[^}]*\}|\$out/", template), key=len)
        if literal not in lines:
            at = (*program.at, "outputs", name)
            definition.warn(at, f"output '{name}' is declared but not used")


def _unused_parameters(definition: Definition, stage: Stage) -> None:
    """Warn of parameters that neither lines nor templates use; programs may read any."""
    bodies = [program.run for program in stage.programs.values()]
    found = [use for body in bodies if body is not None for use in uses(body)]
    if None in bodies or any(use.array == "parameters" and use.name is None for use in found):
        return
    used = {use.name for use in found if use.array == "parameters"}
    for program in stage.programs.values():
        for template in program.outputs.values():
            used.update(holes(template) if isinstance(template, str) else ())
    for name in stage.parameters:
        if name not in used:
            at = (*stage.at, "parameters", name)
            definition.warn(at, f"parameter '{name}' is declared but not used")


def syntax(definition: Definition, tool: Tool) -> None:
    """Note lines that bash cannot parse, and findings of shellcheck if it is installed."""
    for stage in definition.stages.values():
        for program in stage.programs.values():
            if program.run is not None:
                _syntax(definition, program, program.run, tool)


def _syntax(definition: Definition, program: Program, lines: str, tool: Tool) -> None:
    answer = tool(("bash", "-n"), lines)
    if answer is not None and (answer[0] != 0 or answer[1].strip()):
        complaints = _BASH_LINE.findall(answer[1]) or [("1", answer[1].strip())]
        # The second message of bash only repeats the line.
        _at_line(definition, program, int(complaints[0][0]), f"bash: {complaints[0][1]}")
        return
    answer = tool(_SHELLCHECK, _STRICT + lines)
    if answer is None:
        return
    try:
        comments = json.loads(answer[1])["comments"]
    except (ValueError, KeyError):
        return  # an unknown version of shellcheck must not stop the build
    for comment in comments:
        message = f"shellcheck SC{comment['code']}: {comment['message']}"
        failing = comment["level"] == "error"
        _at_line(definition, program, comment["line"] - 1, message, failing=failing)


def _at_line(
    definition: Definition, program: Program, line: int, message: str, *, failing: bool = True
) -> None:
    """Note a problem in a line of a program's text, at its line in lab.yaml."""
    doc = definition.doc
    lines = (program.run or "").rstrip("\n").count("\n") + 1
    # Bash reports the missing end of an `if` in the line after the last.
    place = doc.line((*program.at, "run"), min(line, lines))
    problem = Problem(doc.file, *place, message)
    (definition.errors if failing else definition.warnings).append(problem)
