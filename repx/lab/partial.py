"""The sound part of a lab.yaml with mistakes: parts that need no part with a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from repx.errors import ProblemsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repx.document import Document
    from repx.errors import Problem

_SECTIONS: Final = ("stages", "pipelines", "runs", "groups")


def sound(doc: Document, schema_name: str, problems: list[Problem]) -> dict[str, Any]:
    """Return the data without the parts in which the schema finds mistakes; add the mistakes.

    ``problems`` are those of the YAML; mistakes that the schema finds in the same lines only
    follow from them. Raises ProblemsError with all mistakes if no part is left to check.
    """
    from repx import schema  # takes 0.1 s, only needed for definitions

    lines = {problem.line for problem in problems}
    mistakes = schema.mistakes(doc.data, schema_name)
    found = [(pointer, doc.problem(pointer, message)) for pointer, message in mistakes]
    problems += [problem for _, problem in found if problem.line not in lines]
    broken = {pointer[:2] for pointer, _ in found}
    if not broken:
        return doc.data  # type: ignore[no-any-return]  # as the schema says
    if not isinstance(doc.data, dict):
        raise ProblemsError(problems)
    return _without(doc.data, broken)


def _without(data: Mapping[str, Any], broken: set[tuple[str | int, ...]]) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {}
    whole = True
    for name in _SECTIONS:  # each section needs those before it
        section = data.get(name)
        whole = whole and (name,) not in broken and isinstance(section, dict | None)
        kept = section.items() if whole and isinstance(section, dict) else ()
        parts[name] = {key: value for key, value in kept if (name, key) not in broken}
        whole = whole and (name == "groups" or isinstance(section, dict))
    gone = _names(data, "stages") - parts["stages"].keys()
    parts["pipelines"] = {
        key: raw for key, raw in parts["pipelines"].items() if gone.isdisjoint(_stages_of(raw))
    }
    _drop_runs(data, parts)
    lost = _names(data, "runs") - parts["runs"].keys()
    parts["groups"] = {
        key: [run for run in runs if run not in lost] for key, runs in parts["groups"].items()
    }
    named = {key: data[key] for key in ("name", "version") if key in data and (key,) not in broken}
    return {**named, **parts}


def _drop_runs(data: Mapping[str, Any], parts: dict[str, dict[str, Any]]) -> None:
    """Drop the runs that need a pipeline or a run that was dropped."""
    pipelines = _names(data, "pipelines")
    gone = pipelines - parts["pipelines"].keys()
    runs = parts["runs"]
    dropped = {
        key for key, raw in runs.items() if not gone.isdisjoint(raw.get("pipelines", pipelines))
    }
    dropped |= _names(data, "runs") - runs.keys()
    before = -1
    while before != len(dropped):
        before = len(dropped)
        dropped |= {
            key for key, raw in runs.items() if not dropped.isdisjoint(raw.get("dependencies", ()))
        }
    parts["runs"] = {key: raw for key, raw in runs.items() if key not in dropped}


def _names(data: Mapping[str, Any], section: str) -> set[str]:
    found = data.get(section)
    return set(found) if isinstance(found, dict) else set()


def _stages_of(raw: Any) -> Iterator[str]:  # noqa: ANN401  # either form of a pipeline
    yield from raw
    if isinstance(raw, dict):
        for needs in raw.values():
            yield from (need if isinstance(need, str) else need[0] for need in needs or ())
