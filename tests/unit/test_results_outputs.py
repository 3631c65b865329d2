"""What jobs left in the store is loaded, and told in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from repx.errors import InputError
from repx.places.tree import Tree
from repx_py import Lab
from tests.analysed import CALC_2_5, MARKER, TARGETS, end

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(labs: Path, tmp_path: Path) -> Lab:
    return Lab.from_path(labs / "sweep", store=tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, as a user without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", '{"x": [1, null]}', {"x": [1, None]}),
        ("a.txt", "é\n", "é\n"),
        ("A.MD", "# t", "# t"),
    ],
)
def test_outputs_are_loaded_by_suffix(lab: Lab, name: str, content: str, expected: object) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / name).write_text(content)

    assert job.load(name) == expected


def test_tables_and_arrays_are_loaded(lab: Lab) -> None:
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / "result.csv").write_text("label,value\nfive,1000\n")
    (job.path / "result.tsv").write_text("label\tvalue\nfive\t1000\n")
    numpy.save(job.path / "array.npy", [1, 2])

    assert job.load("result")["value"].tolist() == [1000]
    assert job.load("result.tsv")["value"].tolist() == [1000]
    assert job.load_csv("result", usecols=["label"]).columns.tolist() == ["label"]
    assert job.load_rows("result") == [{"label": "five", "value": "1000"}]
    assert job.load_rows("result.tsv") == [{"label": "five", "value": "1000"}]
    assert job.load("array.npy").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("empty.json", b"", "the file is empty"),
        ("empty.npy", b"", "the file is empty"),
        ("cut.json", b'{"a": ', "not a readable json file: Expecting value: line 1 column 7"),
        ("cut.npy", b"\x93NUMPY\x01\0v", "not a readable npy file"),
        ("text.npy", b"1,2", "not a readable npy file"),
        ("quote.csv", b'a,b\n1,"2\n', "not a readable csv file"),
        ("latin.txt", b"caf\xe9\n", "not utf-8: invalid continuation byte 0xe9 at byte 3"),
        ("latin.csv", b"a\ncaf\xe9\n", "not utf-8"),
        ("latin.json", b'"caf\xe9"', "not utf-8"),
        ("utf16.txt", "é".encode("utf-16"), "not utf-8"),
    ],
)
def test_file_that_cannot_be_read_is_named_with_its_job(
    lab: Lab, name: str, content: bytes, said: str
) -> None:
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "SUCCESS")
    path = lab.job(CALC_2_5).path / name
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"job 1a3w5namblrp-calc-1\.0: ") as caught:
        lab.job(CALC_2_5).load(name)

    assert isinstance(caught.value, InputError)
    assert f"{path}: {said}" in caught.value.message
    assert caught.value.hint is not None


def test_a_folder_in_the_place_of_a_file_is_named_with_its_job(lab: Lab) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / "dir.csv").mkdir()

    for load in (job.load, job.load_rows, job.load_text, job.load_json):
        with pytest.raises(InputError, match=r"calc-1\.0: .*/dir\.csv: Is a directory"):
            load("dir.csv")


def test_rows_of_a_file_that_cannot_be_read_name_it(lab: Lab) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / "empty.csv").touch()
    (job.path / "latin.csv").write_bytes(b"a\ncaf\xe9\n")
    (job.path / "long.csv").write_text("a\n" + "x" * 200_000)

    for name in ("empty.csv", "latin.csv", "long.csv"):
        with pytest.raises(InputError, match=name):
            job.load_rows(name)


def test_encoding_can_be_named(lab: Lab) -> None:
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / "a.csv").write_bytes(b"a\ncaf\xe9\n")
    (job.path / "a.json").write_bytes(b'"caf\xe9"')

    assert job.load_rows("a.csv", encoding="latin-1") == [{"a": "café"}]
    assert job.load_csv("a.csv", encoding="latin-1").a.tolist() == ["café"]
    assert job.load_text("a.csv", encoding="latin-1") == "a\ncafé\n"
    assert job.load("a.json", encoding="latin-1") == "café"


def test_byte_order_mark_is_no_part_of_the_content(lab: Lab) -> None:
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    (job.path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")

    assert list(job.load_rows("a.csv")[0]) == list(job.load_csv("a.csv").columns) == ["a", "b"]
    assert job.load("a.json") == [1]
    assert job.load_text("a.json") == "[1]"


def test_file_without_loader_is_refused(lab: Lab) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    (lab.job(CALC_2_5).path / "a.bin").touch()

    with pytest.raises(InputError, match=r"no loader for '\.bin' files"):
        lab.job(CALC_2_5).load("a.bin")


def test_missing_output_tells_why(lab: Lab) -> None:
    with pytest.raises(InputError, match=r"job 1a3w5namblrp-calc-1.0 has not ended"):
        lab.job(CALC_2_5).load("result")
    end(lab, CALC_2_5, "FAIL", MARKER)
    with pytest.raises(InputError, match="failed: exit 3"):
        lab.job(CALC_2_5).load("result")
    with pytest.raises(InputError, match="has no output 'resutl'") as unknown:
        lab.job(CALC_2_5).load("resutl")

    assert unknown.value.hint == "did you mean 'result'?"


@pytest.mark.parametrize(
    ("marker", "verb"),
    [(None, "run"), ("FAIL", "log --stderr"), ("SUCCESS", "run --force --remake")],
)
def test_missing_output_names_the_command_that_helps(
    labs: Path, home: Path, marker: str | None, verb: str
) -> None:
    """It names Lab and target where the command would not find them without."""
    (home / "targets.yaml").write_text(TARGETS.replace("/elsewhere", str(home / "there")))
    (home / "a b").symlink_to(labs / "sweep")
    there = Lab.from_path(home / "a b", target="there")
    (home / "result").symlink_to(labs / "sweep")
    here = Lab.from_path()
    (home / "other").mkdir()
    for lab in (here, there):
        if marker is not None:
            end(lab, CALC_2_5, marker)

    def hint(lab: Lab) -> str | None:
        with pytest.raises(InputError) as caught:
            lab.job(CALC_2_5).output("result")
        return caught.value.hint

    assert hint(here) == f"repx {verb} {CALC_2_5[:12]}"
    assert hint(there) == f"repx {verb} --target there {CALC_2_5[:12]}"
    (home / "result").unlink()
    assert hint(here) == f"repx {verb} -l {labs / 'sweep'} {CALC_2_5[:12]}"


def test_output_missing_in_a_copy_of_the_store_has_to_be_copied(lab: Lab, home: Path) -> None:
    end(lab, CALC_2_5, "SUCCESS")

    with pytest.raises(InputError, match="missing") as caught:
        lab.job(CALC_2_5).output("result")

    assert caught.value.hint == f"copy outputs/{CALC_2_5} to {home} from the store where it ran"


def test_missing_library_names_the_extra(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)

    with pytest.raises(InputError, match="a table of jobs needs pandas") as caught:
        lab.jobs().to_dataframe()

    assert caught.value.hint == "pip install 'repx-hpc[analysis]'"


def test_table_has_status_timings_and_parameters(lab: Lab) -> None:
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "FAIL", MARKER)

    table = lab.jobs(stage="calc").to_dataframe()

    assert table.index.name == "job_id"
    assert table.columns.tolist() == [
        *("name", "stage", "run", "status", "duration_s", "cpu_s", "start", "reason"),
        *("seed", "factor", "label"),
    ]
    row = table.loc[CALC_2_5]
    assert (row.status, row.duration_s, row.cpu_s, row.reason) == ("failed", 2.5, 0.25, "exit 3")
    assert row.start.isoformat() == "1970-01-01T00:01:40+00:00"
    assert table.dtypes[["duration_s", "cpu_s"]].tolist() == ["float64", "float64"]
    assert (row.run, row.seed, row.label) == ("sweep-run", 2, "five")
    assert (table.status == "pending").sum() == 5


def test_table_asks_the_store_once_for_all_jobs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question per job takes 100,000 of them a minute."""
    pytest.importorskip("pandas")
    for job in lab.jobs():
        end(lab, job.id, "SUCCESS", MARKER)
    asked: list[str] = []
    for verb in ("names", "markers", "read_many", "kinds", "locked", "glob"):
        real = getattr(Tree, verb)

        def counted(self: Tree, *words: Any, verb: str = verb, real: Any = real) -> Any:  # noqa: ANN401
            asked.append(verb)
            return real(self, *words)

        monkeypatch.setattr(Tree, verb, counted)

    lab.jobs().to_dataframe()
    lab.jobs(status="succeeded")
    lab.graph()

    # The last of each is the list of forced runs, because of which jobs may be stale.
    table, others = ["names", "markers", "read_many", "names"], ["names", "markers", "names"]
    assert asked == [*table, *others * 2]


def test_empty_selection_is_an_empty_table(lab: Lab) -> None:
    pytest.importorskip("pandas")

    assert lab.jobs(seed=True).to_dataframe().empty
