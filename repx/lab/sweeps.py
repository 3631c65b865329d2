"""The values that runs give to parameters: lists, ranges and scans become axes."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from repx.errors import did_you_mean
from repx.lab.expand import LAB_PATH, BlueprintError, compact
from repx.lab.metadata import TOO_DEEP, is_deep
from repx.lab.sources import SourceError, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repx.lab.blueprint import ZipGroup
    from repx.lab.definition import Definition, Pointer, Run, Stage
    from repx.lab.sources import Sources

_MOST_VALUES: Final = 10_000_000
_PATHS_LOOKED_AT: Final = 1000  # of one parameter: each check reads the file system
_COUNTABLE: Final = 10**15
_DIGITS_SHOWN: Final = 25


def axes(definition: Definition, run: Run, sources: Sources) -> dict[str, list[Any]]:
    """Return the run's parameters with their values; notes values that are not allowed."""
    return {
        name: _values(definition, (*run.at, "parameters", name), raw, sources)
        for name, raw in run.parameters.items()
    }


def zip_groups(definition: Definition, run: Run, sources: Sources) -> list[ZipGroup]:
    """Return the run's groups of parameters that vary together; notes unequal lengths."""
    groups: list[ZipGroup] = []
    taken = dict.fromkeys(run.parameters, "also one of 'parameters'")
    for index, raw in enumerate(run.zips):
        at: Pointer = (*run.at, "zip", index)
        columns = {}
        for name, values in raw.items():
            columns[name] = _values(definition, (*at, name), values, sources)
            if name in taken:
                definition.error((*at, name), f"parameter '{name}' is {taken[name]}")
            taken[name] = "in two groups"
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            definition.error(at, f"zipped parameters need equally many values: {listed}")
            continue
        rows = zip(*columns.values(), strict=True)
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        groups.append({"members": list(columns), "values": values})
    return groups


def check(definition: Definition, run: Run, stages: Mapping[str, Stage]) -> None:
    """Note parameters that no stage declares, and stages that lack a value."""
    declared = {name for stage in stages.values() for name in stage.parameters}
    own = {f"{key}.{name}" for key, stage in stages.items() for name in stage.parameters}
    given: dict[str, Pointer] = {name: (*run.at, "parameters", name) for name in run.parameters}
    for index, group in enumerate(run.zips):
        given.update({name: (*run.at, "zip", index, name) for name in group})
    for name, at in given.items():
        if name not in declared | own:
            near = did_you_mean(name, declared | own)
            definition.error(
                at,
                f"no stage of run '{run.name}' declares the parameter '{name}'"
                + (f", {near}" if near else ""),
            )
    for key, stage in stages.items():
        for name, default in stage.parameters.items():
            if default is None and not given.keys() & {name, f"{key}.{name}"}:
                definition.error(
                    run.at,
                    f"run '{run.name}' gives no value for the parameter '{name}' of stage "
                    f"'{key}', which has no default",
                )
            elif default is None:
                _check_no_null(definition, run, key, name)


def _check_no_null(definition: Definition, run: Run, key: str, name: str) -> None:
    tables = [(run.parameters, (*run.at, "parameters"))]
    tables += [(group, (*run.at, "zip", index)) for index, group in enumerate(run.zips)]
    for table, at in tables:
        for wanted in (name, f"{key}.{name}"):
            values = table.get(wanted)
            if isinstance(values, list) and None in values:
                definition.error(
                    (*at, wanted, values.index(None)),
                    f"null means the default, but stage '{key}' has none for '{name}'",
                )


def _values(definition: Definition, at: Pointer, raw: Any, sources: Sources) -> list[Any]:  # noqa: ANN401  # as in the schema
    if isinstance(raw, list):
        for index, value in enumerate(raw):
            check_value(definition, (*at, index), value)
            if index < _PATHS_LOOKED_AT:
                check_path(definition, (*at, index), value)
        return raw
    if not isinstance(raw, dict):
        check_value(definition, at, raw)
        check_path(definition, at, raw)
        return [raw]
    if "range" in raw:
        return _range(definition, (*at, "range"), raw["range"])
    kind = "dirs" if "dirs" in raw else "files"
    try:
        return list(sources.scan(raw[kind], folders=kind == "dirs"))
    except (SourceError, OSError) as error:
        definition.error((*at, kind), reason(error))
        return []


def _range(definition: Definition, at: Pointer, bounds: Sequence[float]) -> list[Any]:
    """Return first, first + step, ..., last in exact decimals; integers if all bounds are."""
    if not all(map(math.isfinite, bounds)):
        definition.error(at, "a range needs finite numbers")
        return []
    first, last, step = (Decimal(repr(bound)) for bound in (*bounds, 1)[:3])
    shown = ", ".join(map(_brief, bounds))
    if not step:
        definition.error(at, f"the step of the range {shown} is 0: it never reaches its end")
        return []
    count = math.floor((last - first) / step) + 1
    if count <= 0:
        turned = ", ".join([*map(_brief, bounds[:2]), _brief(-step)])
        wanted = f"write [{turned}] to count {'down' if last < first else 'up'}"
        definition.error(at, f"the range {shown} is empty: {wanted}")
        return []
    if count > _MOST_VALUES:
        number = f"{count:,}" if count < _COUNTABLE else f"about {Decimal(count):.0e}"
        definition.error(at, f"the range {shown} has {number} values, more than {_MOST_VALUES:,}")
        return []
    whole = all(isinstance(bound, int) for bound in bounds)
    return [(int if whole else float)(first + index * step) for index in range(count)]


def _brief(number: float | Decimal) -> str:
    text = str(number)
    return text if len(text) <= _DIGITS_SHOWN else f"{Decimal(text):.4g}"


def check_path(definition: Definition, at: Pointer, value: Any) -> None:  # noqa: ANN401  # any YAML
    """Warn of a path relative to lab.yaml, which does not exist in the folder of a job."""
    if not isinstance(value, str) or not {"/", "."}.intersection(value) or value.startswith("/"):
        return
    try:
        place = definition.folder / value
        kind = "files" if place.is_file() else "dirs" if place.is_dir() else None
    except (OSError, ValueError):  # too long, or not a path
        return
    if kind is not None and os.path.realpath(place) != str(definition.folder):
        definition.warn(
            at,
            f"'{value}' is relative to lab.yaml, but a job runs in a folder of its own: "
            f"write {{{kind}: {value}}}, which hands the job its path",
        )


def check_value(definition: Definition, at: Pointer, value: Any) -> None:  # noqa: ANN401  # any YAML
    """Note a value that cannot be passed to a job unchanged."""
    if is_deep({"": value}):  # in metadata, the value is one level below the job's parameters
        definition.error(at, f"a value is {TOO_DEEP}")
        return
    for text in _texts(value):
        if "\0" in text:
            definition.error(at, "a value cannot hold the NUL character: bash has none")
        elif text.startswith(LAB_PATH):
            definition.error(
                at, f"a value cannot begin with '{LAB_PATH}', which stands for the Lab"
            )
    try:
        compact(value)
    except BlueprintError as error:
        definition.error(at, str(error))


def _texts(value: Any) -> Iterable[str]:  # noqa: ANN401  # any YAML
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
