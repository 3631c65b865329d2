"""`repx targets`: the places where jobs can run, and whether they work."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from repx import console, places, probe, schedulers
from repx.cli import complete
from repx.cli.context import group
from repx.cli.import_targets import import_targets
from repx.config import targets as profiles
from repx.errors import LabError
from repx.probe import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from repx.cli.context import Context
    from repx.config.targets import Targets
    from repx.probe import Finding
    from repx.target import Target

_UNUSABLE = 3


@group(
    name="targets",
    invoke_without_command=True,
    examples="""
    repx targets                  the profiles of targets.yaml
    repx targets check cluster    does it work: folder, scheduler, runtimes
    repx targets import           write a targets.yaml from RepX 0.5's settings
    """,
)
def targets(context: Context) -> None:
    """List the places where jobs can run."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    known = context.targets()
    if context.json:
        console.json([_facts(known, target) for target in known.profiles.values()])
        return
    console.note(f"from {known.file}" if known.file else "built in: there is no targets.yaml here")
    rows = [_row(known, target) for target in known.profiles.values()]
    console.table(("target", "scheduler", "runtimes", "store", "address", "note"), rows)


@targets.command(
    name="check",
    examples="""
    repx targets check            the target used when none is named
    repx targets check cluster    one target: folder, scheduler, runtimes
    """,
)
@click.argument("name", required=False, shell_complete=complete.targets)
@click.pass_obj
def check(context: Context, name: str | None) -> int:
    """Try whether jobs can run on a target.

    A file is written to its store, its schedulers are asked and its runtimes started; on another
    machine a round trip is measured. The exit code is 0 when all that the target's jobs need
    works.
    """
    target = profiles.choose(context.targets(), name or context.target_name)
    place = places.of(target)
    target = place.settled(target)
    reached = [probe.connection(place)] if place.name else []
    findings = probe.with_host_tools(
        [*reached, *probe.target(place.run, target)], _host_tools(context)
    )
    missing = probe.missing(target, findings)
    if context.json:
        told = [asdict(each) for each in findings]
        console.json({"target": target.name, "usable": not missing, "findings": told})
        return _UNUSABLE if missing else 0
    rows = [(each.part, each.name, "ok" if each.usable else "-", each.why) for each in findings]
    console.table(("part", "name", "works", "what"), rows)
    for each in missing:
        console.error(f"{each.part} {each.name}: {each.why}")
    wanted = {(Part.RUNTIME, str(name)) for name in target.usual}
    for each in findings:
        if each.ask and (each.part, each.name) in wanted:
            console.note(f"to use {each.name} there, ask its administrator: {each.ask}")
    if not missing:
        console.note(
            f"jobs can run on '{target.name}', scheduled by {schedulers.of(target).name},"
            f" {_runtime(target, findings)}"
        )
    return _UNUSABLE if missing else 0


targets.add_command(import_targets)


def _host_tools(context: Context) -> Collection[str]:
    """Return the programs that the Lab here brings along; none where there is no Lab."""
    try:
        opened = context.open_lab()
    except LabError:
        return ()
    tools = opened.lab.host_tools
    return opened.files.names(f"host-tools/{tools}/bin") if tools else ()


def _facts(known: Targets, target: Target) -> dict[str, Any]:
    problems = [str(problem) for problem in known.broken.get(target.name, ())]
    return {
        "name": target.name,
        "default": target.name == profiles.usual(known),
        "scheduler": target.scheduler,
        "runtimes": target.usual,
        "base_path": None if problems else target.base_path,
        "address": target.address,
        "problems": problems,
    }


def _row(known: Targets, target: Target) -> tuple[str, ...]:
    facts = _facts(known, target)
    return (
        target.name,
        target.scheduler,
        ", ".join(target.usual),
        facts["base_path"] or "-",
        target.address or "-",
        "; ".join(facts["problems"]) or ("default" if facts["default"] else ""),
    )


def _runtime(target: Target, findings: Sequence[Finding]) -> str:
    """Say which runtime jobs get, and why not the ones preferred to it."""
    tried = {each.name: each for each in findings if each.part is Part.RUNTIME}
    wanted = [tried[name] for name in target.usual]
    first = next(each for each in wanted if each.usable)
    passed = [f"{each.name} does not work: {each.why}" for each in wanted[: wanted.index(first)]]
    return "; ".join([f"in runtime {first.name}", *passed])
