"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = dict(re.findall(r"```(yaml|console|python)\n(.*?)```", README, flags=re.DOTALL))


def normal(text: str) -> str:
    """Leave out what differs each time: Lab, submission and store."""
    text = re.sub(r"Lab [0-9a-z]{12}", "Lab ID", text)
    text = re.sub(r"submission \S+", "submission ID", text)
    return re.sub(r"outputs are in .*", "outputs are in STORE", text)


def progress(line: str) -> bool:
    """Return whether a line only says how it goes; the README leaves these out."""
    return (
        not line or line.startswith(("sent ", "  ok ")) or line.endswith((" waiting", " running"))
    )


def test_the_commands_give_the_output_shown_and_python_reads_the_results(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(BLOCKS["yaml"])
    bin_folder = Path(sys.executable).parent
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for shown in BLOCKS["console"].removeprefix("$ ").split("\n$ "):
        command, *expected = shown.strip().splitlines()
        done = subprocess.run(
            command.split(),
            cwd=tmp_path,
            env=env,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        said = [line for line in done.stdout.splitlines() if not progress(line)]
        assert normal("\n".join(said)) == normal("\n".join(expected))

    done = subprocess.run(
        [sys.executable, "-c", BLOCKS["python"]],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    seeds = [line.split()[0] for line in done.stdout.splitlines()]
    assert sorted(seeds) == ["1", "2", "3"]
