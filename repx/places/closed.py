"""Submissions that have ended: moved out of sight, later packed into one file each.

Standard library only: it also runs at a place alone.
"""

import fnmatch
import os
import stat
import time
from typing import TYPE_CHECKING

from repx.places.walk import CLOSED, SUBMISSIONS, Walk, naming

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Sequence

    from repx.places.tree import Tree

RECORD = f"{CLOSED}/ended.tsv"
_ZIP = ".zip"
_QUIET_S = 60  # who follows a submission reads its last events meanwhile
_CHANGING = ("events.jsonl", "submitted.tsv", "ended", "agent.lock")
_OLDEST = (1980, 1, 1, 0, 0, 0)  # that a zip can tell
# What is still asked of a closed submission: whose logs it has, and what they say.
_ASKED = ("arrays.tsv", "submitted.tsv", "ended", "agent.log", "children/*", "logs/*")


def close(tree: "Tree", names: "Sequence[str]", record: bytes) -> "list[str]":
    """Close submissions that nothing has changed for a minute; return which.

    ``record`` is kept: how their jobs ended that left no marker.
    """
    quiet = [name for name in names if is_quiet(tree, name)]
    if not quiet:
        return []
    if record:
        tree.append(RECORD, record)
    with Walk(tree.root, tree.modes) as walk:
        for name in quiet:
            with naming(tree.path(f"{SUBMISSIONS}/{name}")):
                source = os.dup(walk.enter([SUBMISSIONS]))
                try:
                    os.rename(name, name, src_dir_fd=source, dst_dir_fd=walk.enter([CLOSED]))
                finally:
                    os.close(source)
    return quiet


def pack(tree: "Tree", limit_s: float) -> int:
    """Make one file of each closed folder, as many as the time allows; return how many."""
    end = time.monotonic() + limit_s
    packed = 0
    for name in tree.names(CLOSED):
        folder = tree.path(f"{CLOSED}/{name}")
        if name.startswith(".") or not stat.S_ISDIR(os.lstat(folder).st_mode):
            continue  # a link leads to a user's own folder
        if time.monotonic() > end:
            break
        _pack(tree, name)
        tree.remove([f"{CLOSED}/{name}"])
        packed += 1
    return packed


def tables(tree: "Tree", name: str) -> "dict[str, bytes]":
    """Return what is still asked of a closed submission, by its path there."""
    if not name.endswith(_ZIP):
        start = f"{CLOSED}/{name}/"
        keys = [key for key in tree.sizes([start[:-1]]) if _is_asked(key[len(start) :])]
        return {key[len(start) :]: content for key, content in tree.read_many(keys)[0].items()}
    import zipfile  # most looks open none

    with zipfile.ZipFile(tree.path(f"{CLOSED}/{name}")) as archive:
        return {each: archive.read(each) for each in archive.namelist() if _is_asked(each)}


def _is_asked(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in _ASKED)


def is_quiet(tree: "Tree", name: str) -> bool:
    """Tell whether nothing has happened in a submission for a minute."""
    newest = 0.0
    for each in _CHANGING:
        try:
            newest = max(newest, os.stat(tree.path(f"{SUBMISSIONS}/{name}/{each}")).st_mtime)
        except OSError:
            continue
    return newest < time.time() - _QUIET_S


def _pack(tree: "Tree", name: str) -> None:
    import zipfile

    with Walk(tree.root, tree.modes) as walk:
        beside = walk.incoming()
        temporary = f".{os.urandom(12).hex()}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, tree.mode(0o644), dir_fd=beside), "wb") as file:
            tree.settle(file.fileno(), tree.mode(0o644))
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for key in _members(tree, name):
                    _add(archive, tree.path(f"{CLOSED}/{name}/{key}"), key)
        closed = walk.enter([CLOSED])
        os.rename(temporary, f"{name}{_ZIP}", src_dir_fd=beside, dst_dir_fd=closed)


def _members(tree: "Tree", name: str) -> "Iterator[str]":
    start = f"{CLOSED}/{name}/"
    for key in tree.sizes([start[:-1]]):
        yield key[len(start) :]


def _add(archive: "zipfile.ZipFile", path: str, name: str) -> None:
    import zipfile

    there = os.lstat(path)
    if not stat.S_ISREG(there.st_mode):
        return
    member = zipfile.ZipInfo(name, max(time.localtime(there.st_mtime)[:6], _OLDEST))
    member.external_attr = (there.st_mode & 0xFFFF) << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    with open(path, "rb") as file:
        archive.writestr(member, file.read())
