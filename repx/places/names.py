"""Further names for what is there: symbolic links, and hard ones. Standard library only."""

import os
from typing import TYPE_CHECKING

from repx.places.walk import Walk, link_at, naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.places.tree import Tree


def link_many(tree: "Tree", links: "Mapping[str, str]") -> int:
    """Make symbolic links by key, those that are not there yet; return how many."""
    made = 0
    with Walk(tree.root, tree.modes) as walk:
        for key, to in links.items():
            *folders, name = key.split("/")
            with naming(tree.path(key)):
                into = walk.enter(folders)
                if link_at(name, into) == to:
                    continue
                temporary = _temporary()
                os.symlink(to, temporary, dir_fd=into)
                os.rename(temporary, name, src_dir_fd=into, dst_dir_fd=into)
                made += 1
    return made


def name_many(tree: "Tree", known: "Mapping[str, str]") -> None:
    """Give the files that the values name the keys as further names.

    Where there can be no hard link (another owner, or a file system without), they are copied.
    """
    unlinked = {}
    with Walk(tree.root, tree.modes) as walk, Walk(tree.root, None) as source:
        for key, old in known.items():
            *folders, name = key.split("/")
            *away, last = old.split("/")
            with naming(tree.path(key)):
                into = walk.enter(folders)
                if not _named(source.enter(away, make=False), last, into, name):
                    unlinked[key] = old
    for key, old in unlinked.items():
        path = tree.path(old)
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as content:
            mode = os.fstat(content.fileno()).st_mode & 0o777
            tree.write_many([(key, mode, content, "")])


def _named(source: int, old: str, into: int, name: str) -> bool:
    """Make a hard link in the place of what has its name; return whether that was possible."""
    there = os.lstat(old, dir_fd=source)
    try:
        if os.path.samestat(there, os.lstat(name, dir_fd=into)):
            return True  # renaming a file to itself would leave both names
    except FileNotFoundError:
        pass
    temporary = _temporary()
    try:
        os.link(old, temporary, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
    except OSError:
        return False
    os.rename(temporary, name, src_dir_fd=into, dst_dir_fd=into)
    return True


def _temporary() -> str:
    return f".{os.urandom(12).hex()}.part"
