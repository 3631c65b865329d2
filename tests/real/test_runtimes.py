"""A Lab with an image in each runtime there is: what its jobs see, what they may, how they end."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import image_labs
from tests.real.runtime_place import RUNTIMES, UNPRIVILEGED, run_as_user

if TYPE_CHECKING:
    from tests.real.place import Place

pytestmark = pytest.mark.needs("images")

# `make` gives two outputs, of which `use` declares one as its input.
LOOK = """
cat "${inputs[table]}" >"$out/table.csv"
{
  id -u; hostname; pwd; echo "$HOME"; echo "${OMP_NUM_THREADS-}"; echo "${LEAKED-}"
} >"$out/seen"
ls -A /tmp >"$out/tmp"
env | sed 's/=.*//' | grep -v ^REPX_ | sort >"$out/variables"
cat /etc/flavour >"$out/flavour"
"""


def chain(use: str, **stage: object) -> dict[str, object]:
    """Return a Lab of two stages, where the second one runs some bash."""
    return {
        "stages": {
            "make": {
                "outputs": {"table": "$out/table.csv", "other": "$out/other.csv"},
                "run": 'echo 1,2 >"$out/table.csv"; echo secret >"$out/other.csv"',
            },
            "use": {
                "inputs": ["table"],
                "outputs": {"seen": "$out/seen"},
                "run": use,
                **stage,
            },
        },
        "pipelines": {"p": {"make": [], "use": ["make"]}},
        "runs": {"r": {"pipelines": ["p"]}},
    }


HOME = "/tmp"  # noqa: S108  # the job's own
FLAVOUR = image_labs.layer({"etc/": "", "etc/flavour": "from the image\n"})


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_job_sees_its_image_its_inputs_and_its_own_variables(
    isolated: Callable[..., Place], runtime: str
) -> None:
    layers = [image_labs.shell_layer(), FLAVOUR]
    here = isolated(chain(LOOK), runtime, layers, environment={"OMP_NUM_THREADS": 3})

    here.repx("run", "--trust", env={"LEAKED": "from the user's shell"})

    (out,) = here.store.glob("outputs/*-use-*/out")
    assert "1,2\n" == (out / "table.csv").read_text()
    assert "from the image\n" == (out / "flavour").read_text()
    inside = 1000 if (runtime, os.getuid()) == ("charliecloud", 0) else os.getuid()
    assert [str(inside), "repx", str(out), HOME, "3", ""] == (
        (out / "seen").read_text().splitlines()
    )
    # The store of a test lies below /tmp.
    assert {here.store.parts[2]} == set((out / "tmp").read_text().split())
    assert os.getuid() == (out / "seen").stat().st_uid
    ours = {"HOME", "PATH", "TERM", "OMP_NUM_THREADS"}
    shells = {"PWD", "SHLVL", "_", "OLDPWD", "HOSTNAME", "CH_RUNNING", "out"}
    stage = {"inputs_json", "parameters_json", "container"}
    assert set((out / "variables").read_text().split()) <= ours | shells | stage
    (node,) = here.store.glob("submissions/*/nodes/*.sh")
    assert f"repx_runtime='{runtime}'\n" in node.read_text()


@pytest.mark.parametrize("runtime", UNPRIVILEGED)
def test_an_ordinary_user_gets_the_same(isolated: Callable[..., Place], runtime: str) -> None:
    here = isolated(chain(LOOK), runtime, [image_labs.shell_layer(), FLAVOUR])

    done = run_as_user(here)

    assert 0 == done.returncode, done.stderr
    (out,) = here.store.glob("outputs/*-use-*/out")
    assert "1,2\n" == (out / "table.csv").read_text()
    assert "from the image\n" == (out / "flavour").read_text()


NIX = "nix/store/0abcdfghijklmnpqrsvwxyz123456789-bash-5.2/bin/bash"


def in_nix_shape(lab: Path) -> None:
    """Have all scripts begin as those of RepX 0.5 do: with an interpreter of the image."""
    for script in (*lab.glob("jobs/*/bin/*"), *lab.glob("store/*")):
        text = script.read_bytes()
        if text.startswith(b"#!/usr/bin/env bash"):
            script.chmod(0o755)
            script.write_bytes(text.replace(b"/usr/bin/env bash", f"/{NIX}".encode(), 1))
    image_labs.list_files(lab)


@pytest.mark.parametrize("lab", ["simple-two-runs", "sweep", "scatter-gather"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_recorded_labs_give_the_same_in_every_runtime(
    recorded: Callable[..., Place],
    client: Callable[[str], dict[str, str]],
    runtime: str,
    lab: str,
) -> None:
    """Labs in the shape of RepX 0.5, whose interpreter is only in the image."""
    here = recorded(lab)
    here.repx("run", "--trust")
    natively = results(here)
    here = dataclasses.replace(here, store=here.folder / "b", env={**here.env, **client(runtime)})
    plain = here.folder / "plain"
    (here.folder / "result").rename(plain)
    with_image = image_labs.with_image(
        plain, here.folder / "result", [image_labs.shell_layer(NIX), image_labs.shell_layer()]
    )
    in_nix_shape(with_image)
    here.use(runtime=runtime)

    here.repx("run", "--trust")

    assert natively == {
        name: text.replace(str(here.store), "B") for name, text in results(here).items()
    }


def results(here: Place) -> dict[str, str]:
    """Return what the jobs of a store made."""
    return {
        str(path.relative_to(here.store)): path.read_text().replace(str(here.store), "B")
        for path in here.store.glob("outputs/*/out/*")
        if path.is_file()
    }


def test_a_lab_that_needs_its_image_says_so_where_it_runs_natively(
    isolated: Callable[..., Place],
) -> None:
    here = isolated(chain(LOOK), "native", [image_labs.shell_layer(NIX)])
    in_nix_shape(here.folder / "result")

    said = here.repx("run", "--trust", code=1)

    assert f"/{NIX}" in said
    assert image_labs.IMAGE in said
    assert "runtime:" in said


def test_the_first_runtime_that_works_on_the_node_is_used(isolated: Callable[..., Place]) -> None:
    here = isolated(chain(LOOK), ["apptainer", "bwrap"], [image_labs.shell_layer(), FLAVOUR])
    empty = here.folder / "bin"
    empty.mkdir()
    for tool in ("bash", "bwrap", "python3", "flock"):
        (empty / tool).symlink_to(str(shutil.which(tool)))
    path = f"{empty}:/bin:/usr/bin"

    here.repx("run", "--trust", env={"PATH": path})

    job = next(path.name for path in here.store.glob("outputs/*-use-*"))
    assert "in bwrap (not in apptainer: apptainer is not installed)" in here.repx(
        "show", "job", job
    )
    (log,) = here.store.glob("submissions/*/agent.log")
    assert "runs in bwrap" in log.read_text()
    assert "apptainer is not installed" in log.read_text()


def test_concurrent_jobs_unpack_an_image_once(isolated: Callable[..., Place]) -> None:
    sweep = {
        "stages": {
            "one": {"parameters": ["n"], "outputs": {"o": "$out/o"}, "run": 'echo >"$out/o"'}
        },
        "pipelines": {"p": ["one"]},
        "runs": {"r": {"pipelines": ["p"], "parameters": {"n": list(range(12))}}},
    }
    here = isolated(sweep, "bwrap")

    here.repx("run", "--trust", "-j", "6")

    (log,) = here.store.glob("submissions/*/agent.log")
    assert 1 == log.read_text().count("unpacking the image")
    (image,) = (path for path in here.store.glob("cache/images/*") if path.is_dir())
    assert 0o700 == image.parent.stat().st_mode & 0o777


@pytest.mark.parametrize("runtime", RUNTIMES[:2])
def test_the_runner_starts_all_but_the_first_job_itself(
    isolated: Callable[..., Place], runtime: str
) -> None:
    """Each job in bash would cost more than its runtime does."""
    sweep = {
        "stages": {
            "one": {
                "parameters": ["n"],
                "outputs": {"o": "$out/o"},
                "run": 'hostname >"$out/o"; [[ ${parameters[n]} != 3 ]]',
            }
        },
        "pipelines": {"p": ["one"]},
        "runs": {"r": {"pipelines": ["p"], "parameters": {"n": list(range(6))}}},
    }
    here = isolated(sweep, ["apptainer", runtime])
    started, bash = here.folder / "started", here.folder / "bin/bash"
    bash.parent.mkdir()
    bash.write_text(f'#!/bin/bash\necho "$*" >>{started}\nexec /bin/bash "$@"\n')
    bash.chmod(0o755)
    path = f"{bash.parent}:{os.environ['PATH']}"

    here.repx("run", "--trust", "--keep-going", "-j", "1", code=1, env={"PATH": path})

    jobs = [line.split() for line in started.read_text().splitlines() if "/jobs/" in line]
    assert [1, 6] == sorted(len(words) for words in jobs), "the first one, and what failed"
    assert ["repx\n"] * 6 == here.output("*/out/o")
    markers = [json.loads(text) for text in here.output("*/repx/[SF][UA]*")]
    assert [(runtime, "apptainer: apptainer is not installed")] * 6 == [
        (marker["runtime"], marker["passed_over"]) for marker in markers
    ]
    assert {"", "exit 1"} == {marker["reason"] for marker in markers}


def test_a_broken_layer_is_named_and_sent_again(isolated: Callable[..., Place]) -> None:
    here = isolated(chain(LOOK), "bwrap", [image_labs.shell_layer(), FLAVOUR])
    here.repx("render", "--output", str(here.folder / "scripts"))
    layers = here.store.glob("artifacts/store/*-layer.tar")
    layer = min(layers, key=lambda path: path.stat().st_size)
    good = layer.read_bytes()
    layer.write_bytes(good[:-1] + b"x")

    said = here.repx("run", "--trust", code=1)
    assert "layer broken" in said
    assert not layer.exists()

    here.repx("run", "--trust")
    assert good == layer.read_bytes()


def test_images_move_by_layer_and_only_once(isolated: Callable[..., Place]) -> None:
    many = [image_labs.layer({f"f{number}": "x" * 5000}) for number in range(9)]
    here = isolated(chain(LOOK), "bwrap", [image_labs.shell_layer(), FLAVOUR, *many])
    here.repx("run", "--trust", "--dry-run")
    here.repx("render", "--output", str(here.folder / "one"))
    layers = {path: path.stat().st_ino for path in here.store.glob("artifacts/store/*-layer.tar")}
    changed = [*many[:-1], image_labs.layer({"f8": "y" * 5000})]
    lab = here.folder / "result"
    image_labs.write_image(lab, [image_labs.shell_layer(), FLAVOUR, *changed])
    image_labs.list_files(lab)

    here.repx("render", "--output", str(here.folder / "two"))

    now = {path: path.stat().st_ino for path in here.store.glob("artifacts/store/*-layer.tar")}
    assert layers == {path: number for path, number in now.items() if path in layers}
    assert 1 == len(now) - len(layers)


@pytest.mark.needs("bwrap")
def test_isolate_finds_what_a_stage_forgot_to_declare(defined: Callable[..., Place]) -> None:
    """Any laptop will do: there is no image, and the host's own tools serve."""
    here = defined(chain('echo >"$out/seen"'))
    forgotten = here.folder / "data.csv"
    forgotten.write_text("1\n")
    lab = chain(f'cat {forgotten} >"$out/seen"')
    here.write("lab.yaml", json.dumps(lab))
    here.repx("build")

    said = here.repx("run", "--isolate", code=1)

    assert f"the program asked for {forgotten}, which is not among its inputs" in said
    here.repx("run")


CONNECT = 'from socket import *; create_connection(("192.0.2.1", 9))'
COMPLAINTS = {
    "bash": ("read -r line <'{}'", "{}, which is not among its inputs"),
    "cat": ("cat '{}'", "{}, which is not among its inputs"),
    "python": (
        "python3 -c 'open(\"{}\")' 2>/tmp/e || {{ tail -n 1 /tmp/e >&2; exit 1; }}",
        "{}, which is not among its inputs",
    ),
    "R": (
        'echo >&2 "cannot open file \u2018{}\u2019: No such file"; exit 1',
        "{}, which is not among",
    ),
    "C": ("echo >&2 '{}: No such file or directory'; exit 1", "{}, which is not among its inputs"),
    "stdout": ('echo "error: no file {}"; exit 1', "{}, which is not among its inputs"),
    "late": ("seq 3000 >&2; cat '{}'", "{}, which is not among its inputs"),
    "folder": ("ls {.parent}/sub", "{.parent}/sub, which is not among its inputs"),
    "write": (
        "echo x >'{.parent}/new'",
        "{.parent}/new: it can write to its $out and to /tmp only",
    ),
    "system": ("echo x >/usr/new", "/usr/new: it can write to its $out and to /tmp only"),
    "home": ("mkdir /home/of-repx-tests", "/home/of-repx-tests: it can write to its $out"),
    "network": (
        f"python3 -c '{CONNECT}' 2>&1 | tail -n 1 >&2",
        "the network: `network: true` in the target",
    ),
}

PLAIN = ("C", "stdout", "folder")  # who puts no quotes round a path


@pytest.mark.needs("bwrap")
def test_isolate_says_what_was_asked_for(defined: Callable[..., Place]) -> None:
    """Whatever the program, and in whatever words it complains."""
    here = defined(chain("true"))
    forgotten = here.write("the data/a b.csv", "1\n")
    plain = here.write("data/plain.csv", "1\n")
    here.write("data/sub/x", "1\n")
    stages = {}
    for name, (run, _) in COMPLAINTS.items():
        path = plain if name in PLAIN else forgotten
        stages[name] = {"outputs": {"o": "$out/o"}, "run": run.format(path) + '; echo >"$out/o"'}
    lab = {
        "stages": stages,
        "pipelines": {name: [name] for name in stages},
        "runs": {f"run-{name}": {"pipelines": [name]} for name in stages},
    }
    here.write("lab.yaml", json.dumps(lab))
    here.repx("build")

    here.repx("run", "--isolate", "--keep-going", code=1)

    for name, (_, said) in COMPLAINTS.items():
        (log,) = here.store.glob(f"outputs/*-{name}-*/repx/stderr.log")
        wanted = said.format(plain if name in PLAIN else forgotten)
        assert f"repx: isolated: the program asked for {wanted}" in log.read_text(), name
        assert 1 == log.read_text().count("repx: isolated:"), log.read_text()
    assert not (forgotten.parent / "new").exists()


@pytest.mark.needs("bwrap")
def test_isolate_hides_services_of_the_machine(defined: Callable[..., Place]) -> None:
    here = defined(
        chain('ls /run/* >"$out/seen"; test -e /run/docker.sock && echo yes >"$out/seen"')
    )

    here.repx("run", "--isolate", "--trust", code=1)

    assert [""] == here.output("*-use-*/out/seen")


@pytest.mark.needs("bwrap")
@pytest.mark.parametrize("opened", ["", ":rw", ":ro", "/../{.name}", "/data"])
def test_what_is_opened_of_the_nodes_own_root_is_open(
    defined: Callable[..., Place], tmp_path: Path, opened: str
) -> None:
    """Be it a folder that is hidden else, one around it or one below it."""
    data = tmp_path / "here/data"
    look = f'cat {data}/x >"$out/seen"; echo new >{data}/new || true'
    here = defined(chain(look))
    here.write("data/x", "data\n")
    path = f"{here.folder}{opened.format(here.folder)}"
    here.use(runtime="bwrap", rootfs="host", mount_paths=[path])

    here.repx("run", "--trust")

    assert ["data\n"] == here.output("*-use-*/out/seen")
    assert (opened != ":ro") == (data / "new").exists()


@pytest.mark.needs("bwrap")
def test_a_path_that_the_target_opens_and_the_node_lacks_is_named(
    defined: Callable[..., Place],
) -> None:
    here = defined(chain('echo >"$out/seen"'))
    here.use(runtime="bwrap", rootfs="host", mount_paths=["/not-here:ro"])

    said = here.repx("run", "--trust", code=1)

    assert "bwrap: `mount_paths:` names /not-here, which is not there" in said


@pytest.mark.needs("bwrap")
def test_isolate_lets_pass_what_is_declared(defined: Callable[..., Place]) -> None:
    here = defined(chain('cat "${inputs[table]}" >"$out/seen"; python3 -c 1 || true'))

    here.repx("run", "--isolate")

    assert ["1,2\n"] == here.output("*-use-*/out/seen")
    assert ["succeeded"] * 2 == list(here.by_stage().values())


tables: dict[str, list[list[str]]] = {}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_example_gives_the_same_table_in_every_runtime(
    empty: Place, client: Callable[[str], dict[str, str]], runtime: str
) -> None:
    """Every command of examples/image/README.md, on each of its targets."""
    example = Path(__file__).parents[2] / "examples/image"
    for part in ("lab.yaml", "targets.yaml", "make-root.sh"):
        shutil.copy(example / part, empty.folder)
    subprocess.run(["sh", empty.folder / "make-root.sh"], check=True)
    variables = {**empty.env, **client(runtime)}
    here = dataclasses.replace(empty, store=empty.folder / "store" / runtime, env=variables)
    here.repx("build")

    here.repx("run", "--target", runtime)

    rows = [line.split(",") for line in here.output("*-count-*/out/count.csv")]
    assert ["be"] * 3 + ["not"] * 3 == [word for word, _ in rows]
    by_seed = zip(rows[:3], rows[3:], strict=True)
    assert 3 * 2000 == sum(int(be[1]) + int(no[1]) for be, no in by_seed)
    tables.setdefault("any", rows)
    assert tables["any"] == rows
