"""A made-up /proc with one process and whatever it is to hold or to have mounted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PID = 4_300_000


def make_proc(at: Path, mounts: Iterable[str] = (), opened: Iterable[str] = ()) -> bytes:
    """Make ``at`` a /proc; ``mounts`` are whole mountinfo lines, ``opened`` paths of open files."""
    process = at / str(PID)
    for name in ("ns", "fd", f"task/{PID}"):
        (process / name).mkdir(parents=True)
    lines = ["22 1 254:0 / / rw - ext4 /dev/vda rw", *mounts]
    (process / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    (process / "maps").write_text("7f00-7f01 r--p 00000000 fe:00 12    /lib/libc.so.6\n")
    for link, target in (
        ("ns/mnt", "mnt:[1]"),
        ("ns/pid", "pid:[4026531836]"),
        ("root", "/"),
        ("exe", "/sbin/init"),
        (f"task/{PID}/cwd", "/"),
        (f"task/{PID}/root", "/"),
    ):
        (process / link).symlink_to(target)
    for number, path in enumerate(opened):
        (process / "fd" / str(number)).symlink_to(path)
    # The process that looks is another one, in the same namespaces.
    (at / "self").mkdir()
    for name in ("ns", "mountinfo"):
        (at / "self" / name).symlink_to(process / name)
    return os.fsencode(at)


def overlay(point: str, upper: str = "", lowers: str = "", device: str = "0:77") -> str:
    """One mountinfo line of an overlay."""
    options = ",".join(
        filter(None, (lowers and f"lowerdir={lowers}", upper and f"upperdir={upper}"))
    )
    return f"90 22 {device} / {point} rw - overlay overlay rw,{options}"


def bind(point: str, root: str) -> str:
    """One mountinfo line of a bind mount."""
    return f"91 22 254:0 {root} {point} rw - ext4 /dev/vda rw"
