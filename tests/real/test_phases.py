"""Scatter-gather jobs started by hand: what is run, what is kept, what is refused."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repx import assets
from tests.real.folders import Folder, MakeFolder, Work, ended, wait_until

pytestmark = pytest.mark.real

ROOT: Final = "root=${out%/outputs/*}\n"
SCATTER: Final = (
    f'{ROOT}echo scatter >>"$root/trace"\ncp "$root/items.json" "$out/work_items.json"\n'
)
BRANCH: Final = "branch=${out%/step-*} branch=${branch##*-}\n"


def _step(name: str, content: str = "") -> str:
    text = content or f"{name}$branch"
    return (
        f'{ROOT}{BRANCH}echo "{name} $branch" >>"$root/trace"\n'
        f'[[ ${{FAIL-}} != "{name} $branch" ]]\necho "{text}" >"$out/o.txt"\n'
    )


GATHER: Final = (
    f'{ROOT}echo gather >>"$root/trace"\n[[ ! -v FAIL || $FAIL != gather ]]\n'
    'cp "${inputs%/*}/worker_outs_manifest.json" "$out/o.txt"\n'
)
WORK: Final = Work(
    scatter=SCATTER,
    steps={"one": (_step("one"), ()), "two": (_step("two"), ("one",))},
    body=GATHER,
)


def _made(folder: MakeFolder, items: str = "[1,2,3]", work: Work = WORK, **options: str) -> Folder:
    made = folder({"job": work}, **options)
    _items(made, items)
    return made


def _items(made: Folder, items: str) -> None:
    (made.base / "items.json").write_text(items)


def _again(made: Folder) -> list[str]:
    """Run the job once more as if it had not been gathered; returns what ran."""
    (made.base / "trace").unlink(missing_ok=True)
    (made.record("job") / "SUCCESS").unlink(missing_ok=True)
    assert (0, "") == made.script("job")
    return made.traced()


def test_all_phases_run_in_order(folder: MakeFolder) -> None:
    made = _made(folder, '[{"a": 1}, "two", null]')

    assert (0, "") == made.script("job")

    steps = [f"{step} {branch}" for branch in range(3) for step in ("one", "two")]
    assert ["scatter", *steps, "gather"] == made.traced()
    home = made.home("job")
    items = [(home / f"branch-{i}/repx/work_item.json").read_text() for i in range(3)]
    assert ['{"a":1}', '"two"', "null"] == items
    given_to_two = json.loads((home / "branch-1/step-two/repx/inputs.json").read_text())
    assert {
        "worker__item": f"{home}/branch-1/repx/work_item.json",
        "one": f"{home}/branch-1/step-one/out/o.txt",
    } == given_to_two
    manifest = [{"o": f"{home}/branch-{i}/step-two/out/o.txt"} for i in range(3)]
    assert manifest == json.loads((home / "out/o.txt").read_text())
    given_to_gather = json.loads((home / "repx/gather_inputs.json").read_text())
    assert {"worker__outs": f"{home}/repx/worker_outs_manifest.json"} == given_to_gather
    assert ["SUCCESS"] == made.markers("job")
    assert 3 == made.marker("job", "SUCCESS", "scatter")["branches"]
    assert [] == list(made.base.rglob("*.part"))


def test_phases_may_be_started_one_by_one(folder: MakeFolder) -> None:
    made = _made(folder, "[1]")

    for phase in (["scatter"], ["step", "one", "0"], ["step", "two", "0"], ["gather"]):
        assert (0, "") == made.script("job", *phase)

    assert ["scatter", "one 0", "two 0", "gather"] == made.traced()


def test_no_items_are_gathered_all_the_same(folder: MakeFolder) -> None:
    made = _made(folder, " [ ] ")

    assert (0, "") == made.script("job")
    assert ["scatter", "gather"] == made.traced()
    assert [] == json.loads((made.home("job") / "out/o.txt").read_text())


def test_a_failed_step_fails_the_job_and_only_what_is_missing_runs_again(
    folder: MakeFolder,
) -> None:
    made = _made(folder)

    assert 1 == made.script("job", FAIL="one 1")[0]
    assert "step one of branch 1 failed" == made.marker("job")["reason"]
    assert "exit 1" == made.marker("job", part="branch-1/step-one")["reason"]
    assert ["scatter", "one 0", "two 0", "one 1"] == made.traced()

    assert ["one 1", "two 1", "one 2", "two 2", "gather"] == _again(made)
    assert ["SUCCESS"] == made.markers("job")


@pytest.mark.parametrize("phase", ["scatter", "gather"])
def test_other_phases_fail_the_job_too(folder: MakeFolder, phase: str) -> None:
    made = _made(folder)
    if phase == "scatter":
        (made.base / "items.json").unlink()

    assert 1 == made.script("job", FAIL=phase)[0]
    expected = "scatter failed" if phase == "scatter" else "exit 1"
    assert (["FAIL"], expected) == (made.markers("job"), made.marker("job")["reason"])

    _items(made, "[1,2,3]")
    assert ("scatter" if phase == "scatter" else "gather") == _again(made)[0]


def test_branches_whose_item_changed_run_again(folder: MakeFolder) -> None:
    made = _made(folder, "[1,2,3,4]")
    made.script("job")

    (made.record("job", "scatter") / "SUCCESS").unlink()
    _items(made, "[1,22,3]")

    assert ["scatter", "one 1", "two 1", "gather"] == _again(made)
    assert not (made.home("job") / "branch-3").exists()


def test_changed_inputs_run_everything_again(folder: MakeFolder) -> None:
    _made(folder, "[1]").script("job")
    changed = Work(scatter=SCATTER, steps=WORK.steps, body=GATHER, params={"n": 2})
    made = _made(folder, "[1]", changed, name="s2")

    assert ["scatter", "one 0", "two 0", "gather"] == _again(made)


def test_a_step_that_runs_again_takes_those_behind_it_along(folder: MakeFolder) -> None:
    made = _made(folder, "[1,2]")
    made.script("job")

    (made.record("job", "branch-1/step-one") / "SUCCESS").unlink()

    assert ["one 1", "two 1", "gather"] == _again(made)


def test_a_scatter_of_another_runner_is_split(folder: MakeFolder) -> None:
    """RepX 0.5 leaves an empty marker and work_items.json, and no branches."""
    made = _made(folder, "[1]")
    made.script("job", FAIL="one 0")
    (made.record("job", "scatter") / "SUCCESS").write_text("")
    (made.record("job", "scatter") / "lock").unlink()
    _items_file = made.home("job") / "scatter/out/work_items.json"
    _items_file.write_text("[7,8]")

    assert "scatter" not in _again(made)
    assert "8" == (made.home("job") / "branch-1/repx/work_item.json").read_text()


def test_gather_names_the_branch_that_is_missing(folder: MakeFolder) -> None:
    made = _made(folder, "[1,2]")
    made.script("job", "scatter")

    assert 1 == made.script("job", "gather")[0]
    assert "step two of branch 0 failed" == made.marker("job")["reason"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["dance"], 2, "takes [scatter | step NAME BRANCH | gather], got: dance"),
        (["step", "three", "0"], 2, "NAME is one of: one two, got: three"),
        (["step", "one", "x"], 2, "BRANCH is a number, got: x"),
        (["step", "one", "9"], 3, "there is no branch 9; run the phase scatter first"),
    ],
)
def test_wrong_phases_are_refused(
    folder: MakeFolder, words: list[str], code: int, said: str
) -> None:
    made = _made(folder, "[1]")
    made.script("job", "scatter")

    got, text = made.script("job", *words)

    assert code == got
    assert said in text


def test_steps_run_side_by_side_but_each_once(folder: MakeFolder) -> None:
    slow = Work(scatter=SCATTER, steps={"one": (f"sleep 0.5\n{_step('one')}", ())}, body=GATHER)
    made = _made(folder, "[1,2,3,4]", slow)
    made.script("job", "scatter")

    began = time.monotonic()
    steps = [made.start_script("job", "step", "one", str(i % 4)) for i in range(8)]
    assert {0} == {ended(step)[0] for step in steps}

    assert [f"one {i}" for i in range(4)] == sorted(made.traced()[1:])
    assert time.monotonic() - began < 4 * 0.5 + 8


def test_steps_that_fail_side_by_side_leave_one_whole_marker(folder: MakeFolder) -> None:
    made = _made(folder, "[1,2,3,4]", Work(scatter=SCATTER, steps={"one": ("exit 3", ())}))
    made.script("job", "scatter")

    steps = [made.start_script("job", "step", "one", str(i)) for i in range(4)]

    assert {1} == {ended(step)[0] for step in steps}
    assert str(made.marker("job")["reason"]).startswith("step one of branch ")
    assert [] == list(made.base.rglob("*.part"))


def test_scatter_waits_for_steps_that_run(folder: MakeFolder, tmp_path: Path) -> None:
    patient = f"until [[ -e '{tmp_path}/go' ]]; do sleep 0.05; done\n{_step('one')}"
    work = Work(scatter=SCATTER, steps={"one": (patient, ())}, body=GATHER)
    made = _made(folder, "[1]", work)
    made.script("job", "scatter")
    step = made.start_script("job", "step", "one", "0")
    wait_until((made.record("job", "branch-0/step-one") / "stdout.log").exists)

    assert 75 == made.script("job", "scatter", REPX_LOCK="try")[0]
    (tmp_path / "go").touch()
    assert 0 == ended(step)[0]


# --- work_items.json as bash reads it --------------------------------------------------------


def _parse(tmp_path: Path, text: str) -> tuple[bool, list[str] | str]:
    """Return whether lib.sh takes the text as an array, and its items or the mistake."""
    path = tmp_path / "work_items.json"
    path.write_text(text, encoding="utf-8")
    program = (
        'repx_job=j repx_store=/x repx_here=$1; . "$1/lib.sh"; '
        '. "$1/scatter-gather.sh"; items=(); repx_parse_items "$2" || '
        '{ printf %s "$REPLY"; exit 1; }; '
        'for item in "${items[@]}"; do printf "%s\\0" "$item"; done'
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", assets.path("templates"), path],
        capture_output=True,
        check=False,
    )
    assert b"" == done.stderr
    said = done.stdout.decode()
    return (True, said.split("\0")[:-1]) if done.returncode == 0 else (False, said)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=st.lists(JSON, max_size=6), indent=st.sampled_from([None, 0, 2]), plain=st.booleans())
def test_any_items_come_out_as_they_went_in(
    tmp_path: Path, items: list[object], indent: int | None, *, plain: bool
) -> None:
    good, found = _parse(tmp_path, json.dumps(items, indent=indent, ensure_ascii=plain))

    assert good
    assert items == [json.loads(item) for item in found]
    compact = [json.dumps(i, separators=(",", ":"), ensure_ascii=plain) for i in items]
    assert compact == found


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "it ends too early, after 0 items"),
        ("x", "it is not an array"),
        ('{"a":1}', "it is not an array"),
        ("[1,2", "it ends too early, after 1 items"),
        ('["a', "it ends too early, after 0 items"),
        ("[1,]", "unexpected `]` in item 1"),
        ("[,1]", "unexpected `,` in item 0"),
        ("[1 2]", "unexpected `2` in item 0"),
        ("[1]]", "unexpected `]` in item 1"),
        ("[1] []", "unexpected `[` in item 1"),
        ("[[1}]", "unexpected `}` in item 0"),
        ('[{"a" 1}]', "unexpected `1` in item 0"),
        ('[{"a":1,}]', "unexpected `}` in item 0"),
        ("[{1:2}]", "unexpected `1` in item 0"),
        ('["a":1]', "unexpected `:` in item 0"),
        ("[tru]", "`tru` is not JSON"),
        ("[01]", "`01` is not JSON"),
        ("[NaN]", "`NaN` is not JSON"),
        ('["\\x"]', 'bad string "\\x"'),
        ("[" * 1000, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_mistakes_in_work_items_are_named(tmp_path: Path, text: str, mistake: str) -> None:
    assert (False, mistake) == _parse(tmp_path, text)


def test_a_broken_work_items_file_fails_scatter(folder: MakeFolder) -> None:
    made = _made(folder, "[1,")

    assert 1 == made.script("job")[0]
    marker = made.marker("job", part="scatter")
    assert "work_items.json: it ends too early, after 1 items" == marker["reason"]
    assert "scatter failed" == made.marker("job")["reason"]
    assert [] == list(made.home("job").glob("branch-*"))
