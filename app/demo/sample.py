"""The data root behind ``--demo``: a small host with every kind of thing that fills a disk.

Made without Docker and without root, with the same ids in every run; ages are relative to now.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.demo.bolt_file import write_bolt
from app.demo.containers_story import add_containers, add_volumes
from app.demo.content import DAY, MIB, put_bytes, put_text, set_age
from app.demo.folder import vanishing_folder
from app.demo.ids import hex_id, link_token
from app.demo.images_story import Images, add_images
from app.demo.layout import add_directory, add_link, make_root, mark_used

#: The directory that nothing refers to: a pull that was killed weeks ago.
ORPHAN = hex_id("orphan")
#: A directory so young that it may be a pull in progress.
YOUNG = hex_id("young")
#: What an old engine leaves when a container cannot be created.
LEFT_INIT = hex_id("left init") + "-init"
#: The ``l/`` token whose directory somebody removed by hand.
DANGLING = link_token("removed by hand")


class DemoError(Exception):
    """The sample could not be made; one sentence for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A data root made for looking at; ``root`` is its path."""

    root: bytes


@contextmanager
def make_sample(parent: Path | None = None) -> Iterator[Sample]:
    """Make the sample below ``parent`` (by default the temporary folder); removed at exit.

    It takes about 200 MiB and 26,000 inodes. Raises DemoError when it cannot be written.
    """
    with ExitStack() as stack:
        try:
            root = stack.enter_context(vanishing_folder("whodiff-demo-", parent)) / "docker"
            build_sample(root)
        except OSError as error:
            raise DemoError(
                f"The demo's sample could not be written ({error.strerror or error}): set TMPDIR "
                "to a directory with 250 MiB and 30,000 inodes to spare."
            ) from error
        yield Sample(bytes(root))


def build_sample(root: Path) -> None:
    """Write the whole sample below ``root``, a path that does not exist yet."""
    make_root(root)
    images = add_images(root)
    add_volumes(root)
    add_containers(root, images)
    _add_leftovers(root, images)
    write_bolt(root / "network/files/local-kv.db", {b"libnetwork": {}})


def _add_leftovers(root: Path, images: Images) -> None:
    base = images.postgres.top.stack[0].directory
    orphan = add_directory(root, ORPHAN, base)
    put_bytes(orphan.diff / "opt/cuda/lib64/libcublasLt.so.12", 17 * MIB)
    put_text(root / "image/overlay2/layerdb/tmp/write-set-2718281828/cache-id", ORPHAN)
    left_init = add_directory(root, LEFT_INIT, images.dangling.top.directory)
    mark_used(left_init)
    (left_init.diff / "etc").mkdir()
    add_link(root, DANGLING, hex_id("removed by hand"))
    for name in (ORPHAN, LEFT_INIT):
        set_age(root / "overlay2" / name, 40 * DAY)
    set_age(root / "image/overlay2/layerdb/tmp", 40 * DAY)
    put_bytes(add_directory(root, YOUNG, base).diff / "usr/lib/half-unpacked.so", 2 * MIB)
