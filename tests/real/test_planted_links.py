"""A link planted anywhere that the runner or a job file writes leads nothing out of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.real.folders import HEADER, TOUCH, Folder, MakeFolder, Work, ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

WORKS: Final = {
    "plain": Work(),
    "spread": Work(
        scatter=f'{HEADER}echo "[1]" >"$out/work_items.json"\n',
        steps={"one": (f"{HEADER}{TOUCH}", ())},
        body=f"{HEADER}{TOUCH}",
    ),
}
KEPT: Final = "mine\n"


def _written(made: Folder) -> list[Path]:
    """Return every path that a run writes, folders as well as files, relative to the store."""
    files = [made.path / name for name in ("events.jsonl", "agent.log", "agent.lock")]
    found = [made.base / "outputs", *files, *made.base.glob("outputs/**/*")]
    logs = [path.with_suffix(".log.1") for path in found if path.name.startswith("std")]
    return sorted(path.relative_to(made.base) for path in (*found, *logs))


def _plant(made: Folder, path: Path, victim: Path, *, is_folder: bool) -> None:
    if is_folder:
        (victim / "repx").mkdir(parents=True)
        (victim / "repx/SUCCESS.kept").write_text(KEPT)
        (victim / "kept").write_text(KEPT)
    else:
        victim.write_text(KEPT)
    place = made.base / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)


def _seen(victim: Path) -> dict[str, str]:
    files = victim.rglob("*") if victim.is_dir() else [victim]
    return {str(path): path.read_text() if path.is_file() else "" for path in files}


@pytest.mark.parametrize("by_hand", [False, True], ids=["runner", "bash"])
@pytest.mark.parametrize("job", WORKS)
def test_nothing_is_written_through_a_link(
    folder: MakeFolder, tmp_path: Path, job: str, *, by_hand: bool
) -> None:
    work = {job: WORKS[job]}
    first = folder(work, base=tmp_path / "first")
    assert 0 == first.agent()[0]
    for number, path in enumerate(_written(first)):
        if by_hand and path.parts[0] != "outputs":
            continue
        made = folder(work, base=tmp_path / str(number))
        victim = tmp_path / f"victim{number}"
        _plant(made, path, victim, is_folder=(first.base / path).is_dir())
        before = _seen(victim)

        ended(made.start_script(job) if by_hand else made.start_agent("--quiet"))

        assert before == _seen(victim), path
