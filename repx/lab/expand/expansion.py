"""The jobs of one stage in one pipeline of one run."""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repx.lab.expand.axes import Parameter
from repx.lab.expand.text import BlueprintError, compact, dumps, nix_hash
from repx.lab.expand.texts import Texts
from repx.lab.expand.variants import Variant, mappings_json, pname_of, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from repx.lab.expand.axes import Axis
    from repx.lab.expand.runs import RunJobs
    from repx.lab.expand.stages import Stage

    Combination = tuple[int, ...]

_MOST_JOBS = 10_000_000  # a larger number is a mistake


@dataclass(frozen=True)
class Table:
    """The ids of one stage's jobs by combination of the axes (indices) that matter to it."""

    axes: tuple[int, ...]
    version: str
    ids: dict[Combination, str] = field(default_factory=dict)


class Expansion:
    """The jobs of one stage in one pipeline of one run. Used once."""

    def __init__(
        self, stage: Stage, run: RunJobs, axes: Sequence[Axis], tables: Mapping[str, Table]
    ) -> None:
        """Find the axes that matter; ``tables`` are those of the stages before this one."""
        self.stage = stage
        self.run = run
        self.producers = stage.producers
        self.tables = [tables[key] for key in self.producers]
        self.parameters = [Parameter(stage, name, axes) for name in sorted(stage.parameters)]
        dynamic = stage.dynamic
        self.dynamic = [each for each in self.parameters if each.name in dynamic]
        own = {each.axis for each in self.parameters if each.axis is not None}
        reach = own.union(*(table.axes for table in self.tables))
        self.table = Table(tuple(sorted(reach)), stage.version)
        self.sizes = [len(axes[index].rows) for index in self.table.axes]
        self.places = {axis: place for place, axis in enumerate(self.table.axes)}
        self.picks = [self._picker(table.axes) for table in self.tables]
        self.variants: dict[tuple[str, ...], Variant] = {}

    def _picker(self, axes: tuple[int, ...]) -> Callable[[Combination], Combination]:
        """Return the function from this stage's combinations to a producer's."""
        places = [self.places[axis] for axis in axes]
        if places == list(range(len(self.places))):
            return lambda combination: combination
        if len(places) > 1:
            return operator.itemgetter(*places)
        return lambda combination: tuple(combination[place] for place in places)

    def jobs(self) -> Table:
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
            self.run.add(jid, variant.metadata(f"{{{params}}}", upstream, jid), variant.stage)
        return self.table

    def _id(self, variant: Variant, params: str, upstream: Sequence[str]) -> str:
        ids = []
        for mapping in variant.stage.mappings:
            if mapping.get("stage") is not None:
                ids.append(upstream[self.producers.index(mapping["stage"])])
            elif mapping.get("source_run") is not None:
                ids.append(self.run.digest_of(mapping["source_run"]))
        joined = hashlib.sha256(":".join(ids).encode()).hexdigest()
        parts = (variant.identities, params, dumps(ids), joined, variant.mappings)
        return f"{nix_hash('x00'.join(parts))}-{variant.pname}-{self.stage.version}"

    def _variant(self, combination: Combination, upstream: Sequence[str]) -> Variant:
        """Return the combination's variant, which it shares with others; made once."""
        names = [pname_of(jid, table.version) for jid, table in zip(upstream, self.tables)]
        values = {
            each.name: each.values[0 if each.axis is None else combination[self.places[each.axis]]]
            for each in self.dynamic
        }
        key = (*names, *map(compact, values.values()))
        if key not in self.variants:
            self.variants[key] = self._new_variant(names, Texts(self.stage.case(values), values))
        return self.variants[key]

    def _new_variant(self, names: Sequence[str], texts: Texts) -> Variant:
        stage, pname = texts.stage, texts.pname()
        # Ids are not known yet: numbered marks stand for them, -1 for the job's own id.
        mark = nix_hash(f"mark of {self.stage.key}")
        marks = {key: f"{mark}<{index}>" for index, key in enumerate(self.producers)}
        pnames = dict(zip(self.producers, names))
        text = dumps(self._executables(pname, texts, marks, pnames, f"{mark}<-1>"))
        texts_and_slots = re.split(f"{mark}<(-?[0-9]+)>", text)
        hints = texts.resources(stage.resources)
        image = f'"image":{dumps(stage.image)},' if stage.image else ""
        tail = f',"resource_hints":{dumps(hints)}' if hints else ""
        return Variant(
            stage=stage,
            pname=pname,
            identities="x00".join(self._identities(stage, pname)),
            mappings=mappings_json(stage.mappings, pnames),
            head='{"executables":',
            texts=[
                *texts_and_slots[:-1:2],
                f'{texts_and_slots[-1]},{image}"name":"{pname}-{stage.version}","params":',
            ],
            slots=[int(slot) for slot in texts_and_slots[1::2]],
            tail=f'{tail},"stage_type":"{stage.type}"}}',
        )

    def _identities(self, stage: Stage, pname: str) -> Iterator[str]:
        """Yield the scripts' identities: ``main``; or scatter, steps by name, gather."""
        order = {"scatter": 0, "gather": 2}
        for each in sorted(stage.executables, key=lambda each: order.get(each.name, 1)):
            if self.run.params_only:
                infix = "" if each.name == "main" else f"-{each.name}"
                yield f"{pname}{infix}-{stage.version}"
            else:
                yield each.identity or each.script

    def _executables(
        self,
        pname: str,
        texts: Texts,
        upstream: Mapping[str, str],
        pnames: Mapping[str, str],
        jid: str,
    ) -> dict[str, Any]:
        """Return the job's ``executables`` without null fields."""
        executables = {}
        for each in texts.stage.executables:
            entry: dict[str, Any] = {
                "path": f"jobs/{jid}/bin/{each.binary(pname)}",
                "inputs": [resolved(mapping, upstream, pnames) for mapping in each.inputs],
                "outputs": texts.outputs(each.outputs),
            }
            hints = texts.resources(each.resources)
            entry.update({"resource_hints": hints} if hints else {})
            entry.update({"deps": each.deps} if each.deps else {})
            executables[each.name] = entry
        return executables
