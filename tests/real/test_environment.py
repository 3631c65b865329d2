"""A program gets the environment its job file was started with, whatever the names are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from repx.target import MissingOutputs, Secret
from tests.real.folders import TOUCH, Folder, MakeFolder, Work

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

# Every variable that bash itself sets, reads or changes: bash(1), Shell Variables.
SPECIAL: Final = (
    *("_", "BASH", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0"),
    *("BASH_CMDS", "BASH_COMMAND", "BASH_COMPAT", "BASH_ENV", "BASH_EXECUTION_STRING"),
    *("BASH_LINENO", "BASH_LOADABLES_PATH", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL"),
    *("BASH_VERSINFO", "BASH_VERSION", "BASH_XTRACEFD", "CDPATH", "CHILD_MAX", "COLUMNS"),
    *("COMP_CWORD", "COMP_LINE", "COMP_POINT", "COMP_TYPE", "COMP_KEY", "COMP_WORDBREAKS"),
    *("COMP_WORDS", "COMPREPLY", "COPROC", "DIRSTACK", "EMACS", "ENV", "EPOCHREALTIME"),
    *("EPOCHSECONDS", "EUID", "EXECIGNORE", "FCEDIT", "FIGNORE", "FUNCNAME", "FUNCNEST"),
    *("GLOBIGNORE", "GROUPS", "HISTCMD", "HISTCONTROL", "HISTFILE", "HISTSIZE", "HOME"),
    *("HOSTFILE", "HOSTNAME", "HOSTTYPE", "IFS", "IGNOREEOF", "INPUTRC", "INSIDE_EMACS", "LANG"),
    *("LC_COLLATE", "LC_MESSAGES", "LINENO", "LINES", "MACHTYPE", "MAIL", "MAILCHECK", "MAILPATH"),
    *("MAPFILE", "OLDPWD", "OPTARG", "OPTERR", "OPTIND", "OSTYPE", "PIPESTATUS", "POSIXLY_CORRECT"),
    *("PPID", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS3", "PS4", "RANDOM", "READLINE_LINE"),
    *("REPLY", "SECONDS", "SHELL", "SHELLOPTS", "SHLVL", "SRANDOM", "TIMEFORMAT", "TMOUT"),
    *("TMPDIR", "UID", "auto_resume", "histchars"),
)
# What scripts of ours were ever called by; none of it may matter.
OURS: Final = (
    *("command", "needs", "outputs", "job", "store", "folder", "rare", "record", "out", "status"),
    *("home", "environment", "stopped", "child", "attempt", "forced", "main", "executable"),
)
NAMES: Final = (*SPECIAL, *OURS)
# These would end any program, or bash before it reads its first line.
HARMLESS: Final = {
    "SHELLOPTS": "braceexpand:hashall",
    "BASHOPTS": "cmdhist",
    "TMPDIR": "/tmp",  # noqa: S108
    "BASH_COMPAT": "",
    "BASH_XTRACEFD": "",
    "FUNCNEST": "3",
    "TMOUT": "1",
    "BASH_ENV": "",
}
SHOW: Final = (
    f"#!{sys.executable} -I\nimport json, os, sys\n"
    'json.dump(dict(os.environ), open(sys.argv[1] + "/o.txt", "w"))\n'
)


def _shown(made: Folder) -> dict[str, str]:
    found = dict(json.loads((made.home("job") / "out/o.txt").read_text()))
    assert f"{made.home('job')}#" == found.pop("REPX_UNIT")[: len(str(made.home("job"))) + 1]
    assert str(made.home("job") / "out") == found.pop("PWD")
    found.pop("LC_CTYPE", None)  # that Python sets for itself
    return found


def _made(folder: MakeFolder, **target: object) -> Folder:
    made = folder({"job": Work()}, **target)
    (made.base / "artifacts/jobs/job/bin/main").write_text(SHOW)
    return made


def _by_hand(made: Folder, env: dict[str, str]) -> dict[str, str]:
    bash = ["bash", str(made.path / "jobs/job.sh")]
    done = subprocess.run(bash, env=env, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return _shown(made)


def _by_agent(made: Folder, env: dict[str, str]) -> dict[str, str]:
    subprocess.run(["rm", "-rf", made.home("job")], check=True)
    run = ["bash", str(made.path / "run.sh"), "--quiet"]
    env = {**env, "REPX_PYTHON": sys.executable}
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return _shown(made)


def _given(value: str) -> dict[str, str]:
    named = {name: HARMLESS.get(name, value) for name in NAMES}
    return {**named, "PATH": os.environ["PATH"]}


@pytest.mark.parametrize("value", ["5", "some text", ""])
def test_variables_of_the_caller_reach_the_program_and_change_nothing(
    folder: MakeFolder, value: str
) -> None:
    """By hand and by the agent alike, name by name, whatever bash makes of these names."""
    made = _made(folder)
    given = _given(value)

    assert given == _by_hand(made, given)
    assert given == _by_agent(made, given)


def test_variables_of_the_target_reach_the_program_and_change_nothing(folder: MakeFolder) -> None:
    mine = {name: f"of the target: {name}" for name in NAMES}
    made = _made(folder, environment=mine)
    given = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}

    assert {**given, **mine} == _by_hand(made, given)
    assert {**given, **mine} == _by_agent(made, given)


def test_functions_and_options_of_the_caller_change_nothing(folder: MakeFolder) -> None:
    made = folder({"job": Work()})
    (made.base / "artifacts/jobs/job/bin/main").write_text(f"#!{sys.executable} -I\nexit(4)\n")
    bad = "() { echo hijacked; exit 9; }"
    names = (
        *("cd", "printf", "read", "kill", "wait", "trap", "set", "shopt", "local", "return", "["),
        *(":", "chmod", "declare", "echo", "env", "eval", "exit", "flock", "shift", "type"),
    )
    options = {"SHELLOPTS": "errexit:nounset:noglob:noclobber", "BASHOPTS": "failglob:nocasematch"}
    functions = {f"BASH_FUNC_{name}%%": bad for name in names}

    code, said = made.script("job", **options, **functions)

    assert (1, "exit 4") == (code, made.marker("job")["reason"])
    assert "hijacked" not in said


@pytest.mark.parametrize("begun", [False, True], ids=["in the runner", "in bash"])
def test_secrets_are_read_at_the_target_and_written_nowhere(
    folder: MakeFolder, tmp_path: Path, *, begun: bool
) -> None:
    (tmp_path / "token").write_text("s3cr3t 'of' a file\n")
    secrets = {
        "A": Secret(kind="file", source=str(tmp_path / "token")),
        "B": Secret(kind="env", source="GIVEN"),
    }
    body = f'[[ $A == "s3cr3t \'of\' a file" && $B == "s3cr3t of a variable" ]]\n{TOUCH}'
    made = folder({"job": Work(body=body)}, secrets=secrets)
    if begun:
        made.record("job").mkdir(parents=True)

    assert 0 == made.agent(GIVEN="s3cr3t of a variable")[0]

    files = [path for path in made.base.rglob("*") if path.is_file() and "bin" not in path.parts]
    assert [] == [path for path in files if b"s3cr3t" in path.read_bytes()]


def test_no_command_line_holds_the_value_of_a_secret(folder: MakeFolder, tmp_path: Path) -> None:
    record, tools = tmp_path / "words", tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "python3"):
        real = shutil.which(name)
        text = f'#!/bin/bash\nprintf "%s\\n" "$0 $@" >>{record}\nexec {real} "$@"\n'
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    secrets = {"B": Secret(kind="env", source="GIVEN")}
    body = f'[[ $B == s3cr3t && $GIVEN == s3cr3t && $OTHER == "a b" ]]\n{TOUCH}'
    made = folder({"job": Work(body=body)}, secrets=secrets)

    path = f"{tools}:{os.environ['PATH']}"
    assert (0, "") == made.script("job", GIVEN="s3cr3t", OTHER="a b", PATH=path)

    seen = record.read_text()
    assert f"{tools}/env -i" in seen
    assert f"{tools}/python3" in seen
    assert "s3cr3t" not in seen


def test_a_secret_that_is_not_there_fails_the_job_and_is_named(
    folder: MakeFolder, tmp_path: Path
) -> None:
    secrets = {"A": Secret(kind="file", source=str(tmp_path / "token"))}
    made = folder({"job": Work()}, secrets=secrets)

    assert 1 == made.agent()[0]
    assert f"environment: A: cannot read {tmp_path}/token" == made.marker("job")["reason"]


@pytest.mark.parametrize("begun", [False, True], ids=["in the runner", "in bash"])
def test_a_target_may_let_outputs_be_missing(folder: MakeFolder, *, begun: bool) -> None:
    work = Work(outputs={"o": "$out/o.txt", "never": "$out/never"})
    made = folder({"job": work}, missing_outputs=MissingOutputs.WARN)
    if begun:
        made.record("job").mkdir(parents=True)

    assert 0 == made.agent()[0]
    assert ["never"] == made.marker("job", "SUCCESS")["missing"]
    assert "missing output: never" in (made.path / "agent.log").read_text()


def test_nonsense_in_variables_of_ours_is_as_good_as_nothing(folder: MakeFolder) -> None:
    names = ("ATTEMPT", "GRACE_S", "LOCK", "LOCK_FD", "REAPER", "RUNG")
    bad = {f"REPX_{name}": "x[$(exit 9)] 1" for name in names}
    made = folder({"a": Work(), "b": Work()})

    assert (0, "") == made.script("a", SLURM_RESTART_COUNT="x", **bad)
    assert 0 == made.agent(**bad)[0]
    assert [1, 1] == [made.marker(job, "SUCCESS")["attempt"] for job in "ab"]
