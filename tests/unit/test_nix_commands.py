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
    # Commands that run others, as far as their options are known.
    ("env -i -u X A=1 nice -n 3 timeout -k 1 5s a", "env nice timeout a"),
    ("xargs -0 -n 1 -P4 a; xargs --new b; xargs", "xargs a"),
    ("find . -name x -exec a {} \\; -ok b {} +; find -exec {} \\;", "find a b"),
    ("exec -a name a; command -p b; command -V no; builtin c", "exec a command b builtin c"),
    ('time -p a; time -- b; timeout "$t" no; nohup "$x"', "a b timeout nohup"),
    # What the parser cannot read, in the ways that people write it.
    ('x="$(a && b)" || c; y=$(d || e)', "a b c d e"),
    ("while a\ndo\n  b\ndone\nuntil c # why\n\ndo d\ndone", "a b c d"),
    ("while read x <<E\nno\nE\ndo a\ndone", "read a"),
    ("if((1)); then a; fi; while((x)); do b; done; for((;;)); do c; done", "a b c"),
    ("x[0]=1; y[$(a)]+=2 b; exec {fd}<c; d 10<<E\n$(e)\nE", "a b exec d e"),
    ("case x in a) b ;& c) d ;;& *) e; esac", "b d e"),
    ("a <<'E O F'\n$(no)\nE O F\nb", "a b"),
    ("coproc NAME { a; }; echo $[1 + $(b)]", "a echo b"),
    ("echo `a \\`b\\``", "echo a b"),
    ("a=(\n  # don't ) stop\n  $(b)\n); c", "b c"),
    ("a || \\\n  { [[ x ]] && b; }", "a b"),
    ("$((1 + 1)); ${x:+no} y; $(a)", "a"),
    ('a $((1<<2)) <<<"b << c"; d', "a d"),
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


def test_a_command_has_its_line() -> None:
    lines = "x=(\n  $(a)\n)\ncase $x in\n  *) b ;;\nesac\ncat <<EOF\n$(c)\nEOF\nd"

    assert {"a": 2, "b": 5, "c": 8, "d": 10}.items() <= dict(commands.words(lines)).items()


@pytest.mark.parametrize("lines", ["$(" * 3000 + ")" * 3000, "{ " * 3000 + "a; " + "};" * 3000])
def test_what_is_nested_too_deeply_is_told(lines: str) -> None:
    with pytest.raises(commands.NotUnderstoodError, match="nested too deeply"):
        commands.words(lines)


def test_what_the_parser_cannot_read_is_told_with_its_line() -> None:
    with pytest.raises(commands.NotUnderstoodError) as caught:
        commands.words("a\nb )\n")

    assert caught.value.line == 2
