"""One loader per kind of file; pandas and numpy are imported only when a file wants them."""

from __future__ import annotations

import csv
import importlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

INSTALL_HINT: Final = "pip install 'repx-hpc[analysis]'"


def optional(module: str, purpose: str) -> Any:  # noqa: ANN401  # an untyped optional module
    """Return an optional module. Raises InputError naming the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{purpose} needs {module}", hint=INSTALL_HINT) from error


def load(path: Path, **options: Any) -> Any:  # noqa: ANN401  # by suffix
    """Load a file by its suffix. Raises InputError for a suffix that has no loader."""
    loader = BY_SUFFIX.get(path.suffix.lower())
    if loader is None:
        raise InputError(
            f"no loader for '{path.suffix}' files ({path})",
            hint=f"known: {' '.join(BY_SUFFIX)}; or open the path itself, or load_text()",
        )
    return loader(path, **options)


def load_csv(path: Path, **options: Any) -> Any:  # noqa: ANN401  # a DataFrame
    """Load a table with pandas; ``options`` go to ``pandas.read_csv``."""
    pandas = optional("pandas", "reading a table")
    if path.suffix.lower() == ".tsv":
        options.setdefault("sep", "\t")
    with _naming(path):
        return pandas.read_csv(path, **options)


def load_rows(path: Path, **options: Any) -> list[dict[str, str]]:  # noqa: ANN401  # for csv
    """Load a table without pandas: one dict of strings per row; options go to ``csv``."""
    if path.suffix.lower() == ".tsv":
        options.setdefault("delimiter", "\t")
    with _naming(path), path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, **options))


def load_json(path: Path) -> Any:  # noqa: ANN401  # whatever the file holds
    """Load a JSON file."""
    with _naming(path):
        return json.loads(path.read_text(encoding="utf-8"))


def load_text(path: Path) -> str:
    """Load a file as UTF-8 text."""
    with _naming(path):
        return path.read_text(encoding="utf-8")


def load_numpy(path: Path, **options: Any) -> Any:  # noqa: ANN401  # an array or an archive of them
    """Load ``.npy`` or ``.npz``; ``options`` go to ``numpy.load``."""
    numpy = optional("numpy", "reading an array")
    with _naming(path):
        return numpy.load(path, **options)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Note the file on an error of a parser, which only knows the text."""
    try:
        yield
    except ValueError as error:
        error.add_note(f"in {path}")
        raise


BY_SUFFIX: Final[Mapping[str, Callable[..., Any]]] = {
    ".csv": load_csv,
    ".tsv": load_csv,
    ".json": load_json,
    ".npy": load_numpy,
    ".npz": load_numpy,
    ".txt": load_text,
    ".md": load_text,
    ".log": load_text,
    ".svg": load_text,
}
