"""The store paths that a text refers to, as Nix tells them to a build (exportReferencesGraph)."""

from __future__ import annotations


def read(path: str) -> list[str]:
    """Return every path of a closure but the text itself, by name.

    The file has for each path: the path, its deriver (an empty line), the number of its
    references, and these.
    """
    with open(path, encoding="utf-8") as stream:
        lines = iter(stream.read().splitlines())
    needs: dict[str, list[str]] = {}
    for line in lines:
        next(lines)
        needs[line] = [next(lines) for _ in range(int(next(lines)))]
    needed = {need for name, found in needs.items() for need in found if need != name}
    return sorted(name for name in needs if name in needed)
