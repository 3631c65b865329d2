"""Rooms: what the jobs of each run of a Lab run in on a target, as data for the node."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from repx.runtimes import RUNTIMES
from repx.runtimes.contract import Mount, Walls, mount_points

if TYPE_CHECKING:
    from repx.lab.images import Image
    from repx.launch import Launch
    from repx.target import Resources, RuntimeName, Target

Value: TypeAlias = str | tuple[str, ...]
_KEY_LENGTH: Final = 12
_READ_ONLY: Final = ":ro"
_WRITABLE: Final = ":rw"
_DEVICES: Final = "/dev/"
_USERS: Final = ("/home", "/root", "/run", "/var/tmp")  # noqa: S108  # hidden, not used


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One room: ``key`` names it in a submission, ``lines`` tell nodes what they need."""

    key: str
    walls: Walls
    runtimes: tuple[RuntimeName, ...]
    lines: Mapping[str, Value]

    def words(self, launch: Launch, asked: Resources) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield how each runtime that isolates would run a launch."""
        for name in self.runtimes:
            runtime = RUNTIMES[name]
            if runtime.isolates:
                yield name, runtime.run(launch, self.walls, asked)


NO_ROOMS: Final[Mapping[str | None, Room]] = MappingProxyType({})


def make(
    target: Target,
    image: Image | None,
    *,
    tools: str | None,
    hide: tuple[str, ...] = (),
    packages: Image | None = None,
) -> Room:
    """Return the room for an image, or for the node's own root where there is none.

    ``tools`` is the key of the Lab's host tools in the store; the folders ``hide`` of the node's
    own root are not shown, nor are those of users and of the store. ``packages`` is the image
    whose /nix/store is shown in that root.
    """
    walls = Walls(
        base=target.base_path,
        node=node_folder(target),
        image=image.digest if image else None,
        tools=f"{target.base_path}/{tools}" if tools else "",
        environment={**(image.environment if image else {}), **target.environment},
        secrets=tuple(target.secrets),
        mounts=tuple(map(mount, () if target.mount_host_paths else target.mount_paths)),
        host_paths=target.mount_host_paths,
        network=target.network,
        gpus=target.gpus,
        hidden=() if image else (*_USERS, target.base_path, *hide),
    )
    lines = _lines(target, walls, image or packages)
    if packages:
        lines["repx_packages"] = packages.digest
    named = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    return Room(key=named[:_KEY_LENGTH], walls=walls, runtimes=target.isolating, lines=lines)


def node_folder(target: Target) -> str:
    """Return the folder in which nodes keep what they unpack of images."""
    local = target.node_local_path
    return f"{local}/repx" if local else f"{target.base_path}/cache"


def mount(text: str) -> Mount:
    """Read an entry of mount_paths: a path, with `:ro` behind it to keep it read-only, or `:rw`."""
    writable = not text.endswith(_READ_ONLY)
    named = text.removesuffix(_WRITABLE if writable else _READ_ONLY)
    path = "/" + posixpath.normpath(named).lstrip("/")
    return Mount(
        path=path,
        writable=writable,
        device=path.startswith(_DEVICES),
    )


def library(rooms: Iterable[Room]) -> str:
    """Return the functions for the node of all runtimes that rooms name."""
    names = dict.fromkeys(name for room in rooms for name in room.runtimes)
    return "".join(dict.fromkeys(text for name in names for text in RUNTIMES[name].functions))


def _lines(target: Target, walls: Walls, image: Image | None) -> dict[str, Value]:
    layers: tuple[str, ...] = ()
    if image:
        store = f"{target.base_path}/artifacts/store"
        layers = tuple(
            word
            for layer in image.layers
            for word in (f"{store}/{layer.sha256}-layer.tar", layer.sha256)
        )
    return {
        "repx_runtimes": target.isolating,
        "repx_image": walls.image or "",
        "repx_image_name": image.path if image else "",
        "repx_archive": f"{target.base_path}/artifacts/images/{image.digest}" if image else "",
        "repx_layers": layers,
        "repx_node": walls.node,
        "repx_node_local": "1" if target.node_local_path else "",
        "repx_tools": walls.tools,
        "repx_mountpoints": mount_points(walls),
        "repx_all_paths": "1" if walls.host_paths else "",
        "repx_hidden": walls.hidden,
        "repx_network": "1" if walls.network else "",
        "repx_gpus": walls.gpus or "",
    }
