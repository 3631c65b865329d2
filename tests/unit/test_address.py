"""How addresses are written: what ssh is given, and what it could not take."""

from __future__ import annotations

import pytest

from repx import address


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("cluster", ("--", "cluster")),
        ("me@login.example.org", ("--", "me@login.example.org")),
        ("me@home.org@login", ("--", "me@home.org@login")),
        ("DOM\\me@login", ("--", "DOM\\me@login")),
        ("::1", ("--", "::1")),
        ("me@fe80::1%eth0", ("--", "me@fe80::1%eth0")),
        ("ssh://me@login:2222", ("--", "ssh://me@login:2222")),
        ("ssh://me@home.org@login:2222/", ("--", "ssh://me@home.org@login:2222/")),
        ("[::1]", ("--", "::1")),
        ("me@[::1]", ("--", "me@::1")),
        ("[fe80::1%eth0]:22", ("-p", "22", "--", "fe80::1%eth0")),
        ("ssh://me@[::1]:2222", ("-p", "2222", "--", "me@::1")),
        ("ssh://[2001:db8::1]/", ("--", "2001:db8::1")),
    ],
)
def test_what_ssh_is_given(written: str, given: tuple[str, ...]) -> None:
    assert not address.problem(written)
    assert given == address.destination(written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("me@login:2222", "for a port, write ssh://me@login:2222"),
        ("me@login:~/store", "write me@login here; the folder is base_path"),
        ("me@login:/scratch", "write me@login here; the folder is base_path"),
        ("login:", "write login here; the folder is base_path"),
        ("ssh://me@login/scratch", "the folder is base_path"),
        ("ssh://me@login:port", "ssh takes ssh://USER@HOST:PORT"),
        ("sftp://me@login", "ssh takes ssh://USER@HOST:PORT"),
        ("ssh://", "ssh takes ssh://USER@HOST:PORT"),
        ("ssh://login:99999", "99999 is no port"),
        ("[::1]:0", "0 is no port"),
    ],
)
def test_what_ssh_cannot_take_says_how_to_write_it(written: str, why: str) -> None:
    assert why in address.problem(written)
