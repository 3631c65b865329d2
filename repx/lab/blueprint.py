"""The shape of a blueprint: what definitions (lab.yaml, Nix) hand to ``expand.py``, as JSON.

Data only. ``expand.py`` runs where repx is not installed, so it reads the same JSON untyped.
"""

from __future__ import annotations

from typing import Any, Final, NotRequired, TypeAlias, TypedDict

VERSION: Final = 1
Json: TypeAlias = Any


class File(TypedDict):
    """One file of a folder in the store: its text, or the path of the file to copy."""

    text: NotRequired[str]
    path: NotRequired[str]
    executable: NotRequired[bool]


class Source(TypedDict):
    """One entry of the Lab's store: ``text``, a file to copy (``path``), or a folder (``tree``).

    ``name`` is what the entry is called there; without it the expander makes the name from the
    content and ``label``. ``identity`` is what an executable counts as in job ids, by default
    its name in the store; Nix gives the script's store path.
    """

    label: str
    name: NotRequired[str]
    text: NotRequired[str]
    path: NotRequired[str]
    tree: NotRequired[dict[str, File]]
    executable: NotRequired[bool]
    identity: NotRequired[str]


class Executable(TypedDict):
    """One program of a stage. ``inputs`` are mappings as in docs/lab-format.md, Input.

    In a mapping, ``stage`` names the producer by its key instead of ``job_id``. ``outputs``
    and texts in ``resources`` may hold ``{parameter}``; ``resources`` may hold ``when``: a list
    of resources with ``if``, the values of parameters for which they hold.
    """

    script: Source
    inputs: list[dict[str, Json]]
    outputs: dict[str, Json]
    resources: dict[str, Json]
    deps: list[str]


class Stage(TypedDict):
    """One stage of a pipeline; ``key`` is its name there, ``parameters`` its defaults."""

    key: str
    pname: str
    version: str
    stage_type: str
    parameters: dict[str, Json]
    input_mappings: list[dict[str, Json]]
    resources: dict[str, Json]
    executables: dict[str, Executable]


class Pipeline(TypedDict):
    """Stages that feed each other; ``source`` is a name for messages."""

    source: str
    stages: list[Stage]


class ZipGroup(TypedDict):
    """Parameters that vary together: one row of values at a time."""

    members: list[str]
    values: list[dict[str, Json]]


class Run(TypedDict):
    """Pipelines and the values of their parameters.

    A key of ``parameter_axes`` is a parameter's name, or ``stage.name`` for one stage only;
    a null value means the stage's default.
    """

    name: str
    hash_mode: str
    inter_run_dep_types: dict[str, str]
    parameter_axes: dict[str, list[Json]]
    zip_groups: list[ZipGroup]
    pipelines: list[Pipeline]


class Blueprint(TypedDict):
    """A whole Lab before its jobs are counted out; ``files`` are further store entries."""

    version: int
    lab_version: str
    repx_version: str
    git_hash: str
    groups: dict[str, list[str]]
    files: list[Source]
    runs: list[Run]
