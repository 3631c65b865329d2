"""`repx targets import`: what RepX 0.5's config.toml and resources.toml say, in targets.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from repx.config import repx05, targets
from repx.target import RuntimeName, SchedulerName
from repx_py import Lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Repx

CONFIG = """\
theme = "dark"
submission_target = "cluster"
[logging]
max_files = 5
[targets.local]
base_path = "~/Desktop/repx-store"
default_execution_type = "bwrap"
[targets.local.local]
execution_types = ["native", "bwrap"]
local_concurrency = 4
[targets.cluster]
address = "me@login"
base_path = "/scratch/me/repx"
node_local_path = "/tmp/me"
artifact_store = "node-local"
mount_paths = ["/data"]
[targets.cluster.slurm]
execution_types = ["podman"]
"""
USERS = """\
[defaults]
mem = "2G"
sbatch_opts = ["--account=proj7"]
[[rules]]
mem = "1G"
"""
PROJECTS = """\
[defaults]
mem = "3G"
job_id_glob = "x"
[[rules]]
job_id_glob = "*-train-*"
target = "cluster"
cpus-per-task = 12
[rules.worker_resources]
cpus-per-task = 2
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Write the settings of a user of RepX 0.5 (see the fixture ``repx``); return their folder."""
    folder = tmp_path / "home" / "repx"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "resources.toml").write_text(USERS)
    (tmp_path / "resources.toml").write_text(PROJECTS)
    return folder


def test_settings_become_targets(repx: Repx, old: Path, tmp_path: Path) -> None:
    said = repx("targets", "import")

    assert said.code == 0
    assert "wrote targets.yaml: targets local, cluster" in said.err
    known = targets.load(None, cwd=tmp_path, env={"HOME": "/home/me"})
    local, cluster = known.profiles["local"], known.profiles["cluster"]
    assert known.default == "cluster"
    assert local.base_path == "/home/me/Desktop/repx-store"
    assert local.scheduler is SchedulerName.LOCAL
    assert local.runtimes == (RuntimeName.BWRAP, RuntimeName.NATIVE)
    assert local.local.jobs == 4
    assert cluster.scheduler is SchedulerName.SLURM
    assert (cluster.address, cluster.base_path) == ("me@login", "/scratch/me/repx")
    assert (cluster.node_local_path, cluster.mount_paths) == ("/tmp/me", ("/data",))  # noqa: S108
    assert cluster.runtimes == (RuntimeName.PODMAN,)
    assert old.exists()


def test_resources_of_the_user_and_of_the_project_are_merged_as_there(
    repx: Repx, old: Path, tmp_path: Path
) -> None:
    del old
    assert repx("targets", "import").code == 0

    rules = targets.load(None, cwd=tmp_path, env={}).profiles["cluster"].resources
    default, (rule,) = rules.defaults[0], rules.rules
    assert default.resources.mem_bytes == 3 << 30
    assert default.resources.sbatch_opts == ("--account=proj7",)
    assert (rule.jobs, rule.targets, rule.resources.cpus) == (("*-train-*",), ("cluster",), 12)
    assert rule.steps is not None
    assert rule.steps.cpus == 2


def test_what_has_no_equal_is_named(repx: Repx, old: Path) -> None:
    del old
    said = repx("targets", "import")

    for each in ("logging", "theme", "targets.cluster.artifact_store"):
        assert f"left out: {each}" in said.err


def test_files_may_be_named(repx: Repx, old: Path, tmp_path: Path) -> None:
    (tmp_path / "resources.toml").unlink()

    said = repx("targets", "import", old / "config.toml", "-o", tmp_path / "sub/t.yaml", "--json")

    assert said.code == 0
    known = targets.load(tmp_path / "sub/t.yaml", cwd=tmp_path, env={"HOME": "/h"})
    assert list(known.profiles) == ["local", "cluster"]
    assert known.profiles["local"].resources.defaults[0].resources.mem_bytes is None


def test_resources_alone_go_with_the_usual_target(repx: Repx, tmp_path: Path) -> None:
    (tmp_path / "resources.toml").write_text(PROJECTS)
    usual = targets.load(None, cwd=tmp_path, env={"XDG_DATA_HOME": str(tmp_path / "home")})

    assert repx("targets", "import").code == 0

    known = targets.load(None, cwd=tmp_path, env={})
    assert known.profiles["local"].base_path == usual.profiles["local"].base_path


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"targets.yaml": ""}, "targets.yaml exists, and is kept"),
        ({"home/repx/config.toml": "[a"}, "config.toml: not TOML"),
        ({"home/repx/config.toml": "targets = 1"}, "config.toml: targets: a table is wanted"),
        ({"home/repx/config.toml": "[targets.local]"}, "base_path"),
        ({"resources.toml": "[[rules]]\nmem = 1.5"}, "resources.toml, as YAML:"),
    ],
    ids=["exists", "no TOML", "no table", "no base_path", "wrong value"],
)
def test_what_cannot_be_imported(
    repx: Repx, old: Path, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    del old
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = [path.name for path in tmp_path.iterdir()]

    done = repx("targets", "import")

    assert done.code == 2
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == before


def test_nothing_to_import_is_said(repx: Repx) -> None:
    done = repx("targets", "import")

    assert done.code == 2
    assert "there is no config.toml of RepX 0.5 in" in done.err
    assert "hint: name the files: repx targets import FILE..." in done.err


def test_old_settings_are_pointed_out_until_there_is_a_targets_yaml(repx: Repx, old: Path) -> None:
    before = repx("targets").err
    repx("targets", "import")
    after = repx("targets").err

    assert f"not read, since they are RepX 0.5's: {old}/config.toml" in before
    assert "`repx targets import` makes a targets.yaml of them" in before
    assert "RepX 0.5" not in after


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    "words",
    [("status",), ("list", "jobs", "--output-paths"), ("run", "-n"), ("usage",)],
    ids=" ".join,
)
def test_every_command_that_uses_a_target_points_out_old_settings_once(
    repx: Repx, labs: Path, words: tuple[str, ...]
) -> None:
    assert 1 == repx("-l", labs / "sweep", *words).err.count("RepX 0.5's")


@pytest.mark.usefixtures("old")
def test_an_analysis_in_python_points_out_old_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, labs: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Lab.from_path(labs / "sweep")

    assert "RepX 0.5's" in caplog.text


def test_scheduler_is_what_that_settings_file_means() -> None:
    made = repx05.convert(
        {
            "default_scheduler": "slurm",
            "targets": {
                "local": {"base_path": "/a", "default_scheduler": "local"},
                "b": {"base_path": "/b", "address": "h"},
                "c": {"base_path": "/c", "address": "h", "default_scheduler": "local"},
            },
        },
        [],
    )

    chosen = {name: target["scheduler"] for name, target in made.content["targets"].items()}
    assert chosen == {"local": "local", "b": "slurm", "c": "local"}


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ((), "run.sh"),
        (("--scheduler", "local"), "run.sh"),
        pytest.param(("--scheduler", "slurm"), "submit.sh", marks=pytest.mark.slow),
    ],
    ids=["the target's", "local", "slurm"],
)
def test_scheduler_may_be_another_than_the_targets(
    repx: Repx, labs: Path, tmp_path: Path, words: tuple[str, ...], script: str
) -> None:
    """As in RepX 0.5, where the target does not decide alone."""
    said = repx("render", "-l", labs / "sweep", "-o", tmp_path / "scripts", *words)

    assert said.code == 0
    assert (tmp_path / "scripts" / script).is_file()
