"""`repx debug-run`: a job's program, environment and inputs in a folder where nothing matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import click

from repx import console, launch, places, select
from repx.cli import complete, debug_folder
from repx.cli.choosing import trust_option
from repx.cli.context import command
from repx.model import short_id

if TYPE_CHECKING:
    from repx.cli.context import Context
    from repx.cli.debug_folder import Subject
    from repx.model import Job

_BUSY: Final = 'echo "error: $3 is in use by another \\`repx debug-run\\`" >&2; exit 2'
_OPEN: Final = (
    f'exec 9>>"$3/{debug_folder.LOCK}" && {{ flock -n 9 || {{ {_BUSY}; }}; }}'
    " && mkdir -p out && cd out"
    " && { [[ ! -v REPX_TOOLS ]] || PATH=$REPX_TOOLS:$PATH; }"
)
_INTERACTIVE: Final = r"PS1='(repx debug) \W $ ' exec bash --noprofile --norc"


@command(
    name="debug-run",
    examples="""
        repx debug-run 3k9x2m                # a shell; `../run` starts the program
        repx debug-run 3k9x2m -c ../run      # run it once, here and now
        repx debug-run 3k9x2m -c 'bash -x ../run; ls -l'
        repx debug-run 3k9x2m --phase branch-2/step-fit
        """,
)
@click.argument("name", metavar="JOB", shell_complete=complete.one_job)
@click.option("-c", "--command", "line", metavar="CMD", help="Run CMD instead of a shell.")
@click.option(
    "-p",
    "--phase",
    metavar="PHASE",
    help="Of a scatter-gather job: scatter, gather or branch-N/step-NAME."
    "  [default: what failed, else scatter]",
)
@trust_option
def debug_run(
    context: Context, name: str, line: str | None, phase: str | None, *, trust: bool
) -> NoReturn:
    """Open a shell with JOB's environment and inputs, in a fresh folder of its own.

    The folder is `debug/JOB` in the store: neither the job's results nor its state change. The
    exit code is that of the shell or of CMD.
    """
    opened = context.open_lab()
    context.trust(opened, asked_for=trust)
    target = context.target()
    places.of(target).share()
    subject = debug_folder.Subject(
        opened=opened,
        store=context.store(target),
        target=target,
        job=opened.lab.jobs[select.one_job(opened.lab, name)],
    )
    chosen = debug_folder.program(subject, phase)
    folder, isolated = debug_folder.prepare(subject, chosen, line)
    _tell(folder, subject.job, chosen.phase)
    subject.store.place.become(
        _shell(folder, line, target.umask, isolated=isolated),
        cwd=folder,
        more_env=_environment(subject),
    )


def _tell(folder: str, job: Job, phase: str) -> None:
    part = "" if phase == "main" else f", {phase}"
    console.note(f"debugging {short_id(job.id)}{part} in {folder}/out")
    console.note("  ../run starts the job's program with its arguments")
    console.note("  ../inputs.json and ../parameters.json hold what it is given")
    console.note("  The job is not touched. Type `exit` to leave.")


def _shell(folder: str, line: str | None, umask: str, *, isolated: bool) -> list[str]:
    """Return what to become: a shell without anybody's own settings, or the command in one.

    It is a child of the shell that read the prologue, as a job's wrapper is on Slurm. The lock
    is held until it ends.
    """
    become = _INTERACTIVE if line is None else 'exec bash -c "$2"'
    if isolated:  # in the job's own runtime
        become = f'exec bash "$3/{debug_folder.SHELL}"'
    shared = f"umask {umask} && " if umask else ""
    start = f'{shared}{_OPEN} && . "$1" && {become}'
    return ["bash", "-c", start, "bash", f"{folder}/prologue.sh", line or "", folder]


def _environment(subject: Subject) -> dict[str, str]:
    """Return what the job's program finds beside the place's environment."""
    environment = dict(subject.target.environment)
    if subject.opened.lab.host_tools:
        place = launch.tools(subject.opened.lab)
        environment["REPX_TOOLS"] = subject.store.path(place)
    return environment
