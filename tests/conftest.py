"""What every test shares: real components are present, or the skip is seen."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

import hypothesis
import pytest

# Each component that tests need and the programs that show it is there; `docker` is looked up by
# its daemon, since a client alone runs nothing. The Makefile names the Debian packages.
PROGRAMS: Final = {
    "bwrap": ("bwrap",),
    "ch-run": ("ch-run", "setpriv", "unshare"),
    "docker": ("dockerd",),
    "graphviz": ("dot",),
    "images": ("busybox", "bash-static"),  # what images of tests are made of
    "locales": ("localedef", "/usr/share/i18n/locales/ja_JP"),
    "modules": ("/usr/share/modules/init/bash",),
    "mpi": ("mpicc", "srun"),
    "nix": ("nix-build", "jq", "patchelf"),
    "podman": ("podman", "runc", "newuidmap"),
    "shellcheck": ("shellcheck",),
    "shells": ("dash", "fish", "tcsh", "zsh"),
    "sbatch": ("sbatch",),
    "slurm": ("slurmctld",),
    "slurm-accounting": ("slurmdbd", "mariadbd"),
    "ssh": ("ssh", "sshd"),
    "skopeo": ("skopeo",),
    "strace": ("strace",),
    "tmux": ("tmux",),
    "zstd": ("zstd",),
}
STARTS_PROCESS: Final = frozenset(
    ("os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen")
)
# Components whose absence is a failure: names, separated by commas, or `all`.
REQUIRED: Final = frozenset(filter(None, os.environ.get("REPX_REQUIRE", "").split(",")))
LABS: Final = Path(__file__).parent / "labs"
UNIT: Final = Path(__file__).parent / "unit"
GOLDEN: Final = Path(__file__).parent / "golden"

pytest_plugins = [
    "tests.contract.archives",
    "tests.nix.machine",
    "tests.real.folders",
    "tests.real.people",
    "tests.real.place",
    "tests.real.runtime_place",
    "tests.real.slurm_cluster",
    "tests.real.sshd",
]


def pytest_configure() -> None:
    """Refuse a misspelt requirement, which would require nothing; hear signals in every child.

    Tests started in the background ignore SIGINT, those of nohup SIGHUP, and so would all that
    they start.
    """
    slow = [hypothesis.HealthCheck.too_slow]  # a busy machine is no mistake
    hypothesis.settings.register_profile("repx", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("repx")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Every session of pytest closes the folder of all its sessions to others, also while tests of
    # another session let ordinary users in. So each checkout has a folder of its own.
    own = Path(tempfile.gettempdir(), f"rt{os.geteuid()}-{zlib.crc32(__file__.encode()):08x}")
    own.mkdir(exist_ok=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(own))
    if unknown := REQUIRED - {"all", *PROGRAMS}:
        message = f"REPX_REQUIRE names unknown components: {', '.join(sorted(unknown))}"
        raise pytest.UsageError(message)


@pytest.hookimpl(trylast=True)  # tests/real adds its marks before
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests of real things on one worker: they share a cluster, a place, a build.

    That is for `pytest --dist loadgroup`. A worker starts one cluster for all files it gets.
    """
    docker = {item.path for item in items if "docker" in _components(item)}
    for item in items:
        if not item.path.is_relative_to(UNIT) and not item.get_closest_marker("xdist_group"):
            group = "docker" if item.path in docker else item.path.stem  # one daemon, not several
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose component is missing, or fail it where that component is required."""
    components = _components(item)
    if item.get_closest_marker("slurm"):
        components.append("slurm")
    for name in components:
        if reason := _missing(name):
            required = REQUIRED & {name, "all"}
            (pytest.fail if required else pytest.skip)(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test of `make check` that starts a process: these are run before each commit."""
    _processes.clear()
    yield
    if _processes and item.path.is_relative_to(UNIT) and not item.get_closest_marker("slow"):
        pytest.fail("starts a process: mark it @pytest.mark.slow, for `make test`", pytrace=False)


def _note_process(event: str, _arguments: tuple[object, ...]) -> None:
    if event in STARTS_PROCESS:
        _processes.append(event)


_processes: list[str] = []
sys.addaudithook(_note_process)


def _components(item: pytest.Item) -> list[str]:
    return [name for mark in item.iter_markers("needs") for name in mark.args]


def _missing(component: str) -> str | None:
    for program in PROGRAMS[component]:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        if shutil.which(program, os.F_OK, path) is None:
            return f"{component} is not installed: no {program} on PATH"
    if component == "slurm" and os.geteuid() != 0:
        return "a private Slurm cluster needs root"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew; what changed is reviewed in the diff."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return a comparison of a text with the whole file of a name below tests/golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: pytest --update-golden writes it"
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture(scope="session")
def labs() -> Path:
    """Return the folder of recorded Labs, one folder each; tests/labs/README.md tells more."""
    return LABS
