"""One profile of targets.yaml as a Target: paths expanded, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from repx import address
from repx.config import rules, xdg
from repx.config.entry import Entry
from repx.errors import did_you_mean
from repx.target import (
    Bundle,
    Dialect,
    Durability,
    LocalOptions,
    MissingOutputs,
    Resources,
    Retries,
    RootName,
    Rule,
    Rules,
    RuntimeName,
    SchedulerName,
    Secret,
    SlurmOptions,
    Target,
)

if TYPE_CHECKING:
    from pathlib import Path

    from repx.errors import Problem

_DIRECTIVES: Final = {**rules.DIRECTIVES, "mail_type": "mail-type", "mail_user": "mail-user"}
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_BARE_VARIABLE: Final = re.compile(r"\$(\w+)")
# Secrets come through a shell's environment, and bash sets these itself: bash(1), Shell Variables.
OF_BASH: Final = frozenset(("BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID", "_"))
_MARK: Final = "REPX_UNIT"  # of every process of a job


class Places:
    """Expands the paths of one target; collects paths that do not expand on this machine."""

    def __init__(self, entry: Entry, env: Mapping[str, str], folder: Path) -> None:
        """Read paths of ``entry``; relative paths of this machine start at ``folder``."""
        self.problems: list[Problem] = []
        self._entry = Entry(entry.doc, entry.pointer, entry.data, self.problems)
        self._env = env
        self._folder = folder

    def remote(self, key: str) -> str | None:
        """Return a path on the target; on another machine, ``~`` and variables expand there."""
        return self._there(key, self._entry.get(key)) if key in self._entry else None

    def remotes(self, key: str) -> tuple[str, ...]:
        """Return a list of paths on the target."""
        return tuple(self._there(key, text) for text in self._entry.get(key, ()))

    def _there(self, key: str, text: str) -> str:
        here = "address" not in self._entry
        if not here and (text == "~" or text.startswith(("~/", "${", "/"))):
            return text
        return self._path(key, text, here=here)

    def local(self, key: str) -> str | None:
        """Return a path on this machine."""
        return self._path(key, self._entry.get(key), here=True) if key in self._entry else None

    def archives(self, key: str) -> tuple[str, ...]:
        """Return URLs, and paths on this machine."""
        return tuple(
            text if "://" in text else self._path(key, text, here=True)
            for text in self._entry.words(key)
        )

    def _path(self, key: str, text: str, *, here: bool) -> str:
        """Return a path, expanded and absolute; relative paths are only allowed ``here``."""
        if text.startswith("~"):
            text = self._home(key, text, here=here)
        path = _VARIABLE.sub(lambda match: self._variable(key, match[1]), text)
        if not path.startswith("/"):
            path = self._below_the_file(key, text, path, here=here)
        if (shown := xdg.not_utf8(path)) is not None:
            self._entry.report(key, f"{key}: {shown} is not UTF-8: {xdg.UTF8_WANTED}")
        return path

    def _below_the_file(self, key: str, text: str, path: str, *, here: bool) -> str:
        """Make a path absolute, relative to the folder of the file."""
        if (bare := _BARE_VARIABLE.match(path)) and bare[1] in self._env:
            self._entry.report(key, f"{key}: variables are written ${{{bare[1]}}}, not ${bare[1]}")
        if not here and not self.problems:
            self._entry.report(key, f"{key}: '{text}' must be absolute on a target with an address")
        return str(self._folder / path)

    def _home(self, key: str, text: str, *, here: bool) -> str:
        home = self._env.get("HOME")
        if here and home and text[1:2] in ("", "/"):
            return home + text[1:]
        unset = here and not home
        why = "HOME is not set, so ~ does not expand" if unset else "only ~ and ~/... expand"
        self._entry.report(key, f"{key}: {why}: write the whole path")
        return text

    def _variable(self, key: str, name: str) -> str:
        value = self._env.get(name)
        if not value:
            self._entry.report(key, f"{key}: the variable ${{{name}}} is not set here")
        return value or ""


def read(
    name: str, entry: Entry, places: Places, shared: Rules, dialect: Dialect | None = None
) -> Target:
    """Return one profile; note mistakes in ``entry``, unusable paths in ``places``."""
    slurm = entry.at("slurm")
    bundles = tuple(_bundle(each) for each in slurm.each("bundle"))
    environment = entry.get("environment", {})
    _check_names(entry.at("environment"))
    return Target(
        name=name,
        base_path=places.remote("base_path") or "",
        node_local_path=places.remote("node_local_path"),
        address=_address(entry),
        scheduler=SchedulerName(_scheduler(entry)),
        dialect=dialect,
        runtimes=tuple(map(RuntimeName, entry.words("runtime"))),
        rootfs=RootName(entry.get("rootfs", RootName.IMAGE)),
        mount_host_paths=entry.get("mount_host_paths", False),
        mount_paths=places.remotes("mount_paths"),
        network=entry.get("network", False),
        gpus=_gpus(entry.get("gpus", False)),
        environment={k: str(v) for k, v in environment.items() if not isinstance(v, Mapping)},
        secrets={k: _secret(v) for k, v in environment.items() if isinstance(v, Mapping)},
        missing_outputs=MissingOutputs(entry.get("missing_outputs", MissingOutputs.FAIL)),
        durability=Durability(entry.get("durability", Durability.FULL)),
        templates=places.local("templates"),
        cache=places.archives("cache"),
        retries=rules.retries(entry) or Retries(),
        input_wait_s=entry.get("input_wait_s", 30),
        share=entry.get("share", ""),
        ssh_config=places.local("ssh_config"),
        local=_local(entry.at("local")),
        slurm=_slurm(slurm, bundles),
        resources=(
            _bundle_rules(slurm)
            + shared
            + _slurm_defaults(slurm)
            + _own_rules(entry.at("resources"), bundles)
        ),
    )


def _address(entry: Entry) -> str | None:
    text: str | None = entry.get("address")
    if text and (problem := address.problem(text)):
        entry.report("address", f"address: '{text}': {problem}")
    return text


def _gpus(said: bool | str) -> str | None:  # noqa: FBT001  # as YAML writes it
    if isinstance(said, str):
        return said
    return "nvidia" if said else None


def _check_names(environment: Entry) -> None:
    """Note variables that cannot have the value that they are given."""
    for name, value in environment.data.items():
        named = {name, *value.values()} if isinstance(value, Mapping) else set()
        for word in sorted(named & OF_BASH):
            what = f"bash sets {word} itself, not to a secret"
            environment.report(name, f"environment: {what}: use another variable")
        if name == _MARK:
            what = f"repx marks the processes of a job with {_MARK}"
            environment.report(name, f"environment: {what}: use another variable")


def _secret(value: Mapping[str, str]) -> Secret:
    """Return a value that is read on the target: ``{from: PATH}`` or ``{env: NAME}``."""
    if "env" in value:
        return Secret(kind="env", source=value["env"])
    return Secret(kind="file", source=value["from"])


def _scheduler(entry: Entry) -> str:
    name = entry.get("scheduler", SchedulerName.LOCAL.value)
    return name if isinstance(name, str) else SchedulerName.DIALECT.value


def _local(block: Entry) -> LocalOptions:
    return LocalOptions(
        jobs=block.get("jobs"),
        cpus=block.get("cpus"),
        mem_bytes=block.memory("mem"),
        gpus=_devices(block.get("gpus")),
    )


def _devices(said: int | list[int | str] | None) -> int | tuple[str, ...] | None:
    return tuple(map(str, said)) if isinstance(said, list) else said


def _slurm(block: Entry, bundles: tuple[Bundle, ...]) -> SlurmOptions:
    prologue = block.get("prologue", ())
    return SlurmOptions(
        options=rules.directives(block, _DIRECTIVES),
        prologue=tuple(prologue.splitlines() if isinstance(prologue, str) else prologue),
        modules=tuple(block.get("modules", ())),
        max_array_size=block.get("max_array_size"),
        max_running=block.get("max_running"),
        max_submit=block.get("max_submit"),
        signal_before_s=block.get("signal", 60),
        requeue=block.get("requeue", False),
        bundles=bundles,
    )


def _slurm_defaults(block: Entry) -> Rules:
    asked = Rule(origin=block.origin("slurm"), resources=rules.basic(block))
    return Rules(defaults=(asked,))


def _bundle_rules(block: Entry) -> Rules:
    """Return each bundle's own choice of jobs as a rule, which later rules override."""
    return Rules(
        rules=tuple(
            Rule(
                origin=each.origin(f"bundle {each.get('name')}"),
                resources=Resources(bundle=each.get("name")),
                jobs=each.words("job"),
                stages=each.words("stage"),
            )
            for each in block.each("bundle")
            if "job" in each or "stage" in each
        )
    )


def _bundle(entry: Entry) -> Bundle:
    return Bundle(
        name=entry.get("name"),
        cpus=entry.get("cpus"),
        mem_bytes=entry.memory("mem"),
        time_s=entry.time("time"),
        count=entry.get("count"),
    )


def _own_rules(block: Entry, bundles: tuple[Bundle, ...]) -> Rules:
    """Read a target's own resources; their bundles must be bundles of this target."""
    names = [bundle.name for bundle in bundles]
    for entry in (block.at("defaults"), *block.each("rules")):
        name = entry.get("bundle")
        if name is not None and name not in names:
            way_out = did_you_mean(name, names) or "describe it below `slurm: bundle:`"
            entry.report("bundle", f"bundle: no bundle is named '{name}', {way_out}")
    return rules.read(block)
