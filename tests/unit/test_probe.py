"""What works on a target is tried for real; the answers here come from programs of our own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from repx import probe
from repx.places.command import Completed
from repx.probe import Finding, Part
from repx.target import RuntimeName, SchedulerName, Target

pytestmark = pytest.mark.slow  # each starts a process

BASICS = ("bash", "true", "env", "mv", "rm", "stat", "timeout", "flock", "df", "cat")


class Machine:
    """A machine with the basic tools and those a test puts in ``bin``."""

    def __init__(self, folder: Path) -> None:
        """Link the basic tools below ``folder``."""
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in BASICS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)

    def install(self, name: str, body: str) -> None:
        """Add a program, written in bash."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!{self.bin}/bash\n{body}\n")
        path.chmod(0o755)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout_s: float = 60,
        check: bool = True,
    ) -> Completed:
        """Run a command with nothing else on PATH."""
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={"PATH": str(self.bin), **(env or {})},
            input=stdin or "",
            timeout=timeout_s,
            check=check,
            text=True,
            capture_output=True,
        )
        return Completed(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with little on it."""
    return Machine(tmp_path)


def found(machine: Machine, profile: Target, part: Part, name: str) -> Finding:
    """Return what is said about one part of a target."""
    findings = probe.target(machine.run, profile)
    return next(each for each in findings if (each.part, each.name) == (part, name))


@pytest.mark.parametrize("name", ["store", "new/deep/store", "a 'b'\n\"$c;d\n"])
def test_store_that_can_be_used_is_left_as_it_was(
    machine: Machine, tmp_path: Path, name: str
) -> None:
    (tmp_path / "store").mkdir()
    before = sorted(tmp_path.rglob("*"))

    finding = probe.store(machine.run, str(tmp_path / name))

    assert finding.usable
    assert finding.why.endswith(" GiB free")
    assert before == sorted(tmp_path.rglob("*"))


def test_quota_of_the_folders_own_device_is_told(machine: Machine, tmp_path: Path) -> None:
    """No file system of a test machine has quotas: what `quota` says is replayed."""
    machine.install("df", "echo Filesystem; echo 'nfs:/home 9 9 9 9% /home'")
    machine.install(
        "quota",
        "echo 'Disk quotas for user me (uid 7):'\n"
        "echo 'Filesystem blocks quota limit grace files quota limit grace'\n"
        "echo '/dev/sda1 1 2 3 0 0 0'\n"
        "echo 'nfs:/home 5242880* 9437184 10485760 8 0 0'",
    )

    assert probe.store(machine.run, str(tmp_path)).why.endswith("; quota: 5.0 GiB of 9.0 GiB used")


def test_host_tools_of_the_lab_serve_where_a_tool_is_missing(machine: Machine) -> None:
    profile = Target(name="t", base_path="/")
    (machine.bin / "flock").unlink()
    found_there = probe.target(machine.run, profile)
    served = probe.with_host_tools(found_there, {"flock", "python3"})

    assert ["flock"] == [each.name for each in probe.missing(profile, found_there)][:1]
    assert "flock" not in [each.name for each in probe.missing(profile, served)]
    (flock,) = [each for each in served if each.name == "flock"]
    assert (True, "missing there; that of the Lab's host tools is used") == (
        flock.usable,
        flock.why,
    )


def test_store_below_a_file_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    finding = probe.store(machine.run, str(tmp_path / "file" / "store"))

    assert (False, f"{tmp_path}/file is not a folder") == (finding.usable, finding.why)


def test_store_that_leads_nowhere_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")

    assert not probe.store(machine.run, str(tmp_path / "link")).usable


def test_store_that_cannot_be_written_says_why(machine: Machine) -> None:
    """Not even root can make files in /proc."""
    finding = probe.store(machine.run, "/proc/repx")

    assert not finding.usable
    assert "/proc/.repx-probe" in finding.why


def test_store_without_locks_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Some network file systems refuse flock, which every job needs."""
    machine.install("flock", "echo 'flock: No locks available' >&2; exit 71")

    finding = probe.store(machine.run, str(tmp_path / "store"))

    assert (False, "files cannot be locked: flock: No locks available") == (
        finding.usable,
        finding.why,
    )


@pytest.mark.parametrize(
    ("body", "usable", "why"),
    [
        ("echo 3.11.2", True, "python3 3.11.2"),
        ("echo 3.6.8; exit 1", False, "python3: older than 3.9"),
    ],
)
def test_local_scheduler_needs_a_python_that_is_new_enough(
    machine: Machine,
    body: str,
    usable: bool,  # noqa: FBT001
    why: str,
) -> None:
    machine.install("python3", body)

    finding = found(machine, Target(name="t", base_path="/"), Part.SCHEDULER, "local")

    assert (usable, why) == (finding.usable, finding.why)


def test_slurm_works_when_its_controller_answers(machine: Machine) -> None:
    profile = Target(name="t", base_path="/", scheduler=SchedulerName.SLURM)
    for name in ("sbatch", "squeue", "scancel"):
        machine.install(name, "echo slurm-wlm 22.05.8")
    missing = found(machine, profile, Part.SCHEDULER, "slurm")
    machine.install("scontrol", "[ $1 = ping ] && { echo 'Slurmctld is DOWN'; exit 1; } || :")
    down = found(machine, profile, Part.SCHEDULER, "slurm")
    machine.install("scontrol", "echo UP")
    up = found(machine, profile, Part.SCHEDULER, "slurm")

    assert (False, "scontrol is not installed") == (missing.usable, missing.why)
    assert (False, "scontrol: Slurmctld is DOWN") == (down.usable, down.why)
    assert (True, "sbatch 22.05.8") == (up.usable, up.why)


@pytest.mark.parametrize(
    ("said", "usable", "why"),
    [
        ("AllocNodes=ALL", True, "jobs may submit others"),
        (
            "AllocNodes=login[1-2]",
            False,
            "only login[1-2] may submit; scatter-gather jobs and retries need that, or a bundle",
        ),
    ],
)
def test_slurm_is_asked_whether_jobs_may_submit_others(
    machine: Machine,
    said: str,
    usable: bool,  # noqa: FBT001
    why: str,
) -> None:
    profile = Target(name="t", base_path="/", scheduler=SchedulerName.SLURM)
    machine.install("scontrol", f"echo PartitionName=main {said} Default=YES")
    finding = found(machine, profile, Part.SCHEDULER, "slurm nodes")

    assert (usable, why) == (finding.usable, finding.why)


def test_runtimes_are_tried_and_what_is_missing_is_not_usable(machine: Machine) -> None:
    machine.install("docker", "[ $1 = version ] && { echo no daemon >&2; exit 1; }; echo v 24.0.5")
    machine.install("podman", "echo podman version 4.3.1")

    tried = [
        found(machine, Target(name="t", base_path="/"), Part.RUNTIME, name) for name in RuntimeName
    ]

    assert {
        "apptainer": (False, "apptainer is not installed"),
        "bwrap": (False, "bwrap is not installed"),
        "charliecloud": (False, "ch-run is not installed"),
        "docker": (False, "docker: no daemon"),
        "podman": (True, "podman 4.3.1"),
    } == {each.name: (each.usable, each.why) for each in tried if each.name != "native"}
    assert [each.usable for each in tried if each.name == "native"] == [True]


def test_tool_that_hangs_does_not_hang_the_check(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install("docker", f"exec {shutil.which('sleep')} 60")
    monkeypatch.setattr(probe, "_TIMEOUT_S", 1)

    finding = found(machine, Target(name="t", base_path="/"), Part.RUNTIME, "docker")

    assert (False, "docker does not answer within 1 s") == (finding.usable, finding.why)


def test_missing_is_what_the_target_needs_and_not_what_it_could_use() -> None:
    def finding(part: Part, name: str, *, usable: bool) -> Finding:
        return Finding(part=part, name=name, usable=usable, why="")

    profile = Target(name="t", base_path="/b", runtimes=(RuntimeName.BWRAP, RuntimeName.NATIVE))
    store = finding(Part.STORE, "/b", usable=False)
    slurm = finding(Part.SCHEDULER, "slurm", usable=False)
    bwrap = finding(Part.RUNTIME, "bwrap", usable=False)
    native = finding(Part.RUNTIME, "native", usable=True)

    assert [store] == probe.missing(profile, [store, slurm, bwrap, native])
    only_bwrap = Target(name="t", base_path="/b", runtimes=(RuntimeName.BWRAP,))
    assert [store, bwrap] == probe.missing(only_bwrap, [store, slurm, bwrap, native])


@pytest.mark.real
def test_this_machine_can_run_jobs(tmp_path: Path) -> None:
    """Bash, flock and python3 are where the tests run, so the local target works."""
    from repx.places.command import run

    profile = Target(name="local", base_path=str(tmp_path / "store"))

    assert [] == probe.missing(profile, probe.target(run, profile))
    assert [] == list(tmp_path.iterdir())


def test_a_runtime_that_does_not_work_says_what_to_ask_for() -> None:
    def nothing_is_installed(argv: Sequence[str], **_: object) -> Completed:
        tools = argv[5::2]  # after bash -c SCRIPT NAME SECONDS
        said = "".join(f"\x1e{tool}\x1f127\x1f" for tool in tools) if tools else "1 1"
        return Completed(code=0, stdout=said, stderr="")

    findings = probe.target(nothing_is_installed, Target(name="t", base_path="/b"))

    asks = {each.name: each.ask for each in findings if each.part is Part.RUNTIME}
    assert "user namespaces" in asks["bwrap"]
    assert all(asks[name] for name in RuntimeName if name is not RuntimeName.NATIVE)


@pytest.mark.parametrize("local", [None, "/scratch"])
def test_podman_needs_a_storage_that_is_on_no_network(machine: Machine, local: str | None) -> None:
    (machine.bin / "stat").unlink()
    machine.install("stat", "echo nfs")
    machine.install("id", "echo 0")
    machine.install(
        "podman", "[[ $* == *GraphRoot* ]] && echo /home/me/storage || echo podman 4.3.1"
    )

    profile = Target(name="t", base_path="/", node_local_path=local)
    finding = found(machine, profile, Part.RUNTIME, "podman")

    why = (
        "podman: its storage /home/me/storage is on a network file system (nfs): "
        "set `node_local_path:` in the target"
    )
    assert (finding.usable, finding.why) == ((True, "podman 4.3.1") if local else (False, why))


@pytest.mark.parametrize(
    ("user", "ids", "info", "usable"),
    [
        (1000, "0 1000 1", "graphOptions: {}", False),
        (1000, "0 1000 1", 'overlay.ignore_chown_errors: "true"', True),
        (1000, "0 1000 1\n1 100000 65536", "graphOptions: {}", True),
        (0, "", "graphOptions: {}", True),
    ],
)
def test_podman_of_an_ordinary_user_needs_subordinate_ids(
    machine: Machine, user: int, ids: str, info: str, *, usable: bool
) -> None:
    machine.install("id", f"echo {user}")
    says = f"--version) echo podman 4.3.1 ;; info) echo '{info}' ;; unshare) echo '{ids}' ;;"
    machine.install("podman", f"case $1 in {says} esac")

    finding = found(machine, Target(name="t", base_path="/"), Part.RUNTIME, "podman")

    why = "podman 4.3.1" if usable else "podman: the user has no subordinate ids"
    assert (usable, why) == (finding.usable, finding.why)
