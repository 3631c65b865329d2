"""From a blueprint to a Lab: every combination of parameters becomes a job with an id of its own.

Runs alone, with Python 3.9 and its standard library: ``python3 expand.py --blueprint F
--output DIR``. ``blueprint.py`` says what a blueprint is, docs/lab-format.md (Job) what an id
is. Where ids differ from RepX 0.5's on purpose:

- Stages are expanded in topological order, so an id always covers the ids of its upstreams.
- A job that waits for a whole run hashes one digest of that run's sorted ids instead of all of
  them, or cost would be jobs x upstream jobs.

A stage is expanded over the axes that reach it or its upstreams, not over all of them: the jobs
are the same, the work is one step per job. The same blueprint gives the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import decimal
import hashlib
import itertools
import json
import math
import operator
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Combination = tuple[int, ...]
    Progress = Callable[[int, int], None]

VERSION = 1
RESERVED_RUNS = ("missing", "pending", "top")
LAB_PATH = "$lab/"

_NIX32 = "0123456789abcdfghijklmnpqrsvwxyz"
_PAIRS = [high + low for high in _NIX32 for low in _NIX32]
_MAPPING_FIELDS = (
    "type",
    "job_id_template",
    "source_output",
    "target_input",
    "source_run",
    "dependency_type",
    "source_value",
    "source",
    "source_key",
    "job_id",
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_NOT_IN_FILE_NAMES = re.compile(r"[\x00-\x1f\x7f/]|\$out")
_LONGEST_NAME = 200
_MOST_JOBS = 10_000_000  # more is a slip of the pen
_CHUNK_BYTES = 1 << 20


class BlueprintError(Exception):
    """The blueprint does not describe a Lab."""


# --- text: JSON as serde_json writes it, hashes as Nix writes them ---------------------------


def compact(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return JSON without blanks, keys sorted, numbers as serde_json writes them.

    Raises BlueprintError for what JSON or UTF-8 cannot hold.
    """
    if isinstance(value, dict):
        items = (f"{compact(key)}:{compact(value[key])}" for key in sorted(value))
        return f"{{{','.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(compact, value))}]"
    if isinstance(value, float):
        return _float(value)
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BlueprintError(f"{value!r} is not valid text: it holds half a character") from None
    return text


def shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a value as templates and bash see it: text as it is, the rest as compact JSON."""
    return value if isinstance(value, str) else compact(value)


def _float(value: float) -> str:
    """Return a float as ryu prints it: ``1.0``, ``0.00001``, ``1e-6``, ``1e16``."""
    if not math.isfinite(value):
        raise BlueprintError(f"{value} is not a number that JSON can hold")
    if value == 0:
        return repr(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= 16:  # noqa: PLR2004  # ryu's limits, here and below
        text += "0" * (point - len(text)) + ".0"
    elif 0 < point <= 16:  # noqa: PLR2004
        text = f"{text[:point]}.{text[point:]}"
    elif -5 < point <= 0:  # noqa: PLR2004
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1}"
    return "-" + text if sign else text


def nix_hash(text: str) -> str:
    """Return the first 32 digits of the Nix base-32 form of the sha256 of ``text``."""
    high = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little") >> 100
    return "".join([_PAIRS[high >> shift & 1023] for shift in range(150, -1, -10)])


def fill(template: str, params: Mapping[str, str]) -> str:
    """Return the template with each ``{parameter}`` replaced; ``{{`` and ``}}`` are braces."""

    def value(match: re.Match[str]) -> str:
        hole, name = match.group(0), match.group(1)
        if name is None:
            return hole[0]
        return params.get(name, hole)

    return _HOLE.sub(value, template)


def holes(template: str) -> list[str]:
    """Return the names of the parameters that a template uses."""
    return [name for name in _HOLE.findall(template) if name]


# --- store: content-addressed files and folders ----------------------------------------------


def store_name(source: Mapping[str, Any]) -> str:
    """Return the name below ``store/``: 32 hex digits of the content's sha256, then a label."""
    label = re.sub(r"[^A-Za-z0-9._+-]", "_", source["label"])[-100:]
    if "tree" not in source:
        return f"{_sha256(source)[:32]}-{label}"
    tree = source["tree"]
    return f"{_tree_digest({name: _sha256(tree[name]) for name in tree}, tree)[:32]}-{label}"


def _tree_digest(digests: Mapping[str, str], tree: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one digest for a folder: names, contents and which files are executable."""
    lines = (f"{bool(tree[name].get('executable'))} {name}\0{digests[name]}\n" for name in digests)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _chunks(source: Mapping[str, Any]) -> Iterator[bytes]:
    if "text" in source:
        yield source["text"].encode()
        return
    with open(source["path"], "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _sha256(source: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(source):
        digest.update(chunk)
    return digest.hexdigest()


# --- blueprint: what the JSON says, checked and in the order in which it is expanded ---------


@dataclass(frozen=True)
class _Executable:
    name: str
    script: str
    identity: str | None
    inputs: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]
    resources: Mapping[str, Any]
    deps: Sequence[str]

    def binary(self, pname: str) -> str:
        """Return the file name below ``jobs/<id>/bin``."""
        return pname if self.name == "main" else f"{pname}-{self.name}"


@dataclass(frozen=True)
class _Stage:
    key: str
    pname: str
    version: str
    type: str
    parameters: Mapping[str, Any]
    mappings: Sequence[Mapping[str, Any]]
    resources: Mapping[str, Any]
    executables: Sequence[_Executable]

    @property
    def producers(self) -> list[str]:
        """Return the keys of the stages that this one reads, each once."""
        found = (each["stage"] for each in self.mappings if each.get("stage") is not None)
        return list(dict.fromkeys(found))

    @property
    def scripts(self) -> list[str]:
        """Return the store names of the scripts, by executable."""
        return [each.script for each in self.executables]

    @property
    def dynamic(self) -> set[str]:
        """Return the parameters that the pname, an output or a resource depends on."""
        resources = [self.resources, *(each.resources for each in self.executables)]
        texts = [self.pname]
        for each in self.executables:
            texts += [text for text in each.outputs.values() if isinstance(text, str)]
        found: set[str] = set()
        for hints in resources:
            rules = hints.get("when") or []
            for rule in [hints, *rules]:
                texts += [text for text in rule.values() if isinstance(text, str)]
                found.update(rule.get("if", ()))
        return found.union(*map(holes, texts))


@dataclass(frozen=True)
class _Axis:
    """One dimension of a run: a parameter, or a group of parameters that vary together."""

    members: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Table:
    """The ids of one stage's jobs by combination of the axes (indices) that matter to it."""

    axes: tuple[int, ...]
    version: str
    ids: dict[Combination, str] = field(default_factory=dict)


def _stage(raw: Mapping[str, Any]) -> _Stage:
    executables = []
    for name, each in sorted(raw["executables"].items()):
        script = each["script"]
        executables.append(
            _Executable(
                name=name,
                script=script.get("name") or store_name(script),
                identity=script.get("identity"),
                inputs=each.get("inputs") or [],
                outputs=each.get("outputs") or {},
                resources=each.get("resources") or {},
                deps=each.get("deps") or [],
            )
        )
    return _Stage(
        key=raw["key"],
        pname=raw["pname"],
        version=raw["version"],
        type=raw["stage_type"],
        parameters=raw.get("parameters") or {},
        mappings=raw.get("input_mappings") or [],
        resources=raw.get("resources") or {},
        executables=executables,
    )


def ordered(needs: Mapping[str, Iterable[str]], what: str) -> list[str]:
    """Return the names so that each comes after what it needs, else in their own order.

    Raises BlueprintError naming an unknown need, or the cycle.
    """
    done: dict[str, None] = {}
    for root in needs:
        path = [(root, iter(needs[root]))]
        while path:
            name, rest = path[-1]
            following = next((need for need in rest if need not in done), None)
            if following is None:
                path.pop()
                done[name] = None
                continue
            trail = [each for each, _ in path]
            if following in trail:
                circle = [*trail[trail.index(following) :], following]
                raise BlueprintError(f"{what} depend on each other: {' -> '.join(circle)}")
            if following not in needs:
                raise BlueprintError(f"{name!r} needs {following!r}, which is not among the {what}")
            path.append((following, iter(needs[following])))
    return [name for name in done if name in needs]


def _axes(run: Mapping[str, Any]) -> list[_Axis]:
    """Return the run's axes: parameters by name, then zip groups. Raises when one is empty."""
    single = sorted((run.get("parameter_axes") or {}).items())
    axes = [_Axis([name], [{name: value} for value in values]) for name, values in single]
    axes += [_Axis(group["members"], group["values"]) for group in run.get("zip_groups") or []]
    taken: set[str] = set()
    for axis in axes:
        names = ", ".join(map(repr, axis.members))
        if not axis.rows:
            raise BlueprintError(f"run {run['name']!r}: the sweep over {names} is empty")
        if not taken.isdisjoint(axis.members):
            raise BlueprintError(f"run {run['name']!r}: {names} is in two axes")
        taken.update(axis.members)
    return axes


# --- expansion: one stage of one run at a time ------------------------------------------------


class _Parameter:
    """One parameter of a stage: its values along one axis, or its default."""

    def __init__(self, stage: _Stage, name: str, axes: Sequence[_Axis]) -> None:
        self.name = name
        self.axis: int | None = None
        self.values = [stage.parameters[name]]
        # `stage.parameter` means this stage only and wins over the plain name.
        for wanted in (f"{stage.key}.{name}", name):
            found = [index for index, axis in enumerate(axes) if wanted in axis.members]
            if found:
                self.axis = found[0]
                given = [row.get(wanted) for row in axes[self.axis].rows]
                self.values = [self.values[0] if value is None else value for value in given]
                break
        self.json = [f"{compact(name)}:{compact(value)}" for value in self.values]


@dataclass(frozen=True)
class _Variant:
    """What is the same for all jobs of a stage whose templates give the same texts.

    ``texts`` are the pieces of the metadata between the places where an id stands; ``slots``
    says which: an upstream job by index, or (-1) the job itself.
    """

    pname: str
    identities: str
    mappings: str
    head: str
    tail: str
    texts: Sequence[str]
    slots: Sequence[int]

    def metadata(self, params: str, upstream: Sequence[str], jid: str) -> str:
        """Return the job's metadata as JSON."""
        ids = [*upstream, jid]
        pieces = [self.head]
        for text, slot in zip(self.texts, self.slots):
            pieces += (text, ids[slot])
        pieces += (self.texts[-1], params, self.tail)
        return "".join(pieces)


class _Expansion:
    """The jobs of one stage in one pipeline of one run. Used once."""

    def __init__(
        self, stage: _Stage, run: _RunJobs, axes: Sequence[_Axis], tables: Mapping[str, _Table]
    ) -> None:
        self.stage = stage
        self.run = run
        self.producers = stage.producers
        self.tables = [tables[key] for key in self.producers]
        self.parameters = [_Parameter(stage, name, axes) for name in sorted(stage.parameters)]
        dynamic = stage.dynamic
        self.dynamic = [each for each in self.parameters if each.name in dynamic]
        own = {each.axis for each in self.parameters if each.axis is not None}
        reach = own.union(*(table.axes for table in self.tables))
        self.table = _Table(tuple(sorted(reach)), stage.version)
        self.sizes = [len(axes[index].rows) for index in self.table.axes]
        self.places = {axis: place for place, axis in enumerate(self.table.axes)}
        self.picks = [self._picker(table.axes) for table in self.tables]
        self.variants: dict[tuple[str, ...], _Variant] = {}

    def _picker(self, axes: tuple[int, ...]) -> Callable[[Combination], Combination]:
        """Return the function from our combinations to those of a producer."""
        places = [self.places[axis] for axis in axes]
        if places == list(range(len(self.places))):
            return lambda combination: combination
        if len(places) > 1:
            return operator.itemgetter(*places)
        return lambda combination: tuple(combination[place] for place in places)

    def jobs(self) -> _Table:
        """Add the stage's jobs to the run and return their ids."""
        columns = [
            (each.json, None if each.axis is None else self.places[each.axis])
            for each in self.parameters
        ]
        lookups = [(table.ids, pick) for table, pick in zip(self.tables, self.picks)]
        if math.prod(self.sizes) > _MOST_JOBS:
            raise BlueprintError(
                f"stage {self.stage.pname} has {math.prod(self.sizes):,} combinations of parameters"
            )
        for combination in itertools.product(*map(range, self.sizes)):
            params = ",".join(
                [json[0 if place is None else combination[place]] for json, place in columns]
            )
            upstream = [ids[pick(combination)] for ids, pick in lookups]
            variant = self._variant(combination, upstream)
            jid = self._id(variant, f"{{{params}}}", upstream)
            self.table.ids[combination] = jid
            self.run.add(jid, variant.metadata(f"{{{params}}}", upstream, jid), self.stage)
        return self.table

    def _id(self, variant: _Variant, params: str, upstream: Sequence[str]) -> str:
        ids = []
        for mapping in self.stage.mappings:
            if mapping.get("stage") is not None:
                ids.append(upstream[self.producers.index(mapping["stage"])])
            elif mapping.get("source_run") is not None:
                ids.append(self.run.digest_of(mapping["source_run"]))
        joined = hashlib.sha256(":".join(ids).encode()).hexdigest()
        parts = (variant.identities, params, _dumps(ids), joined, variant.mappings)
        return f"{nix_hash('x00'.join(parts))}-{variant.pname}-{self.stage.version}"

    def _variant(self, combination: Combination, upstream: Sequence[str]) -> _Variant:
        """Return what the combination shares with others, made once."""
        names = [_pname_of(jid, table.version) for jid, table in zip(upstream, self.tables)]
        values = {
            each.name: each.values[0 if each.axis is None else combination[self.places[each.axis]]]
            for each in self.dynamic
        }
        key = (*names, *map(compact, values.values()))
        if key not in self.variants:
            self.variants[key] = self._new_variant(names, _Texts(self.stage, values))
        return self.variants[key]

    def _new_variant(self, names: Sequence[str], texts: _Texts) -> _Variant:
        pname = texts.pname()
        # Ids are not known yet: numbered marks stand for them, -1 for the job's own.
        mark = nix_hash(f"mark of {self.stage.key}")
        marks = {key: f"{mark}<{index}>" for index, key in enumerate(self.producers)}
        pnames = dict(zip(self.producers, names))
        text = _dumps(self._executables(pname, texts, marks, pnames, f"{mark}<-1>"))
        texts_and_slots = re.split(f"{mark}<(-?[0-9]+)>", text)
        hints = texts.resources(self.stage.resources)
        tail = f',"resource_hints":{_dumps(hints)}' if hints else ""
        return _Variant(
            pname=pname,
            identities="x00".join(self._identities(pname)),
            mappings=_mappings_json(self.stage.mappings, pnames),
            head='{"executables":',
            texts=[
                *texts_and_slots[:-1:2],
                f'{texts_and_slots[-1]},"name":"{pname}-{self.stage.version}","params":',
            ],
            slots=[int(slot) for slot in texts_and_slots[1::2]],
            tail=f'{tail},"stage_type":"{self.stage.type}"}}',
        )

    def _identities(self, pname: str) -> Iterator[str]:
        """Yield what stands for the scripts: ``main``; or scatter, steps by name, gather."""
        order = {"scatter": 0, "gather": 2}
        for each in sorted(self.stage.executables, key=lambda each: order.get(each.name, 1)):
            if self.run.params_only:
                infix = "" if each.name == "main" else f"-{each.name}"
                yield f"{pname}{infix}-{self.stage.version}"
            else:
                yield each.identity or each.script

    def _executables(
        self,
        pname: str,
        texts: _Texts,
        upstream: Mapping[str, str],
        pnames: Mapping[str, str],
        jid: str,
    ) -> dict[str, Any]:
        """Return the job's ``executables`` without what is null."""
        executables = {}
        for each in self.stage.executables:
            entry: dict[str, Any] = {
                "path": f"jobs/{jid}/bin/{each.binary(pname)}",
                "inputs": [_resolved(mapping, upstream, pnames) for mapping in each.inputs],
                "outputs": texts.outputs(each.outputs),
            }
            hints = texts.resources(each.resources)
            entry.update({"resource_hints": hints} if hints else {})
            entry.update({"deps": each.deps} if each.deps else {})
            executables[each.name] = entry
        return executables


def _mappings_json(mappings: Sequence[Mapping[str, Any]], pnames: Mapping[str, str]) -> str:
    """Return mappings as they are hashed: all ten fields in the format's order, no job ids."""
    rows = []
    for mapping in mappings:
        row = {name: mapping.get(name) for name in _MAPPING_FIELDS}
        if mapping.get("stage") is not None:
            row["job_id_template"] = pnames[mapping["stage"]]
        rows.append(row)
    return _dumps(rows, sort_keys=False)


def _resolved(
    mapping: Mapping[str, Any], upstream: Mapping[str, str], pnames: Mapping[str, str]
) -> dict[str, Any]:
    """Return a mapping as the metadata holds it."""
    found = {name: mapping[name] for name in _MAPPING_FIELDS if mapping.get(name) is not None}
    if mapping.get("stage") is not None:
        found["job_id_template"] = pnames[mapping["stage"]]
        found["job_id"] = upstream[mapping["stage"]]
    return found


def _pname_of(jid: str, version: str) -> str:
    return jid[33 : -len(version) - 1]


class _Texts:
    """One combination's parameters as templates see them."""

    def __init__(self, stage: _Stage, values: Mapping[str, Any]) -> None:
        self.stage = stage
        self.values = values
        self.shown = {name: shown(value) for name, value in values.items()}

    def pname(self) -> str:
        """Return the stage's name. Raises when it cannot be part of a job id."""
        pname = fill(self.stage.pname, self.shown)
        if not _NAME.fullmatch(pname) or len(pname) > _LONGEST_NAME:
            raise BlueprintError(
                f"stage {self.stage.key!r}: {pname!r} cannot be a pname: use up to "
                f"{_LONGEST_NAME} letters, digits and . _ + -"
            )
        return pname

    def outputs(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the templates filled; what is not text is a description and stays."""
        return {
            name: self._output(name, template) if isinstance(template, str) else template
            for name, template in outputs.items()
        }

    def _output(self, name: str, template: str) -> str:
        for hole in holes(template):
            text = self.shown.get(hole, "")
            if _NOT_IN_FILE_NAMES.search(text) or len(text.encode()) > _LONGEST_NAME:
                raise BlueprintError(
                    f"stage {self.stage.key!r}, output {name!r}: the value {text[:60]!r} of "
                    f"parameter {hole!r} cannot be part of a file's name"
                )
        path = fill(template, self.shown)
        if ".." in path.split("/"):
            raise BlueprintError(
                f"stage {self.stage.key!r}, output {name!r}: {path!r} leaves the job's folder"
            )
        return path

    def resources(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hints that hold for this combination; later ``when`` entries win."""
        found = {name: value for name, value in resources.items() if name != "when"}
        for rule in resources.get("when") or []:
            if all(self._matches(name, wanted) for name, wanted in rule["if"].items()):
                found.update({name: value for name, value in rule.items() if name != "if"})
        for name, value in found.items():
            if isinstance(value, str):
                found[name] = fill(value, self.shown)
        cpus = found.get("cpus")
        if isinstance(cpus, str):
            if not cpus.isdecimal() or int(cpus) == 0:
                raise BlueprintError(f"stage {self.stage.key!r}: cpus: {cpus!r} is not a number")
            found["cpus"] = int(cpus)
        return found

    def _matches(self, name: str, wanted: Any) -> bool:  # noqa: ANN401  # any JSON value
        choices = wanted if isinstance(wanted, list) else [wanted]
        return any(_same(self.values.get(name), choice) for choice in choices)


def _same(left: Any, right: Any) -> bool:  # noqa: ANN401  # any JSON values
    """Return whether two JSON values are equal; ``true`` is not 1, but 1 is 1.0."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


class _RunJobs:
    """The jobs of one run: id to metadata, and what each id links to in the store."""

    def __init__(self, raw: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        self.name: str = raw["name"]
        self.params_only = raw.get("hash_mode") == "params-only"
        self.dependencies: Mapping[str, str] = raw.get("inter_run_dep_types") or {}
        self.digests = digests
        self.texts: dict[str, str] = {}
        self.stages: dict[str, _Stage] = {}

    def digest_of(self, run: str) -> str:
        """Return the digest of a run before this one. Raises when it is not a dependency."""
        if run not in self.dependencies:
            raise BlueprintError(f"run {self.name!r} has no dependency on run {run!r}")
        return self.digests[run]

    def add(self, jid: str, text: str, stage: _Stage) -> None:
        """Add one job; the same one may come again, from another pipeline."""
        if jid in self.texts:
            _check_same(jid, (self.texts[jid], self.stages[jid]), (text, stage))
        self.texts[jid] = text
        self.stages[jid] = stage

    def digest(self) -> str:
        """Return one digest for all ids of the run."""
        return hashlib.sha256(":".join(sorted(self.texts)).encode()).hexdigest()

    def expand(self, raw: Mapping[str, Any]) -> None:
        """Add the jobs of every pipeline."""
        axes = _axes(raw)
        for pipeline in raw["pipelines"]:
            stages = [_stage(each) for each in pipeline["stages"]]
            by_key = {stage.key: stage for stage in stages}
            if len(by_key) < len(stages):
                raise BlueprintError(f"pipeline {pipeline['source']!r} has a stage twice")
            tables: dict[str, _Table] = {}
            for key in ordered({each.key: each.producers for each in stages}, "stages"):
                tables[key] = _Expansion(by_key[key], self, axes, tables).jobs()
        if not self.texts:
            raise BlueprintError(f"run {self.name!r} has no jobs: its pipelines are empty")


def _check_same(jid: str, one: tuple[str, _Stage], other: tuple[str, _Stage]) -> None:
    """Raise when two jobs with one id differ in their metadata or scripts."""
    if one[0] != other[0] or one[1].scripts != other[1].scripts:
        raise BlueprintError(
            f"two different jobs have the id {jid}: give their stages different pnames, or use the "
            "hash mode 'pure'"
        )


def _runs(blueprint: Mapping[str, Any]) -> list[_RunJobs]:
    """Return every run with its jobs, producers first."""
    by_name: dict[str, Mapping[str, Any]] = {}
    for raw in blueprint["runs"]:
        _check_run_name(raw["name"], by_name, blueprint.get("groups") or {})
        by_name[raw["name"]] = raw
    digests: dict[str, str] = {}
    runs = []
    needs = {name: list(raw.get("inter_run_dep_types") or {}) for name, raw in by_name.items()}
    for name in ordered(needs, "runs"):
        run = _RunJobs(by_name[name], digests)
        run.expand(by_name[name])
        digests[name] = run.digest()
        runs.append(run)
    return runs


def _check_run_name(name: str, taken: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    if name in RESERVED_RUNS:
        raise BlueprintError(f"a run cannot be called {name!r}: the word has a meaning of its own")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BlueprintError(f"{name!r} cannot be a run's name: use letters, digits and . _ + -")
    if name in taken:
        raise BlueprintError(f"two runs are called {name!r}")
    if name in groups:
        raise BlueprintError(f"a run and a group are both called {name!r}")


# --- writing ----------------------------------------------------------------------------------


def _dumps(value: Any, *, sort_keys: bool = True) -> str:  # noqa: ANN401  # any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)


class _Writer:
    """Writes below one folder and remembers each file's checksum for the manifest."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, str] = {}

    def file(self, path: str, chunks: Iterable[bytes], *, executable: bool = False) -> str:
        """Write one file and return its sha256."""
        digest = hashlib.sha256()
        full = f"{self.root}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "xb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
        os.chmod(full, 0o755 if executable else 0o644)
        self.files[path] = digest.hexdigest()
        return self.files[path]

    def store(self, source: Mapping[str, Any], *, executable: bool = False) -> None:
        """Write a store entry once. Raises when its content is no longer what its name says."""
        name = source.get("name") or store_name(source)
        if os.path.lexists(f"{self.root}/store/{name}"):
            return
        if "tree" in source:
            tree = source["tree"]
            digests = {
                each: self.file(
                    f"store/{name}/{each}",
                    _chunks(tree[each]),
                    executable=bool(tree[each].get("executable")),
                )
                for each in sorted(tree)
            }
            digest = _tree_digest(digests, tree)
        else:
            executable = executable or bool(source.get("executable"))
            digest = self.file(f"store/{name}", _chunks(source), executable=executable)
        if not name.startswith(digest[:32]):
            changed = source.get("path") or source["label"]
            raise BlueprintError(f"{changed} changed while the Lab was being built: build again")

    def job(self, jid: str, stage: _Stage) -> None:
        """Write one job's folder: a link into the store for each executable."""
        os.mkdir(f"{self.root}/jobs/{jid}")
        os.mkdir(f"{self.root}/jobs/{jid}/bin")
        pname = _pname_of(jid, stage.version)
        for each in stage.executables:
            path = f"jobs/{jid}/bin/{each.binary(pname)}"
            os.symlink(f"../../../store/{each.script}", f"{self.root}/{path}")
            self.files[path] = self.files[f"store/{each.script}"]


def _sources(blueprint: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield every store entry of a blueprint and whether it is executable."""
    for source in blueprint.get("files") or []:
        yield source, bool(source.get("executable"))
    for run in blueprint["runs"]:
        for pipeline in run["pipelines"]:
            for stage in pipeline["stages"]:
                for executable in stage["executables"].values():
                    yield executable["script"], True


def lab_id(blueprint: Mapping[str, Any]) -> str:
    """Return the Lab's id: a hash of all that decides its content.

    Sources count by what they hold, not by where they lie on this machine.
    """

    def named(value: Any) -> Any:  # noqa: ANN401  # any JSON value
        if isinstance(value, dict):
            if "label" in value and not value.keys().isdisjoint(("text", "path", "tree")):
                identity, executable = value.get("identity"), bool(value.get("executable"))
                return [value.get("name") or store_name(value), identity, executable]
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list) else value

    return nix_hash(_dumps(named(blueprint)))


def expand(
    blueprint: Mapping[str, Any], output: str, progress: Progress | None = None
) -> dict[str, int]:
    """Write the Lab to the folder ``output``, which is new or empty; return jobs by run.

    ``progress`` is called with the jobs written so far and their total. Raises BlueprintError
    for a blueprint that describes no Lab, OSError for what cannot be read or written.
    """
    if blueprint.get("version") != VERSION:
        raise BlueprintError(f"this is not a blueprint of version {VERSION}")
    runs = _runs(blueprint)
    mask = os.umask(0o022)  # the same bytes and modes whoever builds
    try:
        os.makedirs(output, exist_ok=True)
        if os.listdir(output):
            raise BlueprintError(f"{output} is not empty")
        _write(blueprint, runs, _Writer(output), progress)
    finally:
        os.umask(mask)
    return {run.name: len(run.texts) for run in runs}


def _write(
    blueprint: Mapping[str, Any], runs: list[_RunJobs], writer: _Writer, progress: Progress | None
) -> None:
    no_tools = hashlib.sha256(b"").hexdigest()
    for folder in ("jobs", "lab", "revision", "store", f"host-tools/{no_tools}/bin"):
        os.makedirs(f"{writer.root}/{folder}")
    for source, executable in _sources(blueprint):
        writer.store(source, executable=executable)
    _write_jobs(runs, writer, progress)
    git = _dumps(blueprint.get("git_hash") or "unknown")
    for run in runs:
        writer.file(f"revision/metadata-{run.name}.json", _run_metadata(run, git))
    identity = lab_id(blueprint)
    top = {
        "gitHash": blueprint.get("git_hash") or "unknown",
        "repx_version": blueprint["repx_version"],
        "runs": [f"revision/metadata-{run.name}.json" for run in runs],
        "type": "root",
    }
    if blueprint.get("groups"):
        top["groups"] = blueprint["groups"]
    writer.file("revision/metadata-top.json", [_dumps(top).encode()])
    readme = f"A Lab, built by repx {blueprint['repx_version']}. Run it with: repx run --lab DIR\n"
    writer.file("readme/README.md", [readme.encode()])
    writer.file(
        "lab/lab-metadata.json", _manifest(blueprint, identity, sorted(writer.files.items()))
    )


def _write_jobs(runs: list[_RunJobs], writer: _Writer, progress: Progress | None) -> None:
    jobs: dict[str, tuple[str, _Stage]] = {}
    for run in runs:
        for jid, text in run.texts.items():
            job = (text, run.stages[jid])
            _check_same(jid, jobs.setdefault(jid, job), job)
    for done, jid in enumerate(sorted(jobs)):
        writer.job(jid, jobs[jid][1])
        if progress and done % 1000 == 0:
            progress(done, len(jobs))


def _run_metadata(run: _RunJobs, git: str) -> Iterator[bytes]:
    dependencies = {
        f"revision/metadata-{name}.json": kind for name, kind in run.dependencies.items()
    }
    yield f'{{"dependencies":{_dumps(dependencies)},"gitHash":{git},"jobs":{{'.encode()
    comma = ""
    for jid in sorted(run.texts):
        yield f'{comma}"{jid}":{run.texts[jid]}'.encode()
        comma = ","
    yield f'}},"name":{_dumps(run.name)},"type":"run"}}'.encode()


def _manifest(
    blueprint: Mapping[str, Any], identity: str, files: list[tuple[str, str]]
) -> Iterator[bytes]:
    yield b'{"files":['
    comma = ""
    for path, digest in files:
        yield f'{comma}{{"path":{_dumps(path)},"sha256":"{digest}"}}'.encode()
        comma = ","
    version = _dumps(blueprint["lab_version"])
    yield f'],"labId":"{identity}","lab_version":{version}'.encode()
    yield b',"metadata":"revision/metadata-top.json"}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Expand a blueprint file; exit code 2 when it describes no Lab."""
    parser = argparse.ArgumentParser(description="Turn a blueprint into a Lab.")
    parser.add_argument("--blueprint", required=True, metavar="FILE", help="JSON; - is stdin")
    parser.add_argument("--output", required=True, metavar="DIR", help="new or empty")
    given = parser.parse_args(arguments)
    try:
        with contextlib.ExitStack() as stack:
            stream = sys.stdin
            if given.blueprint != "-":
                stream = stack.enter_context(open(given.blueprint, encoding="utf-8"))
            blueprint = json.load(stream)
        jobs = expand(blueprint, given.output)
    except (BlueprintError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{lab_id(blueprint)}: {sum(jobs.values())} jobs in {len(jobs)} runs", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
