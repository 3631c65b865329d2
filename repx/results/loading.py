"""One loader per kind of file; pandas and numpy are imported only when needed."""

from __future__ import annotations

import csv
import importlib
import json
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from repx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

INSTALL_HINT: Final = "pip install 'repx-hpc[analysis]'"

_TEXT: Final = "utf-8-sig"
"""UTF-8; a byte order mark, as Excel writes it, is no part of the text. pandas does the same."""


class LoadError(InputError, ValueError):
    """A file cannot be read, is empty, cut off or in another encoding."""


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


def load_rows(
    path: Path,
    *,
    encoding: str = _TEXT,
    **options: Any,  # noqa: ANN401  # for csv
) -> list[dict[str, str]]:
    """Load a table without pandas: one dict of strings per row; options go to ``csv``."""
    if path.suffix.lower() == ".tsv":
        options.setdefault("delimiter", "\t")
    with _naming(path), path.open(encoding=encoding, newline="") as file:
        reader = csv.DictReader(file, **options)
        if reader.fieldnames is None:
            raise ValueError("not even the names of columns")
        return list(reader)


def load_json(path: Path, *, encoding: str = _TEXT) -> Any:  # noqa: ANN401  # what the file holds
    """Load a JSON file."""
    with _naming(path):
        return json.loads(path.read_text(encoding=encoding))


def load_text(path: Path, *, encoding: str = _TEXT) -> str:
    """Load a file as text, by default UTF-8."""
    with _naming(path):
        return path.read_text(encoding=encoding)


def load_numpy(path: Path, **options: Any) -> Any:  # noqa: ANN401  # an array or an archive of them
    """Load ``.npy`` or ``.npz``; ``options`` go to ``numpy.load``."""
    numpy = optional("numpy", "reading an array")
    with _naming(path):
        return numpy.load(path, **options)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise LoadError, which names the file, in place of a parser's error."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a FIFO would block
        raise LoadError(f"{path}: not a file")
    try:
        yield
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, error) from error
    except (ValueError, EOFError, RecursionError, csv.Error, zipfile.BadZipFile) as error:
        is_empty = path.is_file() and path.stat().st_size == 0
        what = "the file is empty" if is_empty else f"{_shape(path)}: {error}"
        raise LoadError(f"{path}: {what}") from error
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror or error}") from error


def _shape(path: Path) -> str:
    return f"not a readable {path.suffix.lower().removeprefix('.')} file"


def _wrong_encoding(path: Path, error: UnicodeDecodeError) -> LoadError:
    guess = "utf-16" if path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    return LoadError(
        f"{path}: not {error.encoding}: {error.reason} {error.object[error.start]:#04x}"
        f" at byte {error.start}",
        hint=f'name the encoding, as in load_text("{path.name}", encoding="{guess}")',
    )


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
