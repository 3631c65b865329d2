"""What Nix does to careless definitions, and what a Lab is in spite of it."""

from __future__ import annotations

import json
import struct
from math import ldexp
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix", "shellcheck"),
]

FLOATS: Final = (
    *("0.1", "0.30000000000000004", "1.0", "1.0e22", "2.2250738585072014e-308"),
    *("1.7976931348623157e308", "123456789.123456789", "0.0", "(0.0 - 2.5)", "(0.0 * (0 - 1))"),
)


def lab(parameters: str, stage: str = "") -> str:
    """Return a Lab of one stage with parameter x."""
    plain = '{ parameters = [ "x" ]; outputs = { o = "$out/o"; }; run = { ... }: "true"; }'
    pipeline = f"{{ a = repx.callStage ({plain} // {{ {stage} }}) [ ]; }}"
    run = f'{{ name = "r"; pipelines = [ {pipeline} ]; parameters = {{ {parameters} }}; }}'
    return f'repx.runs2Lab {{ hostTools = false; containerMode = "none"; runs = [ {run} ]; }}'


def values(built: Path) -> list[Any]:
    text = (built / "revision/metadata-r.json").read_text(encoding="utf-8")
    return [job["params"]["x"] for job in json.loads(text)["jobs"].values()]


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def test_floats_are_exact_and_stay_floats(nix: Nix) -> None:
    built = nix.build(lab(f"x = [ {' '.join(FLOATS)} 1 ];"))

    wanted = [*map(float, FLOATS[:-2]), -2.5, -0.0, 1]
    found = values(built)
    assert sorted(map(bits, wanted)) == sorted(map(bits, found))
    assert sum(isinstance(value, int) for value in found) == 1


@settings(max_examples=8, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=50, max_size=50))
def test_any_float_comes_through(nix: Nix, numbers: list[float]) -> None:
    text = json.dumps(json.dumps(numbers))
    run = f'{{ name = "r"; pipelines = [ ]; parameters.x = builtins.fromJSON {text}; }}'
    body = f"repx.runs2Lab [ {run} ]"

    sent = nix.value(f"(builtins.head ({body}).blueprint.runs).parameter_axes.x")

    received = [ldexp(*value["$float"]) if isinstance(value, dict) else value for value in sent]
    assert list(map(float, received)) == numbers


def test_what_a_value_refers_to_is_there(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "my data.csv").write_text("1\n", encoding="utf-8")

    built = nix.build(lab('x = [ pkgs.hello "${pkgs.jq}/bin/jq" ./. ];'), tmp_path)

    references = nix.call("nix-store", "-q", "--references", _path(nix, built)).stdout.split()
    assert all(any(value.startswith(each) for each in references) for value in values(built))


def test_nothing_but_scripts_and_values_is_referred_to(nix: Nix) -> None:
    built = nix.build(lab("x = [ 1 ];").replace("hostTools = false; ", ""))

    references = nix.call("nix-store", "-q", "--references", _path(nix, built)).stdout
    assert "-static" not in references
    assert "shellcheck" not in references


def test_values_may_be_large(nix: Nix) -> None:
    long = 'pkgs.lib.concatMapStringsSep "" (_: "long") (repx.utils.range 1 500)'

    built = nix.build(lab(f'x = map (n: "${{toString n}}${{{long}}}") (repx.utils.range 1 200);'))

    assert len(values(built)) == 200


def test_a_built_package_is_scanned_without_building_it_first(nix: Nix) -> None:
    package = 'pkgs.runCommand "d" { } "mkdir $out; touch $out/a.csv $out/b.csv $out/c.txt"'
    body = lab(f'x = repx.utils.scan {{ src = {package}; match = ".*[.]csv"; }};')
    option = ("--option", "allow-import-from-derivation", "false")

    evaluated = nix.call("nix-instantiate", *option, "-E", nix.lab(body))

    assert evaluated.returncode == 0, evaluated.stderr
    assert ["a.csv", "b.csv"] == sorted(value[-5:] for value in values(nix.build(body)))


def test_a_function_cannot_depend_on_what_is_known_later(nix: Nix) -> None:
    package = 'pkgs.runCommand "d" { } "mkdir $out; touch $out/a"'
    stage = 'pname = { parameters }: "a-${parameters.x}";'

    told = nix.mistake(f"({lab(f'x = repx.utils.scan {{ src = {package}; }};', stage)}).blueprint")

    assert "the values of 'x' are known only when the Lab is built" in told


def test_a_function_is_called_for_what_it_reads_only(nix: Nix) -> None:
    stage = (
        "parameters = { x = null; y = 0; z = 0; }; resources = { parameters }: "
        "if parameters.x > 1 then { cpus = parameters.y; } else { cpus = 7; };"
    )
    body = lab("x = [ 1 2 ]; y = [ 3 4 ]; z = repx.utils.range 1 300;", stage)

    (run,) = nix.value(f"({body}).blueprint.runs")

    tree = run["pipelines"][0]["stages"][0]["variants"]
    assert tree["on"] == ["x"]
    one, two = (branch for _, branch in tree["cases"])
    assert one["leaf"]["resources"] == {"cpus": 7}
    assert two["on"] == ["y"]
    assert [3, 4] == [branch["leaf"]["resources"]["cpus"] for _, branch in two["cases"]]


def test_the_error_of_a_function_is_its_own(nix: Nix) -> None:
    stage = 'pname = { parameters }: throw "no name for ${toString parameters.x}";'

    done = nix.call("nix-instantiate", "-E", nix.lab(lab("x = [ 1 2 ];", stage)))

    assert "no name for 1" in done.stderr


def _path(nix: Nix, place: Path) -> str:
    return str(place).removeprefix(str(nix.store))
