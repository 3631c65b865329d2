"""Analyses and commands under locales of other encodings than UTF-8."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from repx.lab.build import build
from repx_py import Lab

pytestmark = pytest.mark.needs("locales")


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the locales that a machine rarely has."""
    folder = tmp_path_factory.mktemp("locales")
    for name in ("en_US.ISO-8859-1", "ja_JP.EUC-JP"):
        language, _, charset = name.partition(".")
        argv = ["localedef", "-i", language, "-f", charset, str(folder / name)]
        subprocess.run(argv, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["é.txt", "東京.txt"])
@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1", "ja_JP.EUC-JP", "C.UTF-8"])
def test_output_is_found_in_any_locale(
    tmp_path: Path, locales: Path, name: str, locale: str
) -> None:
    """Jobs write names as they stand in the Lab, which is UTF-8."""
    (tmp_path / "lab.yaml").write_text(
        f"stages: {{s: {{outputs: {{o: $out/{name}}}, run: ':'}}}}\n"
        "pipelines: {p: [s]}\nruns: {r: {}}\n",
        encoding="utf-8",
    )
    build(tmp_path / "lab.yaml", tmp_path / "result", lambda *_: None)
    (job,) = Lab.from_path(tmp_path / "result", store=tmp_path).jobs()
    job.path.mkdir(parents=True)
    (job.path / name).write_text("found", encoding="utf-8")
    code = (
        "import sys; from repx_py import Lab\n"
        "(job,) = Lab.from_path('result', store='.').jobs()\n"
        f"print(job.load('o'), job.load({name!a}), sys.getfilesystemencoding())"
    )

    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        cwd=tmp_path,
        env={
            "LC_ALL": locale,
            "LOCPATH": str(locales),
            "PYTHONCOERCECLOCALE": "0",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.startswith("found found ")


def test_json_of_a_command_is_utf8_in_any_locale(tmp_path: Path, locales: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "stages: {s: {parameters: {p: null}, outputs: {o: $out/o}, run: ':'}}\n"
        "pipelines: {p: [s]}\nruns: {r: {parameters: {p: [é, 東京]}}}\n",
        encoding="utf-8",
    )
    build(tmp_path / "lab.yaml", tmp_path / "result", lambda *_: None)

    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "repx", "trace-params"],
        cwd=tmp_path,
        env={"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(locales), "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )

    params = json.loads(done.stdout.decode("utf-8")).values()
    assert sorted(each["p"] for each in params) == ["é", "東京"]
