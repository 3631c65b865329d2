"""The commands in a script, whatever bash it is written in."""

from __future__ import annotations

from typing import Final

import pytest

from nix.builder import commands, plain

# What is written, and the commands in it that are called there.
CASES: Final = [
    ("a | b |& c && d || e; f & wait", "a b c d e f wait"),
    ("if [[ -f $x && $(a) == b* ]]; then c; elif ((x > 1)); then d; else e; fi", "a c d e"),
    ("[[ $a =~ ^[a-z]+(x|y)$ ]] && b", "b"),
    ('case $x in a | "b c") c ;; (*) d ;; esac | e', "c d e"),
    ("case $(a) in\n  # which\n  x) ;;\n  y)\n    b\n    ;;&\n  *) c\nesac\nd", "a b c d"),
    ("case $x in a) case $y in b) c ;; esac ;; esac; d", "c d"),
    ("for ((i = 0; i < $(a); i++)); do b; done", "a b"),
    ("for i in $(a) x; do b; done; select z in p q; do c; done", "a b c"),
    ("while read -r l; do a; done < <(b); until c; do d; done", "read a b c d"),
    ("x=$((1 + $(a))); y=(1 $(b) [k]=$(c)); y+=($(d)); e", "a b c d e"),
    ('local -A m=([a]=$(b)); c "${m[$(d)]}" "${x:-$(e)}"', "local b c d e"),
    ("f() { a; }; function g { b; }; f; g; c", "a b c"),
    ("a <<EOF | b\nno $(c) `d` ${x:-$(e)} \\$(no)\nEOF\nf", "a b c d e f"),
    ("a <<'EOF'\nno $(no) ' \"\nEOF\nb", "a b"),
    ("a <<-EOF; b <<X\n\tno\n\tEOF\nno\nX\nc", "a b c"),
    ('a <<<"$(b)"; { c; }; (d); ! e; time f; coproc g', "a b c d e f g"),
    ("echo \"$(a \"$(b)\") `c` $((x + 1))\" '$(no)' $'it\\'s' # $(no) no", "echo a b c"),
    ("exec a b; command c; env X=1 d; nohup e; command -v f", "exec a command c env d nohup e"),
    ('"$x" a; $y b; /abs/c; X=1 d', "/abs/c d"),
    ("ls !(a|b) @(c).txt; d", "ls d"),
    ("a \\\n  b # c\nd;#no\ne", "a d e"),
    ("diff <(a) >(b) &> c 2>&1", "diff a b"),
    ("", ""),
    ("# only a comment", ""),
]


@pytest.mark.parametrize(("lines", "called"), CASES, ids=[each[0][:40] for each in CASES])
def test_every_called_command_is_found(lines: str, called: str) -> None:
    fillers = {"true", ":"}
    found = [word for word, _ in commands.words(lines) if word not in fillers]

    assert sorted(called.split()) == sorted({*found})


@pytest.mark.parametrize("lines", [each[0] for each in CASES])
def test_places_stay_what_they_were(lines: str) -> None:
    made = plain.plain(lines).text

    assert len(lines) == len(made)
    assert lines.count("\n") <= made.count("\n")


def test_a_command_has_its_line() -> None:
    lines = "x=(\n  $(a)\n)\ncase $x in\n  *) b ;;\nesac\ncat <<EOF\n$(c)\nEOF\nd"

    assert {"a": 2, "b": 5, "c": 8, "d": 10}.items() <= dict(commands.words(lines)).items()


def test_what_the_parser_cannot_read_is_told_with_its_line() -> None:
    with pytest.raises(commands.NotUnderstoodError) as caught:
        commands.words("a\nb )\n")

    assert caught.value.line == 2
