"""Host tools: static programs where the package set has them, and what happens where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from repx.lab.load import open_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix-copied"),
    pytest.mark.real,
    pytest.mark.needs("nix", "shellcheck"),
]

STAGE: Final = '{ outputs.o = "$out/o"; run = "true"; }'
LAB: Final = (
    'repx.runs2Lab ({ containerMode = "none"; runs = [ { name = "r"; '
    f"pipelines = [ {{ a = repx.callStage {STAGE} [ ]; }} ]; }} ]; }} // {{ %s }})"
)
WITHOUT: Final = 'pkgs = builtins.removeAttrs pkgs [ "pkgsStatic" ];'


def tools_of(lab: Path) -> set[str]:
    assert open_lab(lab).lab.runs
    return {path.name for path in lab.glob("host-tools/*/bin/*")}


def test_a_lab_carries_the_static_programs(nix: Nix) -> None:
    lab = nix.build(LAB % "")

    usual = {"bash", "bwrap", "cat", "find", "grep", "gzip", "jq", "sed", "ssh", "tar"}
    assert usual <= tools_of(lab)
    (gzip,) = lab.glob("host-tools/*/bin/gzip")
    assert gzip.readlink().name.endswith("-pigz")


def test_a_package_set_without_static_programs_gives_none(nix: Nix) -> None:
    done = nix.built(LAB % WITHOUT)

    assert done.returncode == 0, done.stderr
    said = "repx: warning: host tools: the package set has no pkgsStatic, so targets need their own"
    assert said in done.stderr
    lab = nix.physical(done.stdout.strip())
    assert tools_of(lab) == set()
    assert len(list(lab.glob("host-tools/*/bin"))) == 1  # readers want a folder


def test_who_insists_on_tools_is_told_what_to_write(nix: Nix) -> None:
    told = nix.mistake(f"({LAB % (WITHOUT + 'hostTools = true;')}).blueprint")

    assert told == (
        "error: repx: hostTools: the package set has no pkgsStatic: write hostTools = false, or "
        "give a package set that has static programs"
    )


@pytest.mark.parametrize("value", ['"all"', "[ ]", "3"])
def test_what_host_tools_may_be_is_told(nix: Nix, value: str) -> None:
    told = nix.mistake(f"({LAB % f'hostTools = {value};'}).blueprint")

    assert "hostTools: it must be true, false or a package set with static programs" in told


def test_a_package_that_cannot_be_had_is_left_out(nix: Nix) -> None:
    static = 'pkgs.pkgsStatic // { rsync = throw "not static"; }'
    body = f'hostTools = builtins.removeAttrs ({static}) [ "jq" ];'

    done = nix.built(LAB % body)

    assert done.returncode == 0, done.stderr
    for name in ("rsync", "jq"):
        said = f"host tools: the package set has no {name}, so targets need their own"
        assert said in done.stderr
    found = tools_of(nix.physical(done.stdout.strip()))
    assert "cat" in found
    assert not {"rsync", "jq"} & found


def test_programs_that_need_a_nix_store_are_left_out(copied: Nix) -> None:
    """Packages that are not static: their loader and interpreters are in /nix/store."""
    script = 'pkgs.writeScriptBin "jq" "#!${pkgs.bash}/bin/bash\\n"'
    static = "inherit (pkgs.pkgsStatic) bash;"
    body = f"hostTools = {{ inherit (pkgs) coreutils; jq = {script}; {static} }};"

    lab = copied.build(LAB % body)

    assert tools_of(lab) == {"bash"}
    path = str(lab).removeprefix(str(copied.store))
    log = copied.call("nix-store", "--read-log", path).stdout
    assert "warning: host tools: cat is left out, since it needs /nix/store/" in log
    assert "warning: host tools: jq is left out, since it needs /nix/store/" in log
    references = copied.call("nix-store", "-q", "--references", path).stdout
    assert "-coreutils" in references  # scripts have it on their PATH
    assert "-jq" in references
