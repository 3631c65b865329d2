"""An output that somebody deleted: who made it is named, and the command that makes it again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from repx.errors import InputError
from repx_py import Lab
from tests.real.slurm_place import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.slurm_cluster import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Place:
    made = Place(folder=tmp_path, cluster=cast("Cluster", SimpleNamespace(env=dict(os.environ))))
    made.target(scheduler="local", input_wait_s=0)
    return made


def gone(here: Place, *words: str, code: int = 1) -> dict[str, list[str]]:
    process = here.start("status", "--check", "--json", *words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, out + err
    document: dict[str, Any] = json.loads(out)
    found: dict[str, list[str]] = document["gone"]
    return found


def pasted(here: Place, said: str) -> str:
    """Run the command that an answer offers, as it stands there."""
    found = re.search(r"repx (run --(?:force|remake|gone) [^`#\n]+|run [^`#\n]*--remake)", said)
    assert found, said
    words = shlex.split(found[1])
    return here.repx(*words)


def output(here: Place, job: str) -> Path:
    return here.store / "outputs" / job / "out/o"


def test_check_names_the_job_and_its_command_makes_the_output_again(here: Place) -> None:
    first = here.lab.job("first")
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    here.repx("run")
    whole = here.repx("status", "--check")
    output(here, first).unlink()
    unasked = here.repx("status")
    found = gone(here)
    said = here.repx("status", "--check", code=1)
    pasted(here, said)

    assert "every declared output is there" in whole
    assert "gone" not in unasked
    assert {first: ["o"]} == found
    assert first[:12] in said
    assert {} == gone(here, code=0)
    assert "done" == here.out(first) == here.out(second)


def test_a_run_says_before_it_starts_which_inputs_are_gone(here: Place) -> None:
    """What the last job reads was deleted, and what that was made of, too."""
    first = here.lab.job("first")
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    third = here.lab.job("third", 'cat "$(input in0)" >o', needs=[second])
    here.repx("run", second)
    output(here, first).unlink()
    output(here, second).unlink()
    shown = here.repx("run", "-n")
    refused = here.repx("run", third, code=2)
    states = here.states()
    pasted(here, refused)

    assert second[:12] in shown
    assert "--remake" in shown
    assert f"o of {second[:12]}" in refused
    assert first[:12] not in refused, "nobody needs it unless the second job runs again"
    assert "pending" == states[third]
    assert ["done"] * 3 == [here.out(job) for job in (first, second, third)]


def test_a_run_asks_nothing_about_what_no_job_needs(here: Place) -> None:
    first = here.lab.job("first")
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    third = here.lab.job("third", 'cat "$(input in0)" >o', needs=[second])
    here.repx("run", second)
    output(here, first).unlink()
    here.repx("run")

    assert "done" == here.out(third)


def test_what_the_library_offers_makes_what_it_needs_again_too(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two outputs of a chain are gone; the hint for the last one is pasted."""
    first = here.lab.job("first")
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    here.repx("run")
    output(here, first).unlink()
    output(here, second).unlink()
    monkeypatch.chdir(here.folder)
    lab = Lab.from_path("result", target="cluster")
    with pytest.raises(InputError) as caught:
        lab.job(second).load_text("o")
    assert caught.value.hint
    words = re.findall("--force|--remake", caught.value.hint)
    here.repx("run", *words, second)
    output(here, first).unlink()
    output(here, second).unlink()
    here.repx("run", "--gone", second)

    assert ["--force", "--remake"] == words
    assert "done" == here.out(first) == here.out(second)


def test_outputs_of_a_run_that_is_read_as_a_whole_are_missed_before_the_start(here: Place) -> None:
    first, kept = here.lab.job("first"), here.lab.job("kept")
    report = here.lab.job("report", f"cat '{here.store}'/outputs/*/out/o >o")
    here.lab.run("sweep", [first, kept])
    here.lab.run("report", [report], sweep="soft")
    here.repx("run", "sweep")
    output(here, first).unlink()
    said = here.repx("run")
    found = re.search(r"`repx (run --gone sweep[^`]*)`", said)
    assert found
    again = here.repx(*shlex.split(found[1]))

    assert f"jobs read whole runs of which outputs are gone: o of {first[:12]}" in said
    assert kept[:12] not in said
    assert "are gone" not in again
    assert "done" == here.out(first)
    assert "done\ndone" in here.out(report)


def test_gone_makes_again_what_was_deleted_and_nothing_else(here: Place) -> None:
    """More jobs than a hint can name, one that stands on them, and one that failed for it."""
    many = [here.lab.job(f"many{number}", "echo ${TAG-done} >o") for number in range(12)]
    user = here.lab.job("user", 'cat "$(input in0)" >o', needs=many[:1])
    broken = here.lab.job("broken", 'cat "$(input in0)" >o; [[ $(<o) == again ]]', needs=many[1:2])
    kept = here.lab.job("kept", "echo ${TAG-done} >o")
    here.repx("run", "-k", code=1)
    for job in many:
        output(here, job).unlink()
    said = here.repx("status", "--check", code=1)
    shown = here.repx("run", "--gone", "-n")
    found = re.search(r"`repx (run --gone [^`]*)`", said)
    assert found
    here.repx(*shlex.split(found[1]), TAG="again")

    assert 12 == shown.count("its output is gone: o")
    assert ["again"] * 14 == [here.out(job) for job in (*many, user, broken)]
    assert "done" == here.out(kept)
    assert "no jobs match" in here.repx("run", "--gone")


def test_a_job_that_lacks_its_input_names_who_made_it(here: Place) -> None:
    """Its input is deleted while the run goes on, by another job that it needs."""
    first = here.lab.job("first")
    thief = here.lab.job("thief", f"rm -f '{output(here, first)}'; echo done >o")
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first, thief])
    here.repx("run", first)
    ran = here.repx("run", code=1)
    said = here.repx("status")
    pasted(here, ran)
    later = here.repx("status")

    assert f"again: repx run --remake {second.partition('-')[0]}" in ran
    assert f"{first[:12]}-first-1.0 made the input that is gone" in ran
    assert f"repx run --remake {second.partition('-')[0]}" in said
    assert "--remake" not in later
    assert "done" == here.out(first) == here.out(second)


@pytest.mark.parametrize("phase", ["scatter", "step-one", "gather"])
def test_a_phase_that_lacks_its_input_names_who_made_it(here: Place, phase: str) -> None:
    first = here.lab.job("first")
    thief = here.lab.job("thief", f"rm -f '{output(here, first)}'; echo done >o")
    many = here.lab.scattered("many", needs=[thief], steps={"one": ("echo x >o", (), {})})
    reads = {"target_input": "more", "job_id": first, "source_output": "o"}
    here.lab.jobs[many]["executables"][phase]["inputs"].append(reads)
    here.repx("run", first)
    ran = here.repx("run", code=1)
    said = here.repx("status")
    pasted(here, said)

    assert f"again: repx run --remake {many.partition('-')[0]}" in ran
    assert f"repx run --remake {many.partition('-')[0]}" in said
    assert {"succeeded"} == {*here.states().values()}


def test_what_was_never_written_is_not_gone(here: Place) -> None:
    """The target lets a glob, an empty name and an output that nobody writes be missing."""
    here.target(scheduler="local", missing_outputs="warn")
    job = here.lab.job("loose", "echo 1 >a.csv; echo 1 >kept")
    more = {"all": "$out/*.csv", "none": "", "kept": "$out/kept"}
    here.lab.jobs[job]["executables"]["main"]["outputs"].update(more)
    here.repx("run")
    before = gone(here, code=0)
    (here.store / "outputs" / job / "out/kept").unlink()

    assert {} == before
    assert {job: ["kept"]} == gone(here)


def test_a_link_into_nowhere_is_gone_and_a_success_of_repx_0_5_is_passed_over(here: Place) -> None:
    linked, old = here.lab.job("linked"), here.lab.job("old")
    here.repx("run")
    output(here, linked).unlink()
    output(here, linked).symlink_to("nowhere")
    output(here, old).unlink()
    (here.repx_dir(old) / "SUCCESS").write_text("")
    (here.repx_dir(old) / "lock").unlink()

    assert {linked: ["o"]} == gone(here)


def test_a_whole_folder_is_gone_and_names_narrow_the_look(here: Place) -> None:
    first, other = here.lab.job("first"), here.lab.job("other")
    here.repx("run")
    shutil.rmtree(output(here, first).parent)

    assert {first: ["o"]} == gone(here, first)
    assert {} == gone(here, other, code=0)


def test_check_and_follow_do_not_go_together(here: Place) -> None:
    here.lab.job("first")

    assert "do not go together" in here.repx("status", "--check", "--follow", code=2)
