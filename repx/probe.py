"""Test a target: its store, its schedulers and its runtimes, with real commands."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from repx import schedulers
from repx.runtimes import RUNTIMES
from repx.runtimes.podman import STORAGE
from repx.schedulers import MEMBERS
from repx.schedulers.slurm import queue
from repx.target import RuntimeName, SchedulerName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from repx.places import Place
    from repx.places.command import Completed, Run
    from repx.target import Target

_TIMEOUT_S: Final = 20
_TIMES: Final = 3
_MISSING: Final = 127
_TIMED_OUT: Final = 124
TOOLS: Final = ("bash", "flock", "tar", "rsync")
_SANDBOX: Final = "bwrap --unshare-all --ro-bind / / --tmpfs /tmp --proc /proc --dev /dev true"
_NAMESPACES: Final = "unshare --user --map-current-user --keep-caps setpriv --version"
_SUBORDINATE: Final = """
if (($(id -u))); then
    ids=$(podman unshare cat /proc/self/uid_map)
    [[ $ids == *$'\\n'* || $(podman info) == *ignore_chown_errors*true* ]] ||
        { echo "the user has no subordinate ids"; exit 1; }
fi
"""
_STORAGE: Final = f"""
{STORAGE}
repx_podman_storage "$(podman info --format '{{{{.Store.GraphRoot}}}}')"
"""
_COMMANDS: Final = {
    "bash": "bash --version",
    "flock": "flock --version",
    "tar": "tar --version",
    "rsync": "rsync --version",
    "bwrap": f"bwrap --version && {_SANDBOX}",
    "apptainer": "apptainer --version",
    "ch-run": f"export USER=${{USER:-nobody}}; ch-run --version && {_NAMESPACES}",
    "docker": "docker --version && docker version --format {{.Server.Version}}",
    "podman": f"podman --version && podman info && {_SUBORDINATE.strip()}",
}
_RUNTIMES: Final[Mapping[RuntimeName, str]] = {
    RuntimeName.NATIVE: "bash",
    RuntimeName.BWRAP: "bwrap",
    RuntimeName.APPTAINER: "apptainer",
    RuntimeName.CHARLIECLOUD: "ch-run",
    RuntimeName.DOCKER: "docker",
    RuntimeName.PODMAN: "podman",
}
# Each command is tried in its own shell, so that none can end or block the others.
_TRY: Final = """
limit=$1; shift
if command -v timeout >/dev/null; then limit="timeout $limit"; else limit=; fi
while [ $# -gt 0 ]; do
    said=$($limit bash -c "command -v $1 >/dev/null || exit 127; $2" </dev/null 2>&1)
    printf '\\036%s\\037%s\\037%s' "$1" "$?" "$said"
    shift 2
done
"""
# The folder may be missing: the test is whether it can be made and used.
_STORE: Final = """
folder=$1
while [ -n "$folder" ] && [ ! -e "$folder" ] && [ ! -L "$folder" ]; do
    folder=${folder%/*}
done
folder=${folder:-/}
[ -d "$folder" ] || { echo "$folder is not a folder"; exit 1; }
probe=$folder/.repx-probe.$$
trap 'rm -f "$probe" "$probe.part"' EXIT
echo works >"$probe.part" && mv "$probe.part" "$probe" && read -r word <"$probe" || exit 1
[ "$word" = works ] || { echo "what was written cannot be read back"; exit 1; }
if command -v flock >/dev/null; then
    said=$(flock -n "$probe" true 2>&1) || { echo "files cannot be locked: $said"; exit 1; }
fi
stat -f -c '%a %S' "$folder"
device=$(df -P "$folder" 2>/dev/null) && device=${device##*$'\\n'} && echo "device ${device%% *}"
! command -v quota >/dev/null || quota -w 2>/dev/null
exit 0
"""


class Part(StrEnum):
    """The tested part of a target."""

    CONNECTION = "connection"
    STORE = "store"
    TOOL = "tool"
    SCHEDULER = "scheduler"
    RUNTIME = "runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one test: usable or not, and the version, the size or the reason.

    ``ask`` is the fix to ask the administrator of a node for.
    """

    part: Part
    name: str
    usable: bool
    why: str
    ask: str = ""


def target(run: Run, profile: Target) -> list[Finding]:
    """Test the store, the tools of every job, each scheduler and each runtime.

    Raises CommandNotFoundError if there is no bash, CommandError if bash does not answer.
    """
    needs = {name: MEMBERS[name].tools for name in SchedulerName}
    needs[profile.scheduler] = schedulers.of(profile).tools
    asked = {tool: words for each in needs.values() for tool, words in each.items()}
    commands = asked | _COMMANDS
    if not profile.node_local_path:  # else its storage lies there
        commands["podman"] += f" && {{{_STORAGE}}}"
    tools = _tried(run, commands)
    return [
        store(run, profile.base_path),
        *(_finding(Part.TOOL, name, name, tools) for name in TOOLS),
        *(_scheduler(name, needed, tools) for name, needed in needs.items() if needed),
        *_submitting(run, profile, tools),
        *(_runtime(name, tools) for name in RuntimeName),
    ]


def with_host_tools(findings: Iterable[Finding], tools: Collection[str]) -> list[Finding]:
    """Return the findings for a Lab with host tools, which replace missing tools of the target."""
    return [
        replace(each, usable=True, why="missing there; that of the Lab's host tools is used")
        if each.part is Part.TOOL and not each.usable and each.name in tools
        else each
        for each in findings
    ]


def missing(profile: Target, findings: Iterable[Finding]) -> list[Finding]:
    """Return the failed findings that the target's jobs need; one working runtime is enough."""
    bad = {(each.part, each.name): each for each in findings if not each.usable}
    wanted = [
        (Part.STORE, profile.base_path),
        (Part.TOOL, "bash"),
        (Part.TOOL, "flock"),
        (Part.SCHEDULER, profile.scheduler),
    ]
    named = [(Part.RUNTIME, str(name)) for name in profile.usual]
    if all(each in bad for each in named):
        wanted += named
    return [bad[each] for each in wanted if each in bad]


def store(run: Run, base_path: str) -> Finding:
    """Try to write, rename, read, lock and remove a file in the (future) folder of the store."""
    done = run(["bash", "-c", _STORE, "repx-probe", base_path], check=False)
    first, *more = done.stdout.splitlines() or [""]
    words = first.split()
    if done.code != 0 or len(words) != 2:  # noqa: PLR2004  # free blocks and their size
        return Finding(part=Part.STORE, name=base_path, usable=False, why=_complaint(done))
    free = _gib(int(words[0]) * int(words[1]))
    why = f"{free} free{_quota(more)}"
    return Finding(part=Part.STORE, name=base_path, usable=True, why=why)


def _quota(lines: Sequence[str]) -> str:
    """Return the used part of a quota, from the device of a folder and the output of `quota -w`.

    Rows of `quota -w`: device, KiB used (`*` after it: too much), soft limit, hard limit, ...
    """
    device = next((line[7:] for line in lines if line.startswith("device ")), "")
    for line in lines:
        name, *numbers = line.split()[:4] or [""]
        found = [int(word.rstrip("*")) for word in numbers if word.rstrip("*").isdigit()]
        if name == device and len(found) == 3 and max(found[1:]):  # noqa: PLR2004  # the columns
            limit = found[1] or found[2]
            return f"; quota: {_gib(found[0] * 1024)} of {_gib(limit * 1024)} used"
    return ""


def _submitting(
    run: Run, profile: Target, tools: Mapping[str, tuple[int, str]]
) -> Iterator[Finding]:
    """Test whether Slurm jobs may submit jobs, which scatter-gather jobs and retries do."""
    if profile.scheduler is not SchedulerName.SLURM or tools["scontrol"][0] != 0:
        return
    asked = [rule.resources.partition for rule in profile.resources.defaults]
    partition = [name for name in asked if name and "," not in name][-1:]
    words = ("scontrol", "--oneliner", "show", "partition", *partition)
    said = run(queue.ours(*words), check=False, timeout_s=_TIMEOUT_S).stdout
    allowed = set(re.findall(r"\bAllocNodes=(\S+)", said))
    usable = allowed == {"ALL"}
    why = "jobs may submit others"
    if not usable:
        where = f"only {', '.join(sorted(allowed))} may submit" if allowed else "Slurm does not say"
        why = f"{where}; scatter-gather jobs and retries need that, or a bundle"
    yield Finding(part=Part.SCHEDULER, name="slurm nodes", usable=usable, why=why)


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def connection(place: Place) -> Finding:
    """Measure a round trip to another machine."""
    times = []
    for _ in range(_TIMES):
        start = time.monotonic()
        place.ask([])
        times.append(time.monotonic() - start)
    why = f"{min(times) * 1000:.0f} ms a round trip, as {place.user}"
    return Finding(part=Part.CONNECTION, name=place.name, usable=True, why=why)


def _tried(run: Run, commands: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Return the exit code and the output of each tool's command, all in one process."""
    words = [word for pair in commands.items() for word in pair]
    script = ["bash", "-c", _TRY, "repx-probe", str(_TIMEOUT_S), *words]
    said = run(script, timeout_s=_TIMEOUT_S * len(commands)).stdout
    answers = (answer.split("\x1f", 2) for answer in said.split("\x1e")[1:])
    return {name: (int(code), text.strip()) for name, code, text in answers}


def _finding(part: Part, name: str, tool: str, tools: Mapping[str, tuple[int, str]]) -> Finding:
    code, said = tools[tool]
    return Finding(part=part, name=name, usable=code == 0, why=_why(tool, code, said))


def _scheduler(
    name: SchedulerName, needed: Iterable[str], tools: Mapping[str, tuple[int, str]]
) -> Finding:
    """Return the finding for a scheduler: that of its first failing tool, else its first tool."""
    first, *_ = needed
    tool = next((tool for tool in needed if tools[tool][0] != 0), first)
    return _finding(Part.SCHEDULER, name, tool, tools)


def _runtime(name: RuntimeName, tools: Mapping[str, tuple[int, str]]) -> Finding:
    found = _finding(Part.RUNTIME, name, _RUNTIMES[name], tools)
    return found if found.usable else replace(found, ask=RUNTIMES[name].ask)


def _why(tool: str, code: int, said: str) -> str:
    """Return the version of a tool, or its last message before it failed."""
    lines = said.splitlines() or [""]
    if code == 0:
        version = re.search(r"[0-9]+(\.[0-9]+)+", lines[0])
        return f"{tool} {version[0]}" if version else tool
    if code == _MISSING:
        return f"{tool} is not installed"
    if code == _TIMED_OUT:
        return f"{tool} does not answer within {_TIMEOUT_S} s"
    return f"{tool}: {lines[-1].removeprefix(f'{tool}: ') or f'exit code {code}'}"


def _complaint(done: Completed) -> str:
    """Return the last message of a failed script, without bash's own prefix."""
    lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.code}"]
    return re.sub(r"^.*?: line [0-9]+: ", "", lines[-1])
