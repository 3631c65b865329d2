"""GPUs of the machine, and the environment that shows a program only those it was given."""

from __future__ import annotations

import glob
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

NVIDIA: Final = "CUDA_VISIBLE_DEVICES"
AMD: Final = "ROCR_VISIBLE_DEVICES"
ORDER: Final = "CUDA_DEVICE_ORDER"  # by bus, so that a number means the same GPU in each program
GIVEN: Final = b"REPX_GPUS"  # what a job file in bash is told


def here(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the GPUs that this process may use, as the variables write them.

    An allocation around this process, or a user, may have left only some of them.
    """
    for variable in (NVIDIA, AMD):
        if variable in environment:
            return [name for name in environment[variable].split(",") if name not in ("", "-1")]
    found = glob.glob("/dev/nvidia[0-9]*") or glob.glob("/dev/dri/renderD*")
    return [str(number) for number in range(len(found))]


def shared(count: int | None, environment: Mapping[str, str]) -> list[str]:
    """Return the names of the GPUs to share; ``count`` is how many, None: all."""
    names = here(environment)
    if count is None:
        return names
    return names[:count] if len(names) >= count else list(map(str, range(count)))


def environment(given: bytes, around: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables for a program that was given these GPUs: names between commas.

    AMD's programs would apply both variables, one after the other, so only one is set.
    """
    if not given:
        return {}
    nvidia, amd = NVIDIA.encode(), AMD.encode()
    if nvidia not in around and (amd in around or _only_amd()):
        return {amd: given}
    return {nvidia: given, ORDER.encode(): around.get(ORDER.encode(), b"PCI_BUS_ID")}


def _only_amd() -> bool:
    return os.path.exists("/dev/kfd") and not glob.glob("/dev/nvidia[0-9]*")
