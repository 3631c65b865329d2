"""`repx targets import`: RepX 0.5's settings become a targets.yaml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repx import console, document, whole
from repx.cli.context import RepxCommand
from repx.config import repx05, targets, xdg
from repx.config.old_settings import CONFIG, RESOURCES, files
from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.cli.context import Context


@click.command(
    "import",
    cls=RepxCommand,
    examples="""
    repx targets import                         write ./targets.yaml
    repx targets import -o ~/.config/repx/targets.yaml
    repx targets import config.toml resources.toml
    """,
)
@click.argument("sources", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path(targets.FILE_NAME),
    help="The file to write.  [default: ./targets.yaml]",
)
@click.pass_obj
def import_targets(context: Context, sources: Sequence[Path], output: Path) -> None:
    """Write the settings of RepX 0.5 as a targets.yaml.

    Reads config.toml and resources.toml in $XDG_CONFIG_HOME/repx (~/.config/repx) and
    ./resources.toml, or the FILEs named. A targets.yaml that exists is kept.
    """
    config, resources = _sources(sources)
    if config is None and not resources:
        raise InputError(
            f"there is no {CONFIG} of RepX 0.5 in {xdg.config(os.environ)} and no ./{RESOURCES}",
            hint="name the files: repx targets import FILE...",
        )
    read_from = [path for path in (config, *resources) if path is not None]
    made = repx05.read(config, resources, str((xdg.data(os.environ) or Path("~/repx")) / "store"))
    text = _written(made.content, read_from)
    _check(text, read_from)
    if output.exists():
        raise InputError(
            f"{output} exists, and is kept", hint="write another file: repx targets import -o FILE"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    whole.write(output, text)
    names = list(made.content["targets"])
    if context.json:
        console.json({"file": output, "targets": names, "left_out": made.left_out})
        return
    console.note(f"wrote {output}: targets {', '.join(names)}")
    for each in made.left_out:
        console.warn(f"left out: {each}")


def _sources(named: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Return config.toml and the files of resources, told apart by their content's purpose."""
    if not named:
        return files(xdg.current_folder(), os.environ)
    configs = [path for path in named if path.name != RESOURCES]
    if len(configs) > 1:
        raise InputError(
            f"several settings: {', '.join(map(str, configs))}",
            hint=f"name one {CONFIG}; resource rules are in files called {RESOURCES}",
        )
    return (configs[0] if configs else None, [p for p in named if p.name == RESOURCES])


def _written(content: dict[str, Any], read_from: Sequence[Path]) -> str:
    import yaml  # for this command alone

    origin = ", ".join(str(path) for path in read_from)
    head = f"# Made by `repx targets import` from {origin}; docs/targets.md explains every key.\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _check(text: str, read_from: Sequence[Path]) -> None:
    """Raise ProblemsError for what the old files say and no targets.yaml may."""
    origin = " and ".join(str(path) for path in read_from)
    document.check(document.loads(text, f"{origin}, as YAML"), "targets.schema.json")
