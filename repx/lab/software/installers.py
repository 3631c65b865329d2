"""How Python packages are pinned and installed: by pip in a venv, or by uv."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from repx.lab.software import environment, packages, requirements
from repx.lab.software.packages import Pins
from repx.lab.software.programs import SoftwareError, reason, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repx.lab.software.declared import Packages
    from repx.lab.software.programs import Programs

_FACTS: Final = (
    "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], sysconfig.get_platform())"
)
_SERVES_OTHERS: Final = (  # pip has --python since 22.3
    "import pip, sys; sys.exit(tuple(map(int, pip.__version__.split('.')[:2])) < (22, 3))"
)
_HERE: Final = "./"
_PIP: Final = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The folders of lab.yaml (``project``) and of environments (``home``), and the tools."""

    project: Path
    home: Path
    programs: Programs
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """A new virtual environment and the means to run programs for it."""

    wanted: Packages
    shop: Shop
    environment: Path

    @property
    def file(self) -> Path:
        """Return the file that names the packages."""
        return self.shop.project / self.wanted.file

    def run(self, *argv: str) -> str:
        """Run a program in the folder of the file and return its output."""
        missing = _MISSING.get(argv[0], f"{argv[0]} is not installed")
        return run(self.shop.programs, argv, self.file.parent, missing=missing)

    def python(self, *words: str) -> str:
        """Run the environment's own Python."""
        return self.run(str(self.environment / "bin/python"), *words)

    def beside(self, name: str) -> Path:
        """Return the path of a helper file outside the environment."""
        return self.environment.parent / name


@dataclass(frozen=True, slots=True)
class _Kind:
    make: Callable[[_Bench, str | None], None]
    pin: Callable[[_Bench], list[str]]
    install: Callable[[_Bench, Path], None]


_MISSING: Final[Mapping[str, str]] = {
    "uv": "uv is not installed: `pip install uv` installs it",
    "python3": "python3 is not installed",
}


def get(wanted: Packages, pins: Pins | None, shop: Shop) -> Pins:
    """Install a file's packages into the folder of their key; return their pins.

    Without ``pins``, the packages are resolved first. Raises SoftwareError.
    """
    with _bench(wanted, shop, pins.python if pins else wanted.python) as bench:
        python, platform = bench.python("-c", _FACTS).split()
        if pins is None:
            shop.say(f"looking for the packages of {wanted.file}")
            pins = Pins(
                sums=packages.sums(wanted, shop.project),
                python=python,
                platform=platform,
                lines=tuple(_KINDS[wanted.kind].pin(bench)),
            )
        if (python, platform) != (pins.python, pins.platform):
            message = f"the lock file pins packages for Python {pins.python} on {pins.platform}"
            found = f"this machine has Python {python} on {platform}"
            raise SoftwareError(f"{message}, but {found}: `repx build --update` pins them anew")
        if environment.source(shop.home / pins.key) is None:
            shop.say(f"installing the packages of {wanted.file} for Python {python}")
            _install(bench, pins)
    return pins


def _install(bench: _Bench, pins: Pins) -> None:
    wishes = bench.beside("pins.txt")
    there = f" @ {bench.shop.project.resolve().as_uri()}/"
    lines = [line.replace(f" @ {_HERE}", there, 1) for line in pins.lines]
    wishes.write_text("\n".join([*lines, ""]), encoding="utf-8")
    _KINDS[bench.wanted.kind].install(bench, wishes)
    environment.settle(bench.environment, pins, bench.wanted.file)
    root = str(bench.environment)
    compiler = (f"{root}/bin/python", *environment.COMPILE, "-s", root, f"{root}/lib")
    bench.shop.programs(compiler, bench.shop.project)  # some packages hold files of Python 2
    environment.keep(bench.environment, bench.shop.home / pins.key)


@contextmanager
def _bench(wanted: Packages, shop: Shop, python: str | None) -> Iterator[_Bench]:
    shop.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=shop.home) as folder:
        bench = _Bench(wanted=wanted, shop=shop, environment=Path(folder, "environment"))
        _KINDS[wanted.kind].make(bench, python)
        yield bench


# --- venv: part of Python itself -----------------------------------------------------------


def _make_venv(bench: _Bench, python: str | None) -> None:
    """Make an environment without pip: jobs get only the packages they asked for."""
    names = [f"python{python}", "python3"] if python else ["python3"]
    for name in names:
        done = bench.shop.programs(
            (name, "-m", "venv", "--without-pip", str(bench.environment)), bench.shop.project
        )
        if done is not None and done[0] == 0:
            return
        if done is not None:
            raise SoftwareError(f"{name} -m venv failed: {reason(done[2] or done[1])}")
    raise SoftwareError(f"{names[0]} is not installed")


def _pip(bench: _Bench, *words: str) -> None:
    """Run pip for the environment: this Python's pip if it has ``--python``, else a new one."""
    python = str(bench.environment / "bin/python")
    base = bench.python("-c", "import sys; print(sys._base_executable)").strip()
    tools = bench.beside("tools")
    done = bench.shop.programs((base, "-c", _SERVES_OTHERS), bench.shop.project)
    if done is None or done[0] != 0:
        if not tools.exists():
            bench.run(base, "-m", "venv", str(tools))
        base = str(tools / "bin/python")
    bench.run(base, *_PIP, "--python", python, *words)


def _pin_by_pip(bench: _Bench) -> list[str]:
    report = bench.beside("report.json")
    _pip(
        *(bench, "install", "--dry-run", "--ignore-installed"),
        *("--report", str(report), "--requirement", str(bench.file)),
    )
    found = json.loads(report.read_bytes())["install"]
    return sorted((_pinned(each, bench.shop.project) for each in found), key=str.lower)


def _pinned(package: Mapping[str, Any], project: Path) -> str:
    name, version = package["metadata"]["name"], package["metadata"]["version"]
    archive = package["download_info"].get("archive_info") or {}
    sum_ = (archive.get("hashes") or {}).get("sha256")
    if sum_ is None:
        where = package["download_info"]["url"]
        message = f"{name} comes from {where}, which cannot be pinned: build a wheel of it"
        raise SoftwareError(f"{message} (`pip wheel --no-deps {where}`) and name the wheel's file")
    if package.get("is_direct"):
        url = _near(package["download_info"]["url"], project)
        return f"{name} @ {url} --hash=sha256:{sum_}"
    return f"{name}=={version} --hash=sha256:{sum_}"


def _near(url: str, project: Path) -> str:
    """Return the URL of a file of the project as a path there, which other copies have, too."""
    inside = f"{project.resolve().as_uri()}/"
    return f"{_HERE}{url.removeprefix(inside)}" if url.startswith(inside) else url


def _install_by_pip(bench: _Bench, wishes: Path) -> None:
    places = requirements.places(bench.file)
    wishes.write_text("\n".join([*places, wishes.read_text(encoding="utf-8")]), encoding="utf-8")
    _pip(
        *(bench, "install", "--no-deps", "--require-hashes", "--no-compile"),
        "--ignore-installed",  # PYTHONPATH may show others
        *("--no-warn-script-location", "--requirement", str(wishes)),
    )


# --- uv -------------------------------------------------------------------------------------


def _make_by_uv(bench: _Bench, python: str | None) -> None:
    version = ("--python", python) if python else ()
    bench.run("uv", "venv", "--quiet", *version, str(bench.environment))


def _pin_by_uv(bench: _Bench) -> list[str]:
    printed = bench.run(
        *("uv", "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project"),
        *("--no-header", "--no-annotate", "--format", "requirements-txt"),
    )
    lines = [" ".join(line.split()) for line in printed.replace("\\\n", " ").splitlines()]
    for line in lines:
        if line and "--hash=" not in line:
            message = f"'{line.split(' ;')[0]}' of {bench.wanted.file} has no hash"
            raise SoftwareError(f"{message}: let the project depend on a package of an index")
    return [line for line in lines if line]


def _install_by_uv(bench: _Bench, wishes: Path) -> None:
    bench.run(
        *("uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--link-mode", "copy", "--no-compile-bytecode"),
        *("--python", str(bench.environment / "bin/python"), "--requirement", str(wishes)),
    )


_KINDS: Final[Mapping[str, _Kind]] = {
    "venv": _Kind(_make_venv, _pin_by_pip, _install_by_pip),
    "uv": _Kind(_make_by_uv, _pin_by_uv, _install_by_uv),
}
