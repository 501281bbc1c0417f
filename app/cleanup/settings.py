"""A container's settings as far as a removal needs them: ``containers/<id>/hostconfig.json``.

Source: moby api/types/container/hostconfig.go.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.model import Container
from app.stores.files import Damage, parse_object, read_file

_MOST = 16 * 1024 * 1024
_SHARED = "container:"


@dataclass(frozen=True, slots=True)
class Settings:
    """``shares`` are the containers, by id or name, whose namespaces this one has joined.

    ``binds`` are the host paths that it mounts. ``auto_remove`` is ``docker run --rm``. ``known``
    is false where the file could not be read.
    """

    auto_remove: bool = False
    shares: tuple[str, ...] = ()
    binds: tuple[bytes, ...] = ()
    log_options: Mapping[str, str] = field(default_factory=dict)
    known: bool = True


def read_settings(container: Container) -> Settings:
    """The settings of one container. Never raises."""
    if not container.directory:
        return Settings(known=False)
    try:
        content = read_file(os.path.join(container.directory, b"hostconfig.json"), _MOST)
        document = parse_object(content)
    except (FileNotFoundError, Damage):
        return Settings(known=False)
    modes = (document.text(name) for name in ("NetworkMode", "IpcMode", "PidMode"))
    binds = (bind.partition(":")[0] for bind in document.texts("Binds"))
    options = document.fields("LogConfig").fields("Config")
    return Settings(
        auto_remove=document.flag("AutoRemove"),
        shares=tuple(mode.removeprefix(_SHARED) for mode in modes if mode.startswith(_SHARED)),
        binds=tuple(bind.encode() for bind in binds if bind.startswith("/")),
        log_options={name: options.text(name) for name in options.values},
        known=not document.wrong,
    )
