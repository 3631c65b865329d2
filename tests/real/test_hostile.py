"""Values, names, paths and terminals of all kinds pass through repx unchanged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from repx_py import Lab

if TYPE_CHECKING:
    from tests.real.place import Place

Golden = Callable[[str, str], None]
VALUES: Final[tuple[Any, ...]] = (
    "",
    " ",
    " a  b ",
    "it's",
    'say "hi"',
    "'\"'\"'",
    "two\nlines\n",
    "\n",
    "\r\n\t\x0b\x1b[31m",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME} $$ $1",
    "\\",
    "\\n \\u0041 \\",
    "-n",
    "--help",
    "* ? [a-z]",
    "~",
    "ünï ☃ 🎉 \u202e \u0301",
    "a;b|c&d>e<f(g){h}!",
    "#",
    "%s %d %",
    "{{ value }} {% x %}",
    "EOF",
    "true",
    "null",
    "1e3",
    "007",
    "{",
    "x" * 100_000,
    0,
    -1.5,
    1e100,
    True,
    False,
    [1, "a b", None, {"k": ["'", '"']}],
    {"a": {"b": "c\nd"}, "": []},
)
BASES: Final = {
    "quotes": "a \"quoted\" 'store'",
    "newline": "two\nlines \\ $HOME `x` #1 ☃",
    "dash": "-n",
}
SCRIPT: Final = """\
#!/usr/bin/env python3
import json, repx_py
stage = repx_py.stage()
text = json.dumps([stage.parameters["v"], stage.inputs["bash"].read_bytes().decode()])
stage.outputs["json"].write_text(text)
"""
STAGES: Final = {
    "bash": {
        "parameters": {"v": 0},
        "outputs": {"bash": "$out/it's $x/text"},
        "run": 'mkdir "${outputs[bash]%/*}"; printf %s "${parameters[v]}" >"${outputs[bash]}"',
    },
    "python": {
        "parameters": {"v": 0},
        "inputs": ["bash"],
        "outputs": {"json": "$out/a b.json"},
        "script": "the script.py",
    },
}


def _as_bash_has_it(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("base", BASES)
def test_values_arrive_as_they_were_written(empty: Place, tmp_path: Path, base: str) -> None:
    """Through bash, a Python program and the results, whatever the path of the store."""
    store = tmp_path / BASES[base]
    empty.use(base_path=str(store))
    empty.write("the script.py", SCRIPT).chmod(0o755)
    values = VALUES if base == "quotes" else VALUES[:12]
    lab = {
        "stages": STAGES,
        "pipelines": {"main": list(STAGES)},
        "runs": {"r": {"parameters": {"v": [*values]}}},
    }
    empty.write("lab.yaml", json.dumps(lab, ensure_ascii=False))
    empty.repx("build")
    empty.repx("run")
    results = Lab.from_path(empty.folder / "result", store=store)
    jobs = results.jobs(stage="python")

    assert len(jobs) == len(values)
    for job in jobs:
        (before,) = job.dependencies
        value, text = json.loads(job.outputs["json"].read_text())
        assert job.params["v"] == before.params["v"] == value
        assert type(job.params["v"]) is type(value)
        assert _as_bash_has_it(value) == text
        assert list(results.jobs(stage="python", v=value)) == [job]
    assert not list(tmp_path.rglob("pwned"))
    assert "nothing to do" in empty.repx("run")


def test_hostile_values_on_the_terminal(defined: Callable[..., Place]) -> None:
    """They stay on their line, do not command the terminal, and do not fill it."""
    stage = {"parameters": {"v": 0}, "run": ": ${parameters[v]}; exit 1"}
    lab = {"stages": {"a": stage}, "pipelines": {"p": ["a"]}}
    here = defined({**lab, "runs": {"r": {"parameters": {"v": list(reversed(VALUES))}}}})
    process = here.start("run", "--keep-going")
    _, said = process.communicate(timeout=120)
    assert max(map(len, said.splitlines())) < 500
    for line in ("status r", "list jobs r", "run --failed --dry-run"):
        said += here.repx(*line.split())

    assert "\x1b" not in said
    assert "\u202e" not in said


NAMES: Final = ("a", "_", "A-_9", "x" * 100, "run", "local", "con", "e5", "null", "inputs", "out")


def test_names_at_the_edge_of_what_is_allowed(defined: Callable[..., Place]) -> None:
    stages: dict[str, object] = {}
    for name in NAMES:
        write = f"echo ${{parameters[{name}]}} >${{outputs[{name}]}}"
        stages[name] = {"parameters": {name: 1}, "outputs": {name: "$out/o"}, "run": write}
        stages[f"{name}2"] = {"inputs": [name], "run": f": ${{inputs[{name}]}}"}
    here = defined(
        {
            "stages": stages,
            "pipelines": {name: [name, f"{name}2"] for name in NAMES},
            "runs": {
                f"{name}.+-": {"pipelines": [name], "parameters": {name: [1, 2]}} for name in NAMES
            },
            "groups": {name: [f"{name}.+-"] for name in NAMES},
        }
    )
    here.repx("run", "@null", "x" * 100 + ".+-", "--stage", "null2", "--stage", "x" * 100)
    here.repx("run")

    assert set(here.states().values()) == {"succeeded"}
    assert here.output("*-null-1.0/out/o") == ["1\n", "2\n"]


def test_a_locale_without_unicode(defined: Callable[..., Place], tmp_path: Path) -> None:
    here = defined(
        {
            "stages": {"a": {"parameters": {"v": 0}, "run": "echo ${parameters[v]} ☃; exit 2"}},
            "pipelines": {"p": ["a"]},
            "runs": {"r": {"parameters": {"v": ["ünï ☃"]}}},
        },
        base="störe ☃",
    )
    c = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for line in ("run", "status r", "list jobs r", "build", "run --force"):
        here.repx(*line.split(), code=1 if line.startswith("run") else 0, env=c)

    (log,) = here.store.glob("outputs/*/repx/stdout.log")
    assert log.read_text() == "ünï ☃ ☃\n"
    assert [tmp_path / "störe ☃"] == [path for path in tmp_path.iterdir() if "st" in path.name]


# --- unusual Labs ----------------------------------------------------------------------------

ITEMS: Final = '[1, "a\\"b\\n☃", null, [], {"k": [1, {"l": "]"}]}, -1.5e3, true, "", " , ]"]'


def _scatter(items: str) -> dict[str, object]:
    return {
        "scatter": {"run": f"cat >work_items.json <<'END'\n{items}\nEND\n"},
        "steps": {
            "one": {
                "inputs": ["worker__item"],
                "outputs": {"z": "$out/sub/z"},
                "run": 'mkdir sub; cat "${inputs[worker__item]}" >"${outputs[z]}"',
            }
        },
        "gather": {
            "outputs": {"all": "$out/all"},
            "run": 'cp "${inputs[worker__outs]}" "${outputs[all]}"',
        },
    }


@pytest.mark.parametrize("items", ["[]", " [ ] ", ITEMS], ids=["none", "blanks", "odd"])
def test_work_items_may_be_any_json(defined: Callable[..., Place], items: str) -> None:
    lab = {"stages": {"s": _scatter(items)}, "pipelines": {"p": ["s"]}, "runs": {"r": {}}}
    here = defined(lab, base='a "b"\nc')
    here.repx("run")
    (gathered,) = here.output("*/out/all")
    found = [json.loads(Path(worker["z"]).read_text()) for worker in json.loads(gathered)]

    assert found == json.loads(items)


def test_a_thousand_inputs_of_one_job(defined: Callable[..., Place]) -> None:
    many = [f"o{number}" for number in range(1000)]
    make = {
        "outputs": {name: f"$out/{name}" for name in many},
        "run": 'for name in "${!outputs[@]}"; do echo 1 >"${outputs[$name]}"; done',
    }
    total = {
        "inputs": many,
        "outputs": {"total": "$out/total"},
        "run": 'cat "${inputs[@]}" | wc -l >"${outputs[total]}"',
    }
    here = defined(
        {
            "stages": {"make": make, "total": total},
            "pipelines": {"p": ["make", "total"]},
            "runs": {"r": {}},
        }
    )
    here.repx("run")

    assert [text.strip() for text in here.output("*/out/total")] == ["1000"]


# --- terminals -------------------------------------------------------------------------------


@pytest.fixture
def many(defined: Callable[..., Place]) -> Place:
    """Return a place with 2,000 jobs, which no pipe takes at once."""
    stage = {"parameters": {"n": 0}, "run": ": ${parameters[n]}"}
    lab = {"stages": {"a-long-name": stage}, "pipelines": {"p": ["a-long-name"]}}
    return defined({**lab, "runs": {"r": {"parameters": {"n": {"range": [1, 2000]}}}}})


LISTINGS: Final = ("list jobs", "list jobs --json", "status r", "status --json", "trace-params")


def _shell(here: Place, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `repx` is the command line."""
    define = f'repx() {{ "{sys.executable}" -m repx "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", define + line],
        cwd=here.folder,
        env={**os.environ, **here.env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_reader_that_leaves_early(many: Place) -> None:
    for line in (*LISTINGS, "run --dry-run", "run --dry-run --json", "list jobs r"):
        done = _shell(many, f"repx {line} | head -n 1; exit ${{PIPESTATUS[0]}}")

        assert done.returncode in (0, 141), (line, done.stderr)  # 0: the pipe held it all
        assert len(done.stdout.splitlines()) == 1
        assert done.stderr in ("", "2000 would run\n"), line


def _on_a_terminal(here: Place, *words: str, **env: str) -> str:
    """Return what a terminal would be sent."""
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "repx", *words],
        cwd=here.folder,
        env={**os.environ, **here.env, "TERM": "xterm-256color", **env},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    said = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(terminal, 65536):
            said += piece
    os.close(terminal)
    assert process.wait(60) in (0, 1)
    return said.decode()


def test_colours_only_where_they_are_wanted(defined: Callable[..., Place]) -> None:
    here = defined(
        {"stages": {"a": {"run": "exit 1"}}, "pipelines": {"p": ["a"]}, "runs": {"r": {}}}
    )
    colour = re.compile(r"\x1b\[[0-9;]*[349][0-7]m")
    for line in ("run", "status", "status r"):
        assert colour.search(_on_a_terminal(here, *line.split(), NO_COLOR="")), line
        assert not colour.search(_on_a_terminal(here, *line.split(), NO_COLOR="1")), line
        assert "\x1b" not in here.repx(*line.split(), code=int(line == "run"))


def test_closed_streams(many: Place) -> None:
    for line in ("list runs >&-", "list runs 2>&-", "status >&- 2>&-", "list runs <&-"):
        done = _shell(many, f"repx {line}")

        assert done.returncode in (0, 3), (line, done.stderr)
        assert "Traceback" not in done.stderr, line
    done = _shell(many, "repx list runs >/dev/full")
    assert done.returncode == 3
    assert done.stderr == "error: No space left on device\n"


def test_odd_files_among_the_outputs(defined: Callable[..., Place], golden: Golden) -> None:
    lines = r"""
        printf 1 >one; ln -s one link; ln -s loop loop; ln -s gone gone; mkfifo pipe
        mkdir -p d/e; printf 2 >d/e/two; printf 3 >-n; printf 4 >"$(printf 'a\nb\033[31m')"
    """
    here = defined({"stages": {"a": {"run": lines}}, "pipelines": {"p": ["a"]}, "runs": {"r": {}}})
    here.repx("run")
    (job,) = (path.name for path in here.store.glob("outputs/*-a-1.0"))
    words = ["", "one", "link", "loop", "gone", "../repx/lock", "pipe"]
    words += ["d", "d/e/two", "-- -n", "/etc/passwd", "onne"]

    golden("hostile/outputs.txt", here.session(*(f"show output {job} {word}" for word in words)))
