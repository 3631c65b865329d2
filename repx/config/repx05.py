"""Convert settings of RepX 0.5, ``config.toml`` and ``resources.toml``, to a targets.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from repx import document
from repx.config.old_settings import CONFIG, RESOURCES
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Table = Mapping[str, Any]

_LOCAL: Final = "local"
_SLURM: Final = "slurm"
_NATIVE: Final = "native"
_KEPT: Final = ("address", "base_path", "node_local_path", "mount_host_paths", "mount_paths")
_CONVERTED: Final = frozenset(
    (*_KEPT, "default_scheduler", "default_execution_type", "artifact_store", _LOCAL, _SLURM)
)
_PATHS: Final = ("base_path", "node_local_path")
_RULE_KEYS: Final[Mapping[str, str]] = {
    "job_id_glob": "job",
    "cpus-per-task": "cpus",
    "worker_resources": "step_resources",
}
_NOT_IN_DEFAULTS: Final = ("job_id_glob", "target", "worker_resources", "step_resources")


@dataclass(frozen=True, slots=True)
class Conversion:
    """The content of a targets.yaml, and in words the old settings that were left out."""

    content: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def read(config: Path | None, resources: Sequence[Path], store: str) -> Conversion:
    """Return the converted files. Raises InputError or ProblemsError for a broken file.

    ``store`` is the ``base_path`` if no file names a target.
    """
    settings = {} if config is None else _read(config)
    settings = {"targets": {_LOCAL: {"base_path": store}}, **settings}
    return convert(settings, [_read(path) for path in resources])


def convert(config: Table, resources: Sequence[Table]) -> Conversion:
    """Return the targets.yaml that is equivalent to ``config`` and ``resources``.

    Of several resources, later values replace earlier ones, lists as a whole, as in RepX 0.5.
    """
    made = Conversion({})
    merged: dict[str, Any] = {}
    for table in resources:
        merged = _merged(merged, table)
    targets = _table(config.get("targets"), f"{CONFIG}: targets")
    usual = config.get("submission_target")
    if usual is not None:
        made.content["default"] = usual
    if merged:
        made.content["resources"] = _resources(merged)
    scheduler = config.get("default_scheduler")
    made.content["targets"] = {
        name: _target(name, _table(target, f"{CONFIG}: targets.{name}"), scheduler, made.left_out)
        for name, target in targets.items()
    }
    unknown = config.keys() - {"targets", "submission_target", "default_scheduler"}
    made.left_out.extend(f"{key}: repx has no such setting" for key in sorted(unknown))
    return made


def _target(name: str, old: Table, usual: str | None, left_out: list[str]) -> dict[str, Any]:
    new = {key: old[key] for key in _KEPT if old.get(key)}
    if name == _LOCAL:
        new.pop("address", None)  # RepX 0.5 ignores the address of `local`
    for key in _PATHS:
        if "address" in new and str(new.get(key, "")).startswith("~"):
            new[key] = str(Path(new[key]).expanduser())  # the client's ~, as in RepX 0.5
    # RepX 0.5 defaults to Slurm, except for its built-in target `local`.
    chosen = old.get("default_scheduler") or usual or (_LOCAL if name == _LOCAL else _SLURM)
    new["scheduler"] = chosen
    runtimes = _runtimes(old, chosen)
    if runtimes != [_NATIVE]:
        new["runtime"] = runtimes
    jobs = _table(old.get(_LOCAL) or {}, f"{CONFIG}: targets.{name}.local").get("local_concurrency")
    if jobs is not None:
        new[_LOCAL] = {"jobs": jobs}
    if old.get("artifact_store") == "node-local":
        left_out.append(f"targets.{name}.artifact_store: node-local; artifacts stay in base_path")
    unknown = sorted(old.keys() - _CONVERTED)
    left_out += [f"targets.{name}.{key}: repx has no such setting" for key in unknown]
    return new


def _runtimes(old: Table, scheduler: str) -> list[str]:
    """Return the runtimes in order of preference: the default one first, if it is allowed."""
    allowed = list((old.get(scheduler) or {}).get("execution_types") or ())
    usual = old.get("default_execution_type")
    first = [usual] if usual in allowed else []
    return [*first, *(name for name in allowed if name not in first)] or [_NATIVE]


def _resources(old: Table) -> dict[str, Any]:
    new: dict[str, Any] = {}
    defaults = _table(old.get("defaults") or {}, f"{RESOURCES}: defaults")
    if defaults:
        new["defaults"] = _rule({k: v for k, v in defaults.items() if k not in _NOT_IN_DEFAULTS})
    if old.get("rules"):
        new["rules"] = [_rule(_table(rule, f"{RESOURCES}: rules")) for rule in old["rules"]]
    return new


def _rule(old: Table) -> dict[str, Any]:
    return {
        _RULE_KEYS.get(key, key): _rule(value) if isinstance(value, dict) else value
        for key, value in old.items()
    }


def _merged(first: Table, then: Table) -> dict[str, Any]:
    both = {
        key: _merged(first[key], then[key])
        for key in first.keys() & then.keys()
        if isinstance(first[key], dict) and isinstance(then[key], dict)
    }
    return {**first, **then, **both}


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise InputError(f"{where}: a table is wanted, not {value!r}")
    return value


def _read(path: Path) -> Table:
    try:
        return _table(document.load(path).data, "the file")
    except InputError as error:
        if str(path) in error.message:
            raise
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
