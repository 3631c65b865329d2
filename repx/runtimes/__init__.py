"""What a program runs in: one file per runtime, one line each in the table here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from repx.runtimes.apptainer import APPTAINER
from repx.runtimes.bwrap import BWRAP
from repx.runtimes.charliecloud import CHARLIECLOUD
from repx.runtimes.contract import Runtime
from repx.runtimes.docker import DOCKER
from repx.runtimes.native import NATIVE
from repx.runtimes.podman import PODMAN
from repx.target import RuntimeName

__all__ = ["RUNTIMES", "Runtime"]

RUNTIMES: Final[Mapping[RuntimeName, Runtime]] = MappingProxyType(
    {
        RuntimeName(runtime.name): runtime
        for runtime in (NATIVE, BWRAP, APPTAINER, CHARLIECLOUD, PODMAN, DOCKER)
    }
)
