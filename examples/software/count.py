#!/usr/bin/env python3
"""Count the digits of a power."""

from collections import Counter

import repx_py

stage = repx_py.stage()
counts = Counter(str(stage.parameters["base"] ** stage.parameters["power"]))
lines = [f"{digit},{counts[digit]}\n" for digit in "0123456789"]
stage.outputs["counts"].write_text("".join(lines))
