"""Memory and time in every usual spelling, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import assets
from repx.config import units
from repx.errors import InputError

MIB: Final = 1024**2
DEFS: Final = json.loads(assets.path("schemas/resources.schema.json").read_text(encoding="utf-8"))[
    "$defs"
]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512M", 512 * MIB),
        ("4G", 4096 * MIB),
        ("4g", 4096 * MIB),
        ("4GB", 4096 * MIB),
        ("4GiB", 4096 * MIB),
        (" 4 GiB ", 4096 * MIB),
        ("1.5G", 1536 * MIB),
        ("0.1K", 103),
        ("1T", 1024**4),
        ("100B", 100),
    ],
)
def test_memory_is_understood(text: str, count: int) -> None:
    assert count == units.parse_memory(text)


@pytest.mark.parametrize(
    "text", ["", "4096", "G", "4X", "4.5.1G", "-4G", "0G", "1e9", "4 G B", "4Gi B"]
)
def test_memory_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(InputError, match="is not an amount of memory") as caught:
        units.parse_memory(text)

    assert "write it like 512M, 4G, 1.5G or 4GiB" == caught.value.hint


def test_plain_number_is_bytes_where_a_lab_says_so() -> None:
    assert 4096 == units.parse_memory("4096", bare_bytes=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 5400),
        ("90", 5400),
        ("02:30", 150),
        ("01:30:00", 5400),
        ("00:90:00", 5400),
        ("2-12", 216_000),
        ("2-12:30", 217_800),
        ("2-12:30:15", 217_815),
        ("90s", 90),
        ("90m", 5400),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1D2H3M4S", 93_784),
        (" 5m ", 300),
    ],
)
def test_time_is_understood(value: str | int, seconds: int) -> None:
    assert seconds == units.parse_time(value)


@pytest.mark.parametrize(
    "value", ["", "0", 0, -5, "-5", "1:2:3:4", "1h 30", "30m1h", "UNLIMITED", "1.5h", "d", "1-2-3"]
)
def test_time_is_refused_with_the_ways_to_write_it(value: str | int) -> None:
    with pytest.raises(InputError, match="is not a span of time") as caught:
        units.parse_time(value)

    assert "90 (minutes), 30m, 1h30m, 2d, 01:30:00 or 2-12:00:00" in str(caught.value.hint)


@given(st.integers(min_value=1, max_value=2**50))
def test_memory_for_slurm_is_enough_and_not_a_mebibyte_more(count: int) -> None:
    asked = units.parse_memory(units.slurm_memory(count))

    assert count <= asked < count + MIB


@given(st.integers(min_value=1, max_value=10**9))
def test_time_for_slurm_reads_back(seconds: int) -> None:
    assert seconds == units.parse_time(units.slurm_time(seconds))


@pytest.mark.parametrize(
    ("key", "parse"), [("mem", units.parse_memory), ("time", units.parse_time)]
)
@given(data=st.data())
def test_schema_and_reader_accept_the_same(key: str, parse: object, data: st.DataObject) -> None:
    """Editors check with the schema, so a file they accept must not fail later."""
    pattern = DEFS[key]["pattern"]
    text = data.draw(
        st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
        | st.text("0123456789:-. dhmsDHMSkKgGiIbB", max_size=12)
    )

    assert bool(re.search(pattern, text)) == readable(parse, text)


def readable(parse: object, text: str) -> bool:
    """Return whether a text can be parsed."""
    assert callable(parse)
    try:
        parse(text)
    except InputError:
        return False
    return True
