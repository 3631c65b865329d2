"""The shared part of a stage's jobs: executables and metadata without ids and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.lab.expand.text import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.lab.expand.stages import Stage

MAPPING_FIELDS = (
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


@dataclass(frozen=True)
class Variant:
    """The shared data of all jobs of a stage whose templates give the same texts.

    ``texts`` are the pieces of the metadata between ids; ``slots`` says whose id comes next: an
    upstream job by index, or the job itself (-1).
    """

    stage: Stage
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


def mappings_json(mappings: Sequence[Mapping[str, Any]], pnames: Mapping[str, str]) -> str:
    """Return the mappings for hashing: all ten fields in the format's order, no job ids."""
    rows = []
    for mapping in mappings:
        row = {name: mapping.get(name) for name in MAPPING_FIELDS}
        if mapping.get("stage") is not None:
            row["job_id_template"] = pnames[mapping["stage"]]
        rows.append(row)
    return dumps(rows, sort_keys=False)


def resolved(
    mapping: Mapping[str, Any], upstream: Mapping[str, str], pnames: Mapping[str, str]
) -> dict[str, Any]:
    """Return a mapping in the form of the metadata."""
    found = {name: mapping[name] for name in MAPPING_FIELDS if mapping.get(name) is not None}
    if mapping.get("stage") is not None:
        found["job_id_template"] = pnames[mapping["stage"]]
        found["job_id"] = upstream[mapping["stage"]]
    return found


def pname_of(jid: str, version: str) -> str:
    """Return the stage's name in a job's id."""
    return jid[33 : -len(version) - 1]
