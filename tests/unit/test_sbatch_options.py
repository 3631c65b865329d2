"""Options of sbatch, read as sbatch reads them: every spelling, and who may set what."""

from __future__ import annotations

import pytest

from repx.config import sbatch
from repx.config.sbatch import By, Takes
from repx.errors import InputError


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["--account=x"], [("account", "x")]),
        (["--account x"], [("account", "x")]),
        (["--account", "x"], [("account", "x")]),
        (["-A x"], [("account", "x")]),
        (["-A", "x"], [("account", "x")]),
        (["-Ax"], [("account", "x")]),
        (["--acco=x"], [("account", "x")]),
        (["--account="], [("account", "")]),
        (["--account='x y'"], [("account", "x y")]),
        (["'--account=x y'"], [("account", "x y")]),
        (["--account=x --qos=y"], [("account", "x"), ("qos", "y")]),
        (["--account", "--qos=y"], [("account", "--qos=y")]),
        (["-A--hold"], [("account", "--hold")]),
        (["--constraint=a&b|c"], [("constraint", "a&b|c")]),
        (["--exclusive"], [("exclusive", None)]),
        (["--exclusive=user"], [("exclusive", "user")]),
        (["--exclusive", "-p", "a"], [("exclusive", None), ("partition", "a")]),
        (["--nice=-5"], [("nice", "-5")]),
        (["-k"], [("no-kill", None)]),
        (["-koff"], [("no-kill", "off")]),
        (["-Osp main"], [("overcommit", None), ("oversubscribe", None), ("partition", "main")]),
        (["--mem=4G"], [("mem", "4G")]),
        (["--mem-per-c", "4G"], [("mem-per-cpu", "4G")]),
        (["", "  "], []),
        ([], []),
    ],
)
def test_every_spelling_is_read(texts: list[str], found: list[tuple[str, str | None]]) -> None:
    assert found == list(sbatch.read(texts))


@pytest.mark.parametrize(
    "texts",
    [
        ["--output=/etc/x"],
        ["--output /etc/x"],
        ["--output", "/etc/x"],
        ["--outp=/etc/x"],
        ["-o/etc/x"],
        ["-o /etc/x"],
        ["-o=/etc/x"],
        ["'-o/etc/x'"],
        ["-O'o'/etc/x"],
        ["-Oo", "/etc/x"],
        ["--account=x --output=y"],
        ["--account x", "-oy"],
        ["-p main -o y"],
        ["--exclusive", "-oy"],
        ["--exclusive", "-so", "y"],
        ["-k", "-o", "y"],
        ['--out"put=x"'],
        ["--out\\put=x"],
    ],
)
def test_a_refused_option_is_seen_through_every_spelling(texts: list[str]) -> None:
    with pytest.raises(InputError, match=r" sets --output, which repx sets itself"):
        list(sbatch.read(texts))


@pytest.mark.parametrize("option", [each for each in sbatch.OPTIONS if each.by is not By.ANYBODY])
def test_what_a_lab_may_not_set_is_refused_in_every_form(option: sbatch.Option) -> None:
    value = "" if option.takes is Takes.NOTHING else "x"
    words = [f"--{option.name}" + (f"={value}" if value else "")]
    words += [f"-{option.short}{value}"] if option.short else []
    shortest = next(
        option.name[:size]
        for size in range(1, len(option.name) + 1)
        if sbatch.matching(option.name[:size]) == (option,)
    )
    words.append(f"--{shortest}" + (f"={value}" if value else ""))
    for word in words:
        with pytest.raises(InputError, match=f" sets --{option.name}, which") as caught:
            list(sbatch.read(["-p main", word]))
        assert f"remove {word} from sbatch_opts" in str(caught.value.hint)


def test_what_needs_refusal_is_refused() -> None:
    """The kinds that the issue names: files, arrays, dependencies, scripts, other users."""
    refused = {each.name for each in sbatch.OPTIONS if each.by is not By.ANYBODY}

    assert refused >= {
        *("output", "error", "input", "chdir", "open-mode", "bbf", "nodefile", "export-file"),
        *("array", "dependency", "wrap", "export", "hold", "comment", "job-name", "parsable"),
        *("test-only", "wait", "uid", "gid", "clusters", "cluster", "container", "help", "quiet"),
    }


@pytest.mark.parametrize(
    "texts", [["job.sh"], ["--exclusive", "x"], ["-"], [":"], ["--exclusive ''"]]
)
def test_another_script_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="as a script to run"):
        list(sbatch.read(texts))


@pytest.mark.parametrize("texts", [["--"], ["--", "job.sh"], ["-p main -- job.sh"]])
def test_the_end_of_options_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="'--' is not an option"):
        list(sbatch.read(texts))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("--acount=x", "sbatch has no option --acount", "did you mean '--account'?"),
        ("--cpus_per_task=2", "no option --cpus_per_task", "did you mean '--cpus-per-task'?"),
        ("--pyxis-image=x", "no option --pyxis-image", "below `slurm: options:` of the target"),
        ("--=x", "no option --", "sbatch --help"),
        ("-Z", "no option -Z", "sbatch --help"),
        ("-OZ", "no option -Z in '-OZ'", "sbatch --help"),
        ("--e=x", "--e is short for several", "--error, --exclude, --exclusive, --export"),
        ("--account", "--account has no value", "write --account=VALUE"),
        ("-A", "--account has no value", "write --account=VALUE"),
        ("--contiguous=yes", "--contiguous takes no value", "write --contiguous"),
        ("--account='x", "No closing quotation", "as in a shell's command"),
    ],
)
def test_what_sbatch_would_not_understand_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        list(sbatch.read([text]))

    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_names_are_told_once_and_in_order() -> None:
    names = [each.name for each in sbatch.OPTIONS]
    shorts = [each.short for each in sbatch.OPTIONS if each.short]

    assert names == sorted(set(names))
    assert len(shorts) == len(set(shorts))


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("--time=soon", "--time=90 (minutes)"),
        ("-t 1:2:3:4", "--time=90 (minutes)"),
        ("--time=" + "9" * 500, "--time=90 (minutes)"),
        ("--mem=4X", "--mem=4G"),
        ("--mem=-1", "--mem=4G"),
        ("--mem=1.5G", "--mem=4G"),
        ("--mem-per-cpu=", "--mem-per-cpu=4G"),
        ("--priority=-5", "--priority=1000"),
        ("--nice=low", "--nice=100"),
        ("-c two", "--cpus-per-task=4"),
        ("-c0", "--cpus-per-task=4"),
        ("-N 2-", "--nodes=2 or 2-4"),
        ("--gpus='2 4'", "--gpus=2 or a100:2"),
        ("--switches=1@soon", "--switches=1 or 1@30:00"),
        ("--account='a\nb'", "on one line"),
        ("--account='a\tb'", "on one line"),
        ("--account=" + "x" * 2000, "up to 1000 characters"),
    ],
)
def test_a_value_that_sbatch_does_not_understand_is_refused(text: str, like: str) -> None:
    with pytest.raises(InputError) as caught:
        list(sbatch.read([text]))

    assert like in str(caught.value.hint)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        *("--time=90", "--time=01:30:00", "--time=2-12", "--time=2-12:00:00", "--time=unlimited"),
        *("--mem=0", "--mem=4096", "--mem=4G", "--mem=4gb", "--tmp=10G", "--nice", "--nice=-5"),
        *("--nodes=1", "--nodes=2-4", "--nodes=1k-2k", "--gpus=2", "--gpus=a100:2,v100:1"),
        *("--priority=TOP", "--switches=1@01:00:00", "-B 2:4:*", "--extra-node-info=2"),
    ],
)
def test_what_sbatch_understands_is_taken(text: str) -> None:
    assert 1 == len(list(sbatch.read([text])))
