"""targets.yaml is found, read whole or refused whole, and the right profile is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from repx import assets
from repx.config import targets, xdg
from repx.errors import InputError, ProblemsError
from repx.target import (
    Bundle,
    LocalOptions,
    Resources,
    Retries,
    RetryReason,
    RuntimeName,
    SchedulerName,
    SlurmOptions,
    Target,
)

GIB: Final = 1024**3
TIMES: Final = '"90", 30m, 1h30m, 2d, 01:30:00, 2-12:00:00'
ONE: Final = "targets: {here: {base_path: /store}}\n"


def load(tmp_path: Path, text: str, **env: str) -> targets.Targets:
    """Read a text as ./targets.yaml, HOME being below ``tmp_path``."""
    (tmp_path / "targets.yaml").write_text(text, encoding="utf-8")
    return targets.load(None, cwd=tmp_path, env={"HOME": str(tmp_path / "home"), **env})


def target(tmp_path: Path, fields: str, **env: str) -> Target:
    """Return a target that has these fields besides a base_path."""
    text = f"targets:\n  here:\n    base_path: /store\n{fields}"
    return targets.choose(load(tmp_path, text, **env), None)


def said(tmp_path: Path, text: str) -> list[str]:
    """Return every problem of a file."""
    with pytest.raises(ProblemsError) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def test_named_file_comes_first_then_the_folder_then_the_user(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    named = tmp_path / "other.yaml"
    user = tmp_path / "config" / "repx" / "targets.yaml"
    user.parent.mkdir(parents=True)
    for path, name in ((named, "a"), (tmp_path / "targets.yaml", "b"), (user, "c")):
        path.write_text(f"targets: {{{name}: {{base_path: /store}}}}")

    found = [targets.load(named, cwd=tmp_path, env=env)]
    found.append(targets.load(None, cwd=tmp_path, env=env))
    (tmp_path / "targets.yaml").unlink()
    found.append(targets.load(None, cwd=tmp_path, env=env))

    assert [["a"], ["b"], ["c"]] == [list(each.profiles) for each in found]
    assert [Path("other.yaml"), Path("targets.yaml"), user.relative_to(tmp_path)] == [
        each.file for each in found
    ]


def test_without_a_file_there_is_a_local_target(tmp_path: Path) -> None:
    found = targets.load(None, cwd=tmp_path, env={"HOME": "/home/me"})
    with pytest.raises(InputError, match=r"path /caf\\xe9/repx/store is not UTF-8: jobs read"):
        targets.load(None, cwd=tmp_path, env={"XDG_DATA_HOME": "/caf\udce9"})
    elsewhere = targets.load(None, cwd=tmp_path, env={"XDG_DATA_HOME": "/data"})

    store = "/home/me/.local/share/repx/store"
    assert Target(name="local", base_path=store) == targets.choose(found, None)
    assert targets.choose(elsewhere, "local").base_path == "/data/repx/store"


def test_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: none\.yaml"):
        targets.load(tmp_path / "none.yaml", cwd=tmp_path, env={})


@pytest.mark.parametrize(
    ("text", "name", "chosen"),
    [
        (ONE, None, "here"),
        (ONE, "here", "here"),
        ("targets: {a: {base_path: /a}, local: {base_path: /b}}", None, "local"),
        ("default: a\ntargets: {a: {base_path: /a}, local: {base_path: /b}}", None, "a"),
        ("default: a\ntargets: {a: {base_path: /a}, b: {base_path: /b}}", "b", "b"),
    ],
)
def test_name_then_default_then_only_one_then_local(
    tmp_path: Path, text: str, name: str | None, chosen: str
) -> None:
    assert chosen == targets.choose(load(tmp_path, text), name).name


def test_target_that_does_not_exist_gets_a_suggestion(tmp_path: Path) -> None:
    found = load(tmp_path, "targets: {cluster: {base_path: /a}, other: {base_path: /b}}")

    with pytest.raises(InputError, match=r"no target is named 'clster' in targets\.yaml") as typo:
        targets.choose(found, "clster")
    with pytest.raises(InputError, match="has several targets and no `default:`") as unnamed:
        targets.choose(found, None)

    assert typo.value.hint == "did you mean 'cluster'?"
    assert unnamed.value.hint == "choose one with `--target NAME`: cluster, other"


def test_target_that_does_not_exist_without_a_file(tmp_path: Path) -> None:
    found = targets.load(None, cwd=tmp_path, env={"HOME": "/home/me"})

    with pytest.raises(InputError, match="since there is no") as caught:
        targets.choose(found, "cluster")

    assert "--targets FILE" in str(caught.value.hint)


def test_fields_not_given_have_defaults(tmp_path: Path) -> None:
    found = target(tmp_path, "")

    assert found.scheduler is SchedulerName.LOCAL
    assert () == found.runtimes
    assert (RuntimeName.NATIVE,) == found.usual
    assert LocalOptions() == found.local
    assert SlurmOptions() == found.slurm


EVERY_FIELD: Final = """
    node_local_path: /fast
    scheduler: slurm
    runtime: [bwrap, native]
    mount_host_paths: true
    mount_paths: [/opt, ~/data]
    network: true
    environment: {N: 3, EMPTY: "", HOST: "$HOME ${HOME} ~"}
    templates: site
    retries: 2
    input_wait_s: 0
    local: {jobs: 3, cpus: 4, mem: 2G}
    slurm:
      account: a
      qos: q
      gres: "gpu:1"
      gpus: 2
      constraint: a|b
      mail_type: END
      mail_user: me
      exclusive: true
      options: {nice: 5}
      prologue: |
        one
        two
      modules: [m]
      max_array_size: 5
      max_running: 6
      max_submit: 7
      signal: 8
      requeue: true
      bundle: {name: b, stage: s, job: ["*-j", k], cpus: 1, mem: 1G, time: 1h, count: 2}
"""


def test_every_field_arrives(tmp_path: Path) -> None:
    found = target(
        tmp_path,
        EVERY_FIELD,
        HOME="/home/me",
    )

    assert found.node_local_path == "/fast"
    assert found.scheduler is SchedulerName.SLURM
    assert (RuntimeName.BWRAP, RuntimeName.NATIVE) == found.runtimes
    assert found.mount_host_paths
    assert ("/opt", "/home/me/data") == found.mount_paths
    assert found.network
    assert {"N": "3", "EMPTY": "", "HOST": "$HOME ${HOME} ~"} == found.environment
    assert str(tmp_path / "site") == found.templates
    assert (Retries(n=2), 0) == (found.retries, found.input_wait_s)
    assert LocalOptions(jobs=3, cpus=4, mem_bytes=2 * GIB) == found.local
    assert (
        SlurmOptions(
            options={
                "account": "a",
                "qos": "q",
                "gres": "gpu:1",
                "gpus": 2,
                "constraint": "a|b",
                "mail-type": "END",
                "mail-user": "me",
                "exclusive": True,
                "nice": 5,
            },
            prologue=("one", "two"),
            modules=("m",),
            max_array_size=5,
            max_running=6,
            max_submit=7,
            signal_before_s=8,
            requeue=True,
            bundles=(
                Bundle(
                    name="b",
                    cpus=1,
                    mem_bytes=GIB,
                    time_s=3600,
                    count=2,
                ),
            ),
        )
        == found.slurm
    )


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/plain", "/plain"),
        ("~", "/home/me"),
        ("~/store", "/home/me/store"),
        ("${SCRATCH}/a/${USER}", "/scratch x/a/me"),
        ("$UNKNOWN/~", "FOLDER/$UNKNOWN/~"),
        ("store", "FOLDER/store"),
        ("/with 'quotes\"\nand lines ", "/with 'quotes\"\nand lines "),
    ],
)
def test_path_expands_where_documented(tmp_path: Path, written: str, path: str) -> None:
    text = f"targets: {{here: {{base_path: {json.dumps(written)}}}}}"
    found = load(tmp_path, text, HOME="/home/me", SCRATCH="/scratch x", USER="me")

    assert path.replace("FOLDER", str(tmp_path)) == targets.choose(found, None).base_path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("base_path: ${NOPE}/x", "base_path: the variable ${NOPE} is not set here"),
        ("base_path: ${EMPTY}/x", "base_path: the variable ${EMPTY} is not set here"),
        ("base_path: $HOME/x", "base_path: variables are written ${HOME}, not $HOME"),
        ("base_path: ~you/x", "base_path: only ~ and ~/... expand: write the whole path"),
        (
            "node_local_path: ~you/x\n    address: login\n    base_path: /x",
            "node_local_path: only ~ and ~/... expand: write the whole path",
        ),
        (
            "base_path: x\n    address: login",
            "base_path: 'x' must be absolute on a target with an address",
        ),
        (
            "base_path: ${LATIN}/x",
            f"base_path: /caf\\xe9/x is not UTF-8: {xdg.UTF8_WANTED}",
        ),
    ],
)
def test_target_unusable_here_does_not_hinder_the_others(
    tmp_path: Path, fields: str, message: str
) -> None:
    """A file is shared between machines, where other variables are set."""
    text = f"default: good\ntargets:\n  good: {{base_path: /a}}\n  bad:\n    {fields}\n"
    found = load(tmp_path, text, EMPTY="", LATIN="/caf\udce9")

    assert targets.choose(found, None).base_path == "/a"
    with pytest.raises(ProblemsError) as caught:
        targets.choose(found, "bad")
    assert [f"targets.yaml:5:5: {message}"] == [str(each) for each in caught.value.problems]


def test_retries_may_say_why_and_how_much_more(tmp_path: Path) -> None:
    text = (
        "    retries: {n: 3, on: [oom, timeout], mem: x2, time: x1.5, max_mem: 3G, max_time: 2d}\n"
    )
    found = target(tmp_path, text).retries

    assert found == Retries(
        n=3,
        on=(RetryReason.OOM, RetryReason.TIMEOUT),
        mem=2,
        time=1.5,
        max_mem_bytes=3 * GIB,
        max_time_s=2 * 86400,
    )
    assert "3 on oom timeout, mem x2, time x1.5" == str(found)
    ladder = found.ladder(Resources(cpus=2, mem_bytes=GIB, time_s=100))
    asked = [(GIB, 100), (2 * GIB, 150), (3 * GIB, 225), (3 * GIB, 338)]
    assert asked == [(each.mem_bytes, each.time_s) for each in ladder]
    assert 1 == len(found.ladder(Resources(cpus=2)))
    assert 1 == len(Retries(n=2).ladder(Resources(mem_bytes=GIB)))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("retries: {n: 1, on: [oom, exits]}", "on[1]: 'exits' is not one of"),
        ("retries: {n: 1, mem: 2}", "mem: 2 is a whole number, wanted a string"),
        ("retries: {n: 1, time: x0.5}", "time: 'x0.5' is not understood, write it like x2, x1.5"),
    ],
)
def test_mistakes_in_retries(tmp_path: Path, field: str, message: str) -> None:
    (problem,) = said(tmp_path, f"targets:\n  here:\n    base_path: /store\n    {field}\n")

    assert message in problem


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("shceduler: slurm", "unknown key 'shceduler', did you mean 'scheduler'?"),
        ("scheduler: sge", "scheduler: 'sge' is not one of local, slurm"),
        (
            "runtime: dokcer",
            (
                "runtime: 'dokcer' is not one of native, bwrap, apptainer, charliecloud, podman, "
                "docker, did you mean 'docker'?"
            ),
        ),
        (
            "runtime: [bwrap, 3]",
            "runtime[1]: 3 is a whole number, wanted a string: put it in quotes",
        ),
        ("runtime: [bwrap, bwrap]", "runtime: 'bwrap' is listed twice"),
        ("runtime: []", "runtime: is empty"),
        ("network: yes", "network: 'yes' is a string, wanted true or false without quotes"),
        ("retries: -1", "retries: -1 is less than 0"),
        ("retries: 1.0", "retries: 1.0 is a number, wanted a whole number or a mapping"),
        ("mount_paths: /a", "mount_paths: '/a' is a string, wanted a list"),
        (
            "environment: {V: 1.10}",
            "V: 1.1 is a number, wanted a string or a whole number or a mapping: put it in quotes",
        ),
        (
            "environment: {a b: x}",
            "the name 'a b' is not allowed, write it like OMP_NUM_THREADS",
        ),
        ("local:", "local: nothing is given, wanted a mapping"),
        (
            "local: {mem: 4096}",
            "mem: 4096 is a whole number, wanted a string like 512M, 4G, 1.5G, 4GiB",
        ),
        ("local: {mem: 4X}", "mem: '4X' is not understood, write it like 512M, 4G, 1.5G, 4GiB"),
        (
            "slurm: {time: soon}",
            f"time: 'soon' is not understood, write it like {TIMES}",
        ),
        ("slurm: {signal: 70000}", "signal: 70000 is more than 65535"),
        ("slurm: {options: {mem: 3}}", "options: write 'mem:' instead of 'mem'"),
        ("slurm: {options: {mail-user: x}}", "options: write 'mail_user:' instead of 'mail-user'"),
        (
            "slurm: {options: {ntasks-per-node: 3}}",
            "options: write 'ntasks_per_node:' instead of 'ntasks-per-node'",
        ),
        ("slurm: {ntasks: 0}", "ntasks: 0 is less than 1"),
        ("slurm: {options: {output: x}}", "options: 'output' is for repx itself to set"),
        ("slurm: {options: {version: true}}", "options: 'version' is for repx itself to set"),
        ("slurm: {options: {arr: 1-9}}", "options: 'arr' is an abbreviation, write 'array'"),
        (
            "slurm: {options: {ou: x}}",
            "options: 'ou' is an abbreviation, write 'output'",
        ),
        (
            "slurm: {options: {cluster-: x}}",
            "options: 'cluster-' is an abbreviation, write 'cluster-constraint'",
        ),
        (
            "slurm: {options: {n: 3}}",
            "options: 'n' is an abbreviation, write its long name",
        ),
        ("slurm: {bundle: [{cpus: 1}]}", "bundle[0]: the key 'name' is missing"),
        (
            "resources: {rules: [{bundle: a}]}",
            "bundle: no bundle is named 'a', describe it below `slurm: bundle:`",
        ),
        (
            "resources: {rules: [{job: a, job_id_glob: b}]}",
            "'job' and 'job_id_glob' mean the same: keep one",
        ),
        (
            "address: -oX=y",
            "address: '-oX=y' is not understood, write it like me@login.example.org, cluster",
        ),
        (
            "address: me@login:22",
            "address: 'me@login:22': for a port, write ssh://me@login:22",
        ),
    ],
)
def test_mistake_has_a_place_and_a_way_out(tmp_path: Path, field: str, message: str) -> None:
    (problem,) = said(tmp_path, f"targets:\n  here:\n    base_path: /store\n    {field}\n")

    place, _, words = problem.partition(": ")
    assert place.startswith("targets.yaml:4:")
    assert message == words


def test_all_mistakes_of_a_file_come_at_once(tmp_path: Path) -> None:
    assert [
        "targets.yaml:1:1: unknown key 'defaul', did you mean 'default'?",
        "targets.yaml:3:7: base_path: is empty",
        "targets.yaml:4:3: b: the key 'base_path' is missing",
        "targets.yaml:5:3: the name 'c d' is not allowed, write it like local, cluster-gpu",
    ] == said(
        tmp_path,
        "defaul: a\ntargets:\n  a: {base_path: ''}\n  b: {}\n  c d: {base_path: /x}\n",
    )


def test_default_must_exist(tmp_path: Path) -> None:
    assert ["targets.yaml:1:1: default: no target is named 'her', did you mean 'here'?"] == said(
        tmp_path, f"default: her\n{ONE}"
    )


def test_slurm_block_gives_defaults_and_bundles_give_rules(tmp_path: Path) -> None:
    found = target(
        tmp_path,
        "    slurm: {partition: p, mem: 1G, time: 5, cpus: 2, bundle: {name: b, stage: s}}\n",
    )

    (given,) = (rule for rule in found.resources.defaults if rule.resources != Resources())
    (bundle,) = found.resources.rules
    assert Resources(partition="p", mem_bytes=GIB, time_s=300, cpus=2) == given.resources
    assert given.origin == "targets.yaml:4 slurm"
    assert Resources(bundle="b") == bundle.resources
    assert (("s",), "targets.yaml:4 bundle b") == (bundle.stages, bundle.origin)


def test_example_works_as_it_is_shipped(tmp_path: Path) -> None:
    example = assets.path("targets.example.yaml")
    found = targets.load(example, cwd=tmp_path, env={"HOME": "/home/me"})

    assert {} == found.broken
    assert targets.choose(found, None).base_path == "/home/me/repx-store"
    assert targets.choose(found, "cluster").scheduler is SchedulerName.SLURM


@pytest.mark.slow
def test_page_has_every_key_as_the_schema_has_it() -> None:
    """The tables of docs/ are made from the schemas; the command below writes them again."""
    script = Path(__file__).parents[2] / "docs" / "reference.py"

    done = subprocess.run(
        [sys.executable, script, "--check"], text=True, capture_output=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr), f"run: python {script}"
