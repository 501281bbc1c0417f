"""What a removal without the daemon leaves when it is killed: an entry with a name of its own.

Such a removal renames what is to go in one step, out of every place that a mount shows, and empties
it under that name: of a layer's ``diff`` (of a snapshot ``fs``) into the layer's directory, of the
data root's ``tmp`` within ``tmp``. Docker's and containerd's own removal of the layer takes it
along (moby daemon/graphdriver/overlay2/overlay.go Remove, containerd plugins/snapshots/overlay
Remove: both remove the whole directory), and neither looks at what else lies there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from app.host import looks
from app.model import Problem

#: Short: in a small directory there is room for it without another block, on a full disk too.
NAME = re.compile(rb"\.whodiff-removed-[0-9a-f]{12}")
_PREFIX = b".whodiff-removed-"
_DIGITS = 12

#: What it is, for people; the path goes before it.
SAYS = (
    "is the rest of a removal by whodiff that did not come to its end; nothing uses it, and "
    "`whodiff plan` with this path finishes it"
)


def new_name() -> bytes:
    """A name that nothing has."""
    return _PREFIX + os.urandom(_DIGITS // 2).hex().encode()


def left_in(directories: Iterable[bytes]) -> tuple[Problem, ...]:
    """One sentence for each that removals left in these directories, as far as they are there."""
    found = (os.path.join(it, name) for it in directories for name in _names_in(it))
    return tuple(Problem(os.fsdecode(it), f"{os.fsdecode(it)} {SAYS}.") for it in found)


def _names_in(directory: bytes) -> list[bytes]:
    try:
        found = looks.names(directory, follow=False)
    except OSError:
        return []
    return sorted(name for name, _ in found if NAME.fullmatch(name))
