"""Files people write are read as YAML 1.2 says, and every mistake has a place and a cure."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import document
from repx.errors import InputError, Problem, ProblemsError

SCHEMA = "targets.schema.json"
GOOD = "targets:\n  local:\n    base_path: /store\n"


def said(text: str, file: str = "f.yaml") -> list[str]:
    """Return what is said about a text that cannot be read."""
    with pytest.raises(ProblemsError) as caught:
        document.loads(text, file)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("null", None),
        ("~", None),
        ("", None),
        ("012", 12),
        ("0o12", 10),
        ("0x1F", 31),
        ("+3", 3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ('"1"', "1"),
        ("'null'", "null"),
        ("!!str 12", "12"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalar_means_what_yaml_1_2_says(written: str, value: object) -> None:
    data = document.loads(f"key: {written}", "f.yaml").data["key"]

    assert value == data
    assert type(value) is type(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=20,
)


@given(JSON.filter(lambda value: value is not None))
def test_json_means_what_it_means(value: object) -> None:
    text = json.dumps(value).replace("\x7f", "\\u007f")

    assert value == document.loads(text, "f.json").data


@given(st.text() | st.text(st.sampled_from("a: -[]{}&*!|>'\"#%@\n\t<,?")))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        document.loads(text, "f.yaml")
    except ProblemsError as error:
        problems = error.problems

    assert all(problem.line > 0 and problem.column > 0 for problem in problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty"),
        ("# only this\n", "1:1: the file is empty"),
        ("a:\n\tb: 1\n", "2:1: a tab indents this line, YAML allows only spaces: replace it"),
        ("a: 1\n \tb: 2\n", "2:2: a tab indents this line, YAML allows only spaces: replace it"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document ('---') is not allowed"),
        ("a: b: c\n", "1:5: a ':' is not allowed here: put a value that holds ': ' in quotes"),
        ("a: @x\n", "1:4: a value cannot begin with '@': put it in quotes"),
        ("a: *x\n", "1:4: the alias *x has no anchor before it"),
        ("a: &x [*x]\n", "1:8: the alias *x is inside what it stands for"),
        ("é: \x01\n", "1:4: the character U+0001 is not allowed"),
        ("a: !env HOME\n", "1:4: the tag !env is not supported"),
        ("a: !!int x\n", "1:4: 'x' is not what the tag !!int says"),
        ("{a: 1}: 2\n", "1:1: a key must be plain text"),
        ("<<: 3\n", "1:1: '<<' takes a mapping or a list of mappings"),
        ("a: 1e999\n", "1:4: the number 1e999 is too large"),
        (f"a: {'9' * 5000}\n", "1:4: the number 99999999999999999999 is too large"),
        ("[" * 100_000, "1:102: nested deeper than 100 levels"),
        (f"é: {'[' * 2_000}", "1:104: nested deeper than 100 levels"),
        (f"a:\n- {'- ' * 49}{'[' * 2_000}", "2:151: nested deeper than 100 levels"),
        (f"a: ['[[', {'{' * 2_000}", "1:110: nested deeper than 100 levels"),
        ("- " * 2_000, "1:203: nested deeper than 100 levels"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_broken_file_says_where_and_what_to_do(text: str, message: str) -> None:
    assert [f"f.yaml:{message}"] == said(text)


def test_a_mistake_after_many_brackets_is_told_as_what_it_is() -> None:
    (message,) = said(f"a: '{'[' * 2_000}'\nb: {'[' * 99}1{']' * 99}\nc: [{'[], ' * 900}}}\n")

    assert message.startswith("f.yaml:3:")
    assert "nested" not in message


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "0o" + "7" * 5000, "9" * 400])
def test_a_number_of_thousands_of_digits_is_refused_in_any_base(number: str) -> None:
    assert [f"f.yaml:1:4: the number {number[:20]} is too large"] == said(f"a: {number}\n")


def test_every_repeated_key_is_named_with_both_lines() -> None:
    assert [
        "f.yaml:3:1: the key 'a' is here twice, first in line 1",
        "f.yaml:4:1: the key 'b' is here twice, first in line 2",
    ] == said("a: 1\nb: 2\na: 3\nb: 4\n")


def test_alias_bomb_ends_quickly() -> None:
    """Ten levels of ten aliases each would be ten thousand million values."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10)]

    (message,) = said("\n".join(lines))

    assert message.endswith("aliases stand for more than 1,000,000 values")


def test_anchors_and_merge_keys_share_values() -> None:
    doc = document.loads(
        "base: &base {x: 1, y: 2}\nmore: &more {z: 3, x: 0}\n"
        "one: {<<: *base, y: 5}\nboth: {<<: [*base, *more]}\nsame: *base\n",
        "f.yaml",
    )

    assert {"x": 1, "y": 5} == doc.data["one"]
    assert {"x": 1, "y": 2, "z": 3} == doc.data["both"]
    assert {"x": 1, "y": 2} == doc.data["same"]
    assert (1, 14) == doc.place(("one", "x"))


def test_keys_are_strings_as_written() -> None:
    data = document.loads("on: 1\n12: 2\nnull: 3\n1.0: 4\n", "f.yaml").data

    assert ["on", "12", "null", "1.0"] == list(data)


def test_place_of_a_key_an_item_and_what_is_missing() -> None:
    doc = document.loads("# first\na:\n  - x\n  - {b: 1, c: 2}\n", "f.yaml")

    assert (2, 1) == doc.place(())
    assert (2, 1) == doc.place(("a",))
    assert (3, 5) == doc.place(("a", 0))
    assert (4, 12) == doc.place(("a", 1, "c"))
    assert (4, 5) == doc.place(("a", 1, "missing", "deeper"))


def test_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("a: 1\nb: ä".encode("latin-1"))

    with pytest.raises(ProblemsError, match=r"f\.yaml:2:4: not UTF-8: byte 0xe4") as caught:
        document.load(path)

    assert caught.value.exit_code == 2


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert {"a": 1} == document.load(path).data


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        document.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        document.load(tmp_path)


def test_fifo_that_nobody_writes_to_is_empty_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    os.mkfifo(path)

    with pytest.raises(ProblemsError, match="empty"):
        document.load(path)


def test_toml_is_read_without_places() -> None:
    doc = document.loads('[defaults]\nmem = "2G"\n', "resources.toml")

    assert {"defaults": {"mem": "2G"}} == doc.data
    assert (0, 0) == doc.place(("defaults", "mem"))
    assert "resources.toml: in defaults: no" == str(doc.problem(("defaults", "mem"), "no"))
    assert said("a = ", "f.toml")[0].startswith("f.toml: not TOML: ")


def test_all_mistakes_come_at_once_in_order_of_place() -> None:
    doc = document.loads("targets:\n  a: {base_path: 3, netwrok: true}\n  b: {}\n", "t.yaml")

    assert [
        "t.yaml:2:7: base_path: 3 is a whole number, wanted a string like /scratch/me/repx",
        "t.yaml:2:21: unknown key 'netwrok', did you mean 'network'?",
        "t.yaml:3:3: b: the key 'base_path' is missing",
    ] == [str(problem) for problem in document.problems(doc, SCHEMA)]


def test_valid_file_is_remembered_by_content_and_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validator takes 0.1 s to import, so an unchanged file does without."""
    file = tmp_path / "t.yaml"
    file.write_text(GOOD)
    document.load_valid(file, SCHEMA, cache=tmp_path)
    monkeypatch.setattr(document, "problems", lambda doc, _: [doc.problem((), "looked")])

    document.load_valid(file, SCHEMA, cache=tmp_path)

    with pytest.raises(ProblemsError, match="looked"):
        document.load_valid(file, "resources.schema.json", cache=tmp_path)
    file.write_text(f"{GOOD}\n")
    with pytest.raises(ProblemsError, match="looked"):
        document.load_valid(file, SCHEMA, cache=tmp_path)


def test_valid_file_is_not_parsed_again_but_its_places_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    first = document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path)
    monkeypatch.setattr(document, "loads", lambda *_: pytest.fail("parsed again"))

    again = document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path)

    assert (again.data, again.text, again.file) == (first.data, first.text, first.file)
    for pointer in ((), ("targets",), ("targets", "a"), ("targets", "a", "no", "such")):
        assert again.place(pointer) == first.place(pointer) != (0, 0)
    assert str(again.problem(("targets",), "why")) == str(first.problem(("targets",), "why"))


def test_file_that_aliases_blow_up_is_not_kept(tmp_path: Path) -> None:
    lines = ["a: &a0 {x: 1}"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    doc = document.loads("\n".join(lines), "t.yaml")

    document._remember(doc, tmp_path / "kept.json")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["", "{", "\xff"])
def test_cache_that_is_broken_is_passed_over(tmp_path: Path, broken: str) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    first = document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path)
    (kept,) = (tmp_path / "valid").iterdir()
    kept.write_bytes(broken.encode("latin-1"))

    assert document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path).data == first.data
    assert json.loads(kept.read_text().partition("\n")[2])["data"] == first.data


def test_cache_that_was_changed_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    first = document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path)
    (kept,) = (tmp_path / "valid").iterdir()
    kept.write_text(re.sub('"data": {', '"data": "x", "y": {', kept.read_text(), count=1))

    assert document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path).data == first.data


def test_mistakes_are_not_remembered_as_valid(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("targets: 3\n")

    for _ in range(2):
        with pytest.raises(ProblemsError, match="targets: 3 is a whole number, wanted a mapping"):
            document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path)


def test_cache_that_cannot_be_written_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)

    document.load_valid(tmp_path / "t.yaml", SCHEMA, cache=tmp_path / "t.yaml")


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(InputError, match="/dev/zero is larger than 64 MiB"):
        document.load(Path("/dev/zero"))
