"""Scripts are checked when a Lab is built: what is wrong, with file, line and stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "shellcheck"),
]

LAB: Final = """\
repx.runs2Lab { hostTools = false; containerMode = "none"; runs = [ {
  name = "r";
  pipelines = [ ({ repx, ... }: repx.mkPipe { fit = repx.callStage ./stages/fit.nix [ ]; }) ];
} ]; }
"""
STAGE: Final = """\
{ pkgs }:
{
  outputs = { o = "$out/o"; };
  runDependencies = [ pkgs.hello ];
  run = { outputs, ... }: ''
%s
  '';
}
"""
VARIANTS: Final = """\
{ pkgs }:
{
  parameters = [ "n" ];
  outputs = { parameters }: { o = "$out/${toString parameters.n}"; };
  run = { outputs, parameters, ... }: ''
    ${pkgs.lib.optionalString (outputs.o != "$out/1") "echo ${parameters.n}"}
    echo "${parameters.n}" > "${outputs.o}"
    ${pkgs.lib.optionalString (outputs.o == "$out/3") "third"}
    ${pkgs.lib.optionalString (outputs.o != "$out/1") "last"}
  '';
}
"""


def told(nix: Nix, project: Path, *lines: str) -> str:
    """Build a stage of some lines of bash; return what the check said."""
    (project / "stages").mkdir(exist_ok=True)
    text = STAGE % "\n".join(f"    {line}" for line in lines)
    (project / "stages/fit.nix").write_text(text, encoding="utf-8")
    done = nix.built(LAB, project)
    if done.returncode == 0:
        return f"ok {done.stderr}"
    return nix.call("nix-store", "--read-log", nix.failed(done.stderr)).stdout


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ("hello", "case $x in", '  *) ehco "$(curl x)" ;;', "esac"),
            (
                "error: stages/fit.nix:8: stage 'fit': nothing provides the command 'curl': add "
                "the package that has it to runDependencies, for example [ pkgs.curl ]"
            ),
        ),
        (
            ("hello", "ehco"),
            (
                "error: stages/fit.nix:7: stage 'fit': nothing provides the command 'ehco', did "
                "you mean 'echo'?"
            ),
        ),
        (
            ("hello", "if true; then", "  hello"),
            "error: stages/fit.nix:9: stage 'fit': bash: syntax error: unexpected end of file",
        ),
        (
            ("hello", "rm -rf $HOME/*", 'x="a b"', "for f in $(ls *.txt); do echo $f; done"),
            "error: stages/fit.nix:8: stage 'fit': shellcheck SC2034: x appears unused",
        ),
        (
            ("hello", "time ((", "x))", "(( )) ; a b )("),
            "error: stages/fit.nix:",
        ),
    ],
    ids=["unknown", "misspelt", "syntax", "shellcheck", "nonsense"],
)
def test_a_mistake_in_a_script_fails_the_build(
    nix: Nix, tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    assert message in told(nix, tmp_path, *lines)


def test_every_command_of_the_base_tools_is_known(nix: Nix, tmp_path: Path) -> None:
    lines = ("hello | sed s/a/b/ | awk 1 | grep -c x > o || :", "find . -name x", "jq -n 1", "ls")

    assert told(nix, tmp_path, *lines).startswith("ok ")


def test_what_the_parser_cannot_read_is_a_warning(nix: Nix, tmp_path: Path) -> None:
    said = told(nix, tmp_path, "hello > o", "for ((i = 0; i < 2; i++)) { hello; }")

    assert said.startswith("ok ")
    assert "warning: stages/fit.nix:7: stage 'fit': commands are not checked: " in said


def test_a_program_must_say_its_language(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/fit.R").write_text("#!/usr/bin/env Rscript\n", encoding="utf-8")
    stage = '{ pkgs }: { outputs = { o = "$out/o"; }; script = ./fit.R; }'
    (tmp_path / "stages/fit.nix").write_text(stage, encoding="utf-8")

    done = nix.built(LAB, tmp_path)

    log = nix.call("nix-store", "--read-log", nix.failed(done.stderr)).stdout
    assert "error: stages/fit.R: stage 'fit': nothing provides the command 'Rscript'" in log


def test_the_program_of_every_value_is_checked(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/fit.nix").write_text(VARIANTS, encoding="utf-8")
    lab = LAB.replace('name = "r";', 'name = "r"; parameters.n = [ 1 2 3 ];')

    done = nix.built(lab, tmp_path)

    log = nix.call("nix-store", "--read-log", nix.failed(done.stderr)).stdout
    assert sorted(log.splitlines()) == [
        (
            "error: stages/fit.nix:8: stage 'fit': nothing provides the command 'third': add the "
            "package that has it to runDependencies, for example [ pkgs.third ]"
        ),
        (
            "error: stages/fit.nix:9: stage 'fit': nothing provides the command 'last': add the "
            "package that has it to runDependencies, for example [ pkgs.last ]"
        ),
    ]
