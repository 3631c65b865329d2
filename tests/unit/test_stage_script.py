"""The script of a stage: what it reads from JSON, what it hands on, what it leaves alone."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repx import assets
from repx.lab.expand import fill, script, shown
from repx.lab.expand.script import Body

pytestmark = pytest.mark.slow  # each starts a process

# NUL-separated, in pairs: nothing else can be told apart from what a value may hold.
DUMP: Final = r"""
for array in inputs parameters outputs; do
  declare -n each=$array
  printf '%s\0%s\0' "$array" "${#each[@]}"
  for name in "${!each[@]}"; do printf '%s\0%s\0' "$name" "${each[$name]}"; done
done
"""
# Bash has no NUL, and an empty key means nothing to it.
TEXTS: Final = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
KEYS: Final = TEXTS.filter(lambda key: key not in ("", "@", "*"))
SCALARS: Final = st.one_of(
    TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
NESTED: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@dataclass(frozen=True)
class Job:
    """One call of a script, in a folder laid out as a Lab is."""

    root: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def write(self, text: str, name: str = "store/stage") -> Path:
        path = self.root / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def call(
        self,
        program: Path,
        inputs: object = None,
        parameters: object = None,
        *,
        ascii_only: bool = False,
        indent: int | None = 2,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        self.out.mkdir(exist_ok=True)
        paths = []
        for name, content in (("inputs", inputs), ("parameters", parameters)):
            paths.append(self.root / f"{name}.json")
            text = json.dumps(content or {}, ensure_ascii=ascii_only, indent=indent)
            paths[-1].write_text(text, encoding="utf-8")
        arguments = [os.fspath(path) for path in (program, self.out, *paths)]
        return subprocess.run(
            arguments, capture_output=True, check=False, env={**os.environ, **(env or {})}
        )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def dumped(output: bytes) -> dict[str, dict[str, str]]:
    fields = iter(output.decode().split("\0")[:-1])
    found: dict[str, dict[str, str]] = {}
    for array in fields:
        found[array] = {next(fields): next(fields) for _ in range(int(next(fields)))}
    return found


def as_bash_sees_it(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return the text of a scalar; lists and objects stay, since their text may be escaped."""
    return value if isinstance(value, (list, dict)) else shown(value)


def read_back(value: object, text: str) -> Any:  # noqa: ANN401  # any JSON
    return json.loads(text) if isinstance(value, (list, dict)) else text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parameters=st.dictionaries(KEYS, NESTED, max_size=5),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
    locale=st.sampled_from(["C", "C.UTF-8"]),
)
def test_any_json_object_arrives_in_bash_as_it_is(
    job: Job, parameters: dict[str, Any], *, ascii_only: bool, indent: int | None, locale: str
) -> None:
    program = job.write(script.render("x", [], {}, Body(lines=DUMP)))

    done = job.call(
        program,
        parameters=parameters,
        ascii_only=ascii_only,
        indent=indent,
        env={"LC_ALL": locale},
    )

    assert (done.returncode, done.stderr) == (0, b"")
    found = dumped(done.stdout)["parameters"]
    assert found.keys() == parameters.keys()
    assert {name: read_back(parameters[name], text) for name, text in found.items()} == {
        name: as_bash_sees_it(value) for name, value in parameters.items()
    }


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "make",
    [range, lambda n: [f"w {i}" for i in range(n)], lambda n: [[i] for i in range(n)]],
    ids=["numbers", "texts", "lists"],
)
def test_a_long_list_takes_linear_time(
    job: Job, make: Callable[[int], Sequence[object]], indent: int | None
) -> None:
    program = job.write(script.render("x", [], {}, Body(lines='printf %s "${parameters[v]}"')))

    def seconds(length: int) -> float:
        before = os.times()
        done = job.call(program, parameters={"v": list(make(length))}, indent=indent)
        after = os.times()
        assert list(make(length)) == json.loads(done.stdout)
        return after.children_user + after.children_system - before[2] - before[3]

    assert seconds(40_000) < 8 * max(seconds(10_000), 0.1)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "a b", "tab\tend ", "new\nline\n", "'", '"', "\\", "\\\\", '\\"', "\\n", "$HOME",
        "$(touch pwned)", "`id`", "*", "#", "é", "日本語", "😀", "\u007f", "\u0001\u0002", "/",
        "\\/", "[1, 2]", "{", "}", ",", ":", "x" * 300_000, '"' * 20_000, "é" * 20_000, "@", "!",
        "~", "1e5",
    ],
    ids=lambda value: ascii(value[:20]),
)  # fmt: skip
def test_a_hostile_value_arrives_whole(job: Job, value: str) -> None:
    program = job.write(script.render("x", [], {}, Body(lines=DUMP)))

    for ascii_only in (True, False):
        done = job.call(
            program, {"file": f"/data/{value}"}, {"p": value, "q": 1}, ascii_only=ascii_only
        )

        assert dumped(done.stdout) == {
            "inputs": {"file": f"/data/{value}"},
            "parameters": {"p": value, "q": "1"},
            "outputs": {},
        }


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1.0", "1.0"),
        ("1e+16", "1e+16"),
        ("1E16", "1e+16"),
        ("1e-05", "0.00001"),
        ("1.5e-05", "0.000015"),
        ("-2e-07", "-2e-7"),
        ("-0.0", "-0.0"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("null", "null"),
        ('"\\u00e9\\ud83d\\ude00\\/\\b\\f"', "é😀/\b\f"),
        ('"\\ud83d x \\ude00"', "\ufffd x \ufffd"),
        ('"\\\\u0041"', "\\u0041"),
        ('[ 1, "a b", {"c": [] } ]', '[1,"a b",{"c":[]}]'),
    ],
)
def test_a_value_means_the_same_whoever_wrote_the_file(job: Job, written: str, text: str) -> None:
    """Runners write numbers and escapes in their own ways."""
    program = job.write(script.render("x", [], {}, Body(lines=DUMP)))
    (job.root / "in.json").write_text("{}", encoding="utf-8")
    (job.root / "p.json").write_text(f'{{"a": 1, "v" : {written} }}\n', encoding="utf-8")
    job.out.mkdir()

    done = subprocess.run(
        [program, job.out, job.root / "in.json", job.root / "p.json"],
        capture_output=True,
        check=True,
    )

    assert dumped(done.stdout)["parameters"] == {"a": "1", "v": text}


def test_a_nul_is_refused_rather_than_lost(job: Job) -> None:
    program = job.write(script.render("x", [], {}, Body(lines=DUMP)))

    done = job.call(program, parameters={"p": "a\0b"})

    assert done.returncode == 3
    assert b"bash cannot hold the NUL character" in done.stderr


# --- outputs ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=SCALARS.filter(lambda value: value is not None),
    left=st.sampled_from(["", "it's ", "{{", "a$b`"]),
)
def test_bash_and_expander_fill_a_template_alike(job: Job, value: Any, left: str) -> None:  # noqa: ANN401
    template = f"$out/{left}{{p}}-{{p}}.csv"
    program = job.write(script.render("x", [], {"data": template}, Body(lines=DUMP)))

    done = job.call(program, parameters={"p": value})

    filled = fill(template, {"p": shown(value)})
    assert dumped(done.stdout)["outputs"] == {"data": f"{job.out}{filled.removeprefix('$out')}"}


@pytest.mark.parametrize("folder", ["plain", 'it\'s "a" \\ $HOME', "new\nline\ttab\x01", "é [x] *"])
def test_outputs_are_handed_on_as_json(tmp_path: Path, folder: str) -> None:
    job = Job(tmp_path / folder)
    job.root.mkdir()
    lines = 'printf %s "$REPX_OUTPUTS"; [[ $PWD == "$out" && $out == "$REPX_OUT" ]]'
    outputs = {"a": "$out/a.txt", "data.total": "$out/b.txt"}
    program = job.write(script.render("x", [], outputs, Body(lines=lines)))

    done = job.call(program)

    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"a": f"{job.out}/a.txt", "data.total": f"{job.out}/b.txt"}


# --- around the lines -------------------------------------------------------------------------


def test_out_is_emptied_except_for_the_logs_of_slurm(job: Job) -> None:
    job.out.mkdir()
    for name in ("old.txt", ".hidden", "slurm-12.out", "a b\nc"):
        (job.out / name).write_text("old", encoding="utf-8")
    (job.out / "locked/inner").mkdir(parents=True)
    (job.out / "locked/inner/file").write_text("old", encoding="utf-8")
    (job.out / "locked/inner").chmod(stat.S_IRUSR | stat.S_IXUSR)
    program = job.write(script.render("x", [], {}, Body(lines="echo new > new.txt")))

    done = job.call(program)

    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in job.out.iterdir()) == ["new.txt", "slurm-12.out"]


def test_an_empty_out_costs_no_process(job: Job) -> None:
    """Nothing but bash itself runs: there is no PATH to find a program on."""
    program = job.write(script.render("x", [], {"o": "$out/{p}"}, Body(lines=":")))
    files = []
    for name in ("in", "p"):
        files.append(job.root / f"{name}.json")
        files[-1].write_text('{"p": "x"}', encoding="utf-8")
    job.out.mkdir()

    done = subprocess.run(
        ["/bin/bash", program, job.out, *files], env={"PATH": "/nowhere"}, capture_output=True,
        check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("lines", "code"),
    [("false\necho on", 1), ('echo "$unset"', 1), ("false | true", 1), ("exit 7", 7), (":", 0)],
)
def test_lines_run_strictly_and_their_end_is_the_scripts(job: Job, lines: str, code: int) -> None:
    program = job.write(script.render("x", [], {}, Body(lines=lines)))

    done = job.call(program)

    assert (done.returncode, done.stdout) == (code, b"")


def test_a_last_line_that_goes_on_goes_nowhere(job: Job) -> None:
    program = job.write(script.render("x", [], {}, Body(lines="echo a \\")))

    assert job.call(program).stdout == b"a\n"


@pytest.mark.parametrize("name", ["store/stage", "jobs/0abc-x-1.0/bin/x"])
def test_a_value_that_means_a_file_of_the_lab_becomes_its_path(job: Job, name: str) -> None:
    program = job.write(script.render("x", [], {}, Body(lines=DUMP)), name)

    done = job.call(program, parameters={"table": "$lab/store/0a-x.csv", "other": "x$lab/y"})

    assert dumped(done.stdout)["parameters"] == {
        "table": f"{job.root}/lab/store/0a-x.csv",
        "other": "x$lab/y",
    }


def test_repx_json_reads_a_work_item(job: Job) -> None:
    lines = 'declare -A item; repx_json "${inputs[worker__item]}" item; echo "${item[a b]}"'
    item = job.root / "item.json"
    item.write_text('{"a b":"x\\ny"}', encoding="utf-8")
    program = job.write(script.render("x", [], {}, Body(lines=lines)))

    done = job.call(program, {"worker__item": os.fspath(item)})

    assert done.stdout == b"x\ny\n"


def test_a_note_cannot_end_its_comment(job: Job) -> None:
    program = job.write(script.render("x\necho title", ["a\necho note"], {}, Body(lines=":")))

    assert job.call(program).stdout == b""


# --- programs in other languages --------------------------------------------------------------


def python_job(job: Job, source: str) -> Path:
    """Write a Python program and the script that starts it, as a build would."""
    shim = job.root / "lab/store/py/repx_py"
    shim.mkdir(parents=True)
    own = Path(script.__file__).parents[3]
    for target, path in (
        ("__init__.py", assets.path("templates/stage_repx_py.py")),
        ("stage_script.py", own / "repx_py/stage_script.py"),
    ):
        (shim / target).write_bytes(path.read_bytes())
    job.write(f"#!{sys.executable} -I\n".replace(" -I", "") + source, "store/files/a b/main.py")
    body = Body(program="a b/main.py", files="files", python="py")
    return job.write(script.render("x", [], {"o": "$out/{p}.txt"}, body))


def test_a_python_program_gets_everything_from_repx_py(job: Job) -> None:
    source = (
        "import repx_py\n"
        "stage = repx_py.stage()\n"
        "again = repx_py.stage()\n"
        "assert stage == again\n"
        "print(stage.out, stage.inputs, stage.parameters, stage.outputs, sep='|')\n"
    )
    program = python_job(job, source)

    done = job.call(program, {"i": "/x y"}, {"p": "é", "n": 1.5, "t": "$lab/store/0-x.csv"})

    assert done.stderr == b""
    assert done.stdout.decode() == (
        f"{job.out}|{{'i': PosixPath('/x y')}}|"
        f"{{'p': 'é', 'n': 1.5, 't': '{job.root}/lab/store/0-x.csv'}}|"
        f"{{'o': PosixPath('{job.out}/é.txt')}}\n"
    )
    assert not list((job.root / "lab").rglob("__pycache__"))


@pytest.mark.parametrize(("module", "name"), [("repx_py", "Lab"), ("repx_py.models", "Experiment")])
def test_a_python_program_reaches_the_installed_repx_py_too(
    job: Job, module: str, name: str
) -> None:
    lines = f"from {module} import {name}\nfrom repx_py import stage\nprint({name}.__name__)\n"
    program = python_job(job, f"{lines}print(stage().out)\n")
    checkout = os.fspath(Path(script.__file__).parents[3])

    done = job.call(program, parameters={"p": 1}, env={"PYTHONPATH": checkout})

    assert (done.stderr, done.stdout.decode()) == (b"", f"{name}\n{job.out}\n")


@pytest.mark.parametrize("module", ["repx_py", "repx_py.models"])
def test_a_python_without_repx_says_what_to_install(job: Job, module: str) -> None:
    program = python_job(job, f"from {module} import Experiment\n")
    source = job.root / "lab/store/files/a b/main.py"
    text = source.read_text(encoding="utf-8").partition("\n")[2]
    source.write_text(f"#!{sys.executable} -S\n{text}", encoding="utf-8")  # no site-packages

    done = job.call(program, parameters={"p": 1})

    assert done.returncode == 1
    assert "ImportError: 'Experiment' of repx_py needs repx in the Python" in done.stderr.decode()
    assert "pip install repx-hpc" in done.stderr.decode()


def test_outside_a_lab_repx_py_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import repx_py; repx_py.stage()"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "RuntimeError: REPX_OUT is not set: this program runs as a stage" in done.stderr


def test_a_program_in_any_language_gets_the_files_and_arguments(job: Job) -> None:
    source = '#!/bin/sh\nprintf "%s\\n" "$REPX_FILES" "$1" "$REPX_OUT" "$2" "$REPX_INPUTS_JSON"\n'
    job.write(source, "store/files/main.sh")
    body = Body(program="main.sh", files="files")
    program = job.write(script.render("x", [], {}, body))

    done = job.call(program)

    folder, out, *rest = done.stdout.decode().splitlines()
    assert (folder, out) == (f"{job.root}/lab/store/files", str(job.out))
    assert rest == [str(job.out), *[str(job.root / "inputs.json")] * 2]


# --- quality ----------------------------------------------------------------------------------


@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing() -> None:
    body = Body(lines='cat "${inputs[x]}" > "${outputs[data]}"')
    text = script.render("x", ["Reads x."], {"data": "$out/{p}.csv"}, body)

    done = subprocess.run(
        ["shellcheck", "-s", "bash", "-S", "warning", "-"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout == ""


@given(st.text(st.characters(exclude_characters="\0{}$", exclude_categories=["Cs"]), min_size=1))
def test_what_is_fixed_in_a_template_is_quoted(text: str) -> None:
    assert shlex.split(script.expression(text)) == [text]
