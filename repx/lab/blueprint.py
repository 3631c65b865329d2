"""The form of a blueprint, the JSON that definitions (lab.yaml, Nix) pass to ``expand``.

Data only. ``expand`` runs where repx is not installed, so it reads the same JSON untyped.
"""

from __future__ import annotations

from typing import Any, Final, NotRequired, TypeAlias, TypedDict

VERSION: Final = 1
Json: TypeAlias = Any


class File(TypedDict):
    """One file of a folder in the store: its text, or the path of the file to copy.

    ``sha256`` is the file's, if already known. ``link``: hard-link the read-only file instead of
    copying it.
    """

    text: NotRequired[str]
    path: NotRequired[str]
    sha256: NotRequired[str]
    executable: NotRequired[bool]
    link: NotRequired[bool]


class Body(TypedDict):
    """The body of a stage's script for ``expand/script.py``: ``lines``, or else a ``program``.

    ``files`` (which hold the program) and ``python`` (``repx_py``) are names in the store.
    ``bash`` and ``path`` pin the interpreter and the folders of the commands. ``environment`` is
    the folder in the store with Python packages. The job loads ``modules`` where it runs.
    """

    lines: NotRequired[str | None]
    program: NotRequired[str | None]
    files: NotRequired[str | None]
    python: NotRequired[str | None]
    bash: NotRequired[str]
    path: NotRequired[list[str]]
    environment: NotRequired[str]
    modules: NotRequired[list[str]]


class Script(TypedDict):
    """The script of an executable: a ``body`` to render around, or the whole ``text``.

    ``notes`` become comments in the script. ``identity`` stands for the script in job ids; the
    default is the script's name in the store.
    """

    label: str
    body: NotRequired[Body]
    notes: NotRequired[list[str]]
    text: NotRequired[str]
    identity: NotRequired[str]


class Source(TypedDict):
    """One entry of the Lab's store: ``text``, a file to copy (``path``), or a folder (``tree``).

    ``name`` is the entry's name there; without it the expander makes the name from the content
    and ``label``. ``made``: the name tells the inputs of the entry, not its content.
    """

    label: str
    name: NotRequired[str]
    text: NotRequired[str]
    path: NotRequired[str]
    sha256: NotRequired[str]
    tree: NotRequired[dict[str, File]]
    made: NotRequired[bool]
    executable: NotRequired[bool]


class Executable(TypedDict):
    """One program of a stage. ``inputs`` are mappings as in docs/lab-format.md, Input.

    In a mapping, ``stage`` names the producer by its key instead of ``job_id``. ``outputs``
    and texts in ``resources`` may hold ``{parameter}``; ``resources`` may hold ``when``: a list
    of resources with ``if``, the values of parameters for which they hold.
    """

    script: Script
    inputs: list[dict[str, Json]]
    outputs: dict[str, Json]
    resources: dict[str, Json]
    deps: list[str]


class Stage(TypedDict):
    """One stage of a pipeline; ``key`` is its name there, ``parameters`` its defaults.

    ``title`` is the stage's name in scripts if its name differs from pipeline to pipeline;
    ``image`` is the path in the Lab of the stage's own image, if there is one.
    """

    key: str
    pname: str
    version: str
    stage_type: str
    parameters: dict[str, Json]
    input_mappings: list[dict[str, Json]]
    resources: dict[str, Json]
    executables: dict[str, Executable]
    title: NotRequired[str]
    image: NotRequired[str]


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
    """A whole Lab before its jobs are enumerated; ``files`` are further store entries.

    ``own_names`` maps parameter values that are stored paths to their names in the project.
    """

    version: int
    lab_version: str
    repx_version: str
    git_hash: str
    groups: dict[str, list[str]]
    files: list[Source]
    own_names: dict[str, str]
    runs: list[Run]
    images: NotRequired[dict[str, str]]
