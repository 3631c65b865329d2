"""Write the tables of keys in the pages of this folder from the schemas, so they stay true.

python docs/reference.py            writes them
python docs/reference.py --check    exits 1 when a page is not what it would write
"""  # noqa: INP001  # a script, not a package

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parent
SCHEMAS: Final = DOCS.parent / "schemas"
MARKED: Final = re.compile(
    r"(<!-- keys of (?P<schema>[\w.]+)#(?P<place>\S*) -->\n).*?(<!-- end -->)", re.DOTALL
)
KINDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


def table(schema: str, place: str) -> Iterator[str]:
    """Yield the lines of one table: the properties at a place of a schema."""
    yield "| Key | Value | What it says |"
    yield "|---|---|---|"
    for name, entry in at(f"{schema}#{place}")["properties"].items():
        said = meaning(entry)
        text = said["description"].replace("|", "\\|")
        default = f" Default: `{json.dumps(said['default'])}`." if "default" in said else ""
        yield f"| `{name}` | {kind(entry)} | {text}{default} |"


def at(reference: str) -> Any:  # noqa: ANN401  # JSON
    """Return the part of a schema that a reference names, its own references made whole."""
    schema, _, place = reference.partition("#")
    text = (SCHEMAS / schema).read_text(encoding="utf-8")
    part = json.loads(text.replace('"$ref": "#', f'"$ref": "{schema}#'))
    for step in filter(None, place.split("/")):
        part = part[step]
    return part


def meaning(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with what it refers to; its own words come first."""
    return (meaning(at(entry["$ref"])) if "$ref" in entry else {}) | dict(entry)


def kind(entry: Mapping[str, Any]) -> str:
    """Return in words what an entry may be."""
    said = meaning(entry)
    if "enum" in said:
        return " ".join(f"`{value}`" for value in said["enum"])
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(kind(each) for each in said["anyOf"]))
    if "examples" in said:
        return " ".join(f"`{value}`" for value in said["examples"])
    types = [said["type"]] if isinstance(said["type"], str) else said["type"]
    return " or ".join(KINDS[each] for each in types if each != "null")


def written(page: str) -> str:
    """Return a page with every marked table as it should be."""
    return MARKED.sub(
        lambda mark: mark[1] + "\n".join(table(mark["schema"], mark["place"])) + "\n" + mark[4],
        page,
    )


def main(arguments: list[str]) -> int:
    """Write or check all pages; return the exit code."""
    stale = []
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if written(page) != page:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(written(page), encoding="utf-8")
    if stale:
        verb = "is stale" if "--check" in arguments else "written"
        sys.stderr.write("".join(f"{name} {verb}\n" for name in stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
