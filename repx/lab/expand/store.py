"""The entries of a Lab's store: content-addressed files and folders."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_LABEL = 100
_CHUNK_BYTES = 1 << 20


def plain_label(text: str) -> str:
    """Return the readable part of a store entry's name."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)[-LONGEST_LABEL:]


def store_name(source: Mapping[str, Any]) -> str:
    """Return the name below ``store/``: 32 hex digits of the content's sha256, then a label."""
    label = plain_label(source["label"])
    if "tree" not in source:
        return f"{sha256_of(source)[:32]}-{label}"
    tree = source["tree"]
    return f"{tree_digest({name: sha256_of(tree[name]) for name in tree}, tree)[:32]}-{label}"


def tree_digest(digests: Mapping[str, str], tree: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one digest of a folder's names, contents and execute permissions."""
    lines = (f"{bool(tree[name].get('executable'))} {name}\0{digests[name]}\n" for name in digests)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def chunks(source: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the content of a text or of a file, piece by piece."""
    if "text" in source:
        yield source["text"].encode()
        return
    with open(source["path"], "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def sha256_of(source: Mapping[str, Any]) -> str:
    """Return the sha256 of a text or of a file, computed unless already known."""
    if "sha256" in source:
        return str(source["sha256"])
    digest = hashlib.sha256()
    for chunk in chunks(source):
        digest.update(chunk)
    return digest.hexdigest()
