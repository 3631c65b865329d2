"""Results that somebody has already are fetched instead of computed, and only where they count."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = pytest.mark.real

LAB: Final[dict[str, Any]] = {
    "stages": {
        "a": {
            "parameters": {"n": 1},
            "outputs": {"x": "$out/x"},
            "run": 'echo "${parameters[n]}" >"${outputs[x]}"; date +%N >"$out/when"',
        },
        "sum": {
            "inputs": ["x"],
            "outputs": {"y": "$out/y"},
            "run": 'cat "${inputs[x]}" >"${outputs[y]}"',
        },
    },
    "pipelines": {"m": ["a", "sum"]},
    "runs": {"r": {"parameters": {"n": [1, 2]}}},
}


@pytest.fixture
def here(defined: Callable[..., Place]) -> Place:
    """Return a place whose jobs a colleague has run and pushed."""
    made = defined(LAB)
    made.repx("run")
    made.repx("push", "--to", str(made.folder / "shared"))
    return made


def use_cache(here: Place, *caches: str, base: str = "mine") -> None:
    here.use(base_path=str(here.folder / base), cache=list(caches or ["shared"]))


def test_what_is_in_the_cache_is_fetched_with_the_reason_shown(here: Place) -> None:
    use_cache(here)
    plan = here.repx("run", "-n")
    document = json.loads(here.repx("run", "-n", "--json"))

    assert "fetched from" in plan
    assert "4 would be fetched" in plan
    assert [] == document["run"]
    assert {"a", "sum"} == {each["job"].split("-")[1] for each in document["fetch"]}
    said = here.repx("run")
    assert f"fetched 4 jobs from {here.folder}/shared" in said
    assert "nothing to do: 4 jobs succeeded already" in said
    assert "fetched" not in here.repx("run")
    assert {"succeeded"} == set(here.states().values())


def test_the_rest_runs_and_stands_on_what_was_fetched(here: Place) -> None:
    here.write("lab.yaml", json.dumps(LAB).replace("[1, 2]", "[1, 2, 3]"))
    here.repx("build")
    use_cache(here)
    plan = here.repx("run", "-n")

    assert "2 would run, 4 would be fetched" in plan
    assert "2/2 ok" in here.repx("run")
    found = (here.folder / "mine").glob("outputs/*-sum-*/out/y")
    assert ["1\n", "2\n", "3\n"] == sorted(path.read_text() for path in found)


def test_rendered_scripts_run_only_what_nobody_has(here: Place) -> None:
    here.write("lab.yaml", json.dumps(LAB).replace("[1, 2]", "[1, 2, 3]"))
    here.repx("build")
    use_cache(here)
    said = here.repx("render", "-o", "scripts")
    rendered = sorted(path.name.split("-")[1] for path in (here.folder / "scripts/jobs").iterdir())

    assert f"fetched 4 jobs from {here.folder}/shared" in said
    assert "2 jobs; start with" in said
    assert ["a", "sum"] == rendered
    subprocess.run(["bash", "scripts/run.sh"], cwd=here.folder, check=True, capture_output=True)
    assert {"succeeded"} == set(here.states().values())


def test_nothing_is_rendered_where_another_target_has_all(here: Place) -> None:
    targets = {"night": {"base_path": str(here.store)}, "laptop": {"base_path": "laptop"}}
    here.write("targets.yaml", json.dumps({"targets": targets}))
    here.repx("run", "--target", "night", "--force")
    hint = here.repx("render", "--target", "laptop", "-o", "scripts")
    (here.folder / "scripts").rename(here.folder / "before")
    said = here.repx("render", "--target", "laptop", "-o", "scripts", "--from", "night")

    assert "--from night`" in hint
    assert "nothing to do: 4 jobs succeeded already" in said
    assert not (here.folder / "scripts").exists()


def test_what_is_forced_and_what_depends_on_it_is_computed(here: Place) -> None:
    use_cache(here)
    assert "fetched" not in here.repx("run", "-n", "--force")
    job = next(job for job in here.states() if "-a-" in job)
    here.repx("run", job[:12])
    assert "would be fetched" not in here.repx("run", "-n", job[:12], "--force", "--only")


def test_a_job_that_failed_here_is_fetched(here: Place) -> None:
    use_cache(here)
    job = next(job for job in here.states() if "-sum-" in job)
    folder = here.folder / "mine/outputs" / job
    (folder / "repx").mkdir(parents=True)
    (folder / "repx/FAIL").write_text('{"outcome":"fail","reason":"exit 1"}\n')
    (folder / "repx/lock").write_text("host 1\n")
    (folder / "out").mkdir()
    (folder / "out/left").write_text("of the failed attempt")
    assert "fetched 1 job" in here.repx("run", "--failed")

    assert ["y"] == [path.name for path in (folder / "out").iterdir()]
    assert not (folder / "repx/FAIL").exists()


def test_damaged_results_are_computed(here: Place) -> None:
    use_cache(here)
    (here.folder / "shared/packs").chmod(0o777)
    for path in (here.folder / "shared/packs").iterdir():
        path.chmod(0o666)
        if "-sum-" in path.name:
            path.write_bytes(b"damaged")
    said = here.repx("run")

    assert "2 jobs not brought: its results are damaged; they run here" in said
    assert "fetched 2 jobs" in said
    assert {"succeeded"} == set(here.states().values())


def test_a_cache_that_does_not_answer_stops_nobody(here: Place) -> None:
    use_cache(here, "nosuch://x", "absent", "shared")
    job = next(job for job in here.states() if "-sum-" in job)
    said = here.repx("run", job[:12])

    assert "warning: cannot open nosuch://x" in said
    assert "fetched 1 job from" in said


def test_one_target_takes_results_of_another(here: Place) -> None:
    targets = {"night": {"base_path": str(here.store)}, "laptop": {"base_path": "laptop"}}
    here.write("targets.yaml", json.dumps({"targets": targets}))
    assert "hint" not in here.repx("run", "--target", "laptop", "-n")
    here.repx("run", "--target", "night", "--force")
    hint = here.repx("run", "--target", "laptop", "-n")
    assert "4 of these 4 jobs went to 'night' before: `repx run" in hint
    assert "--from night`" in hint
    said = here.repx("run", "--target", "laptop", "--from", "night", "-n")
    assert "fetched from night" in said
    assert "hint" not in said
    assert "fetched 4 jobs from night" in here.repx("run", "--target", "laptop", "--from", "night")
    job = next((here.folder / "laptop/outputs").glob("*-sum-*")).name
    assert "From:  night" in here.repx("show", "job", job, "--target", "laptop")
    assert "is the target itself" in here.repx(
        "run", "--target", "laptop", "--from", "laptop", code=2
    )
    assert "did you mean 'night'" in here.repx(
        "run", "--target", "laptop", "--from", "nigt", code=2
    )


def test_what_is_incomplete_stale_or_forced_is_not_taken_from_a_target(here: Place) -> None:
    targets = {"night": {"base_path": str(here.store)}, "laptop": {"base_path": "laptop"}}
    here.write("targets.yaml", json.dumps({"targets": targets}))
    first, second = sorted(here.store.glob("outputs/*-a-*"))
    (first / "out/x").unlink()
    here.repx("run", second.name, "--force", "--only", "--target", "night")
    take = ("run", "--target", "laptop", "--from", "night")
    document = json.loads(here.repx(*take, "-n", "--json"))

    assert [second.name] == [each["job"] for each in document["fetch"]]
    assert "fetched" not in here.repx(*take, "-n", "--force")
    assert "fetched 1 job from night" in here.repx(*take)
    assert "4 succeeded" in here.repx("status", "--target", "laptop")


def test_a_source_that_is_away_is_named_with_both_ways_out(here: Place) -> None:
    config = here.folder / "none"
    config.write_text("Host far\n  HostName 127.0.0.1\n  Port 1\n")
    night = {"address": "far", "base_path": "/x", "ssh_config": str(config)}
    targets = {"night": night, "laptop": {"base_path": "laptop"}}
    here.write("targets.yaml", json.dumps({"targets": targets}))
    said = here.repx("run", "--target", "laptop", "--from", "night", code=3)

    assert "error: cannot reach far: " in said
    assert "hint: try: ssh -F" in said
    assert "without --from night these jobs run instead" in said
    laptop = ("run", "--target", "laptop")
    assert "there is no archive at ./nope" in here.repx(*laptop, "--from", "./nope", code=2)
    assert "4/4 ok" in here.repx(*laptop)


@pytest.mark.needs("ssh")
def test_results_go_from_a_machine_to_another_in_few_round_trips(here: Place, sshd: Sshd) -> None:
    cache = f"ssh://far{here.folder}/shared"
    far = {"address": "far", "ssh_config": str(sshd.config)}
    targets = {
        "night": {"base_path": str(here.store), **far},
        "day": {"base_path": f"{here.folder}/day", **far, "cache": cache},
    }
    here.write("targets.yaml", json.dumps({"targets": targets}))
    said = here.repx("run", "--target", "day", "--from", "night", "-vv")

    assert "fetched 4 jobs from night" in said
    assert len(re.findall(r"round trip \d+:", said)) <= 12
    (here.folder / "day").rename(here.folder / "day before")
    assert f"fetched 4 jobs from {cache}" in here.repx("run", "--target", "day")
