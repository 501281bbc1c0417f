"""Finding and loading the native core's shared library; its structures as ctypes has them.

The other side is ``whodiff_scan.h``. The library needs nothing of Python, so that one build serves
every version of it.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
)
from functools import cache
from pathlib import Path
from typing import ClassVar
from zipimport import zipimporter

ABI = 2
MOST_THREADS = 16
FILE = "whodiff_scan.so"
_SHOWN_PATH = 4096

#: ``enum whodiff_column_name``, with the type codes of the arrays; names and paths are bytes.
COLUMNS = (
    ("parents", "i"),
    ("ends", "i"),
    ("name_ends", "q"),
    ("bytes", "q"),
    ("apparent", "q"),
    ("inodes", "q"),
    ("names", "B"),
    ("unreadable", "i"),
    ("cut", "i"),
    ("link_nodes", "i"),
    ("link_sums", "q"),
    ("outside", "Q"),
    ("paths", "B"),
)


class LibraryError(Exception):
    """The library cannot be used; the message is the end of a sentence for people."""


class UnitC(Structure):
    """``struct whodiff_unit``."""

    _fields_: ClassVar = [
        ("path", c_char_p),
        ("shallow", c_uint8),
        ("subvolumes", c_uint8),
        ("count_only", c_uint8),
    ]


class TaskC(Structure):
    """``struct whodiff_task``."""

    _fields_: ClassVar = [
        ("units", POINTER(UnitC)),
        ("unit_count", c_size_t),
        ("points", POINTER(c_char_p)),
        ("point_count", c_size_t),
        ("threads", c_int32),
        ("most_threads", c_int32),
        ("most_open", c_int32),
    ]


class FiguresC(Structure):
    """``struct whodiff_figures``."""

    _fields_: ClassVar = [
        ("entries", c_int64),
        ("bytes", c_int64),
        ("apparent", c_int64),
        ("inodes", c_int64),
        ("unreadable", c_int64),
    ]


class RunningC(Structure):
    """A unit under way."""

    _fields_: ClassVar = [("unit", c_uint64), ("figures", FiguresC)]


class NewsC(Structure):
    """``struct whodiff_news``."""

    _fields_: ClassVar = [
        ("done", c_int32),
        ("walking", c_int32),
        ("error", c_int32),
        ("running_count", c_int32),
        ("running", RunningC * MOST_THREADS),
        ("current", c_char * _SHOWN_PATH),
    ]


class ColumnC(Structure):
    """``struct whodiff_column``."""

    _fields_: ClassVar = [("data", c_void_p), ("size", c_uint64)]
    data: int | None
    size: int


class ResultC(Structure):
    """``struct whodiff_result``."""


ResultC._fields_ = [
    ("next", POINTER(ResultC)),
    ("unit", c_uint64),
    ("complete", c_int32),
    ("newest", c_int64),
    ("figures", FiguresC),
    ("columns", ColumnC * len(COLUMNS)),
]


class Library:
    """The functions of the library, as ``whodiff_scan.h`` describes them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        abi = _function(library, "whodiff_abi", c_int)
        if abi() != ABI:
            raise LibraryError(f"the {FILE} at hand belongs to another version of whodiff")
        self.start = _function(library, "whodiff_start", c_void_p, POINTER(TaskC))
        self.look = _function(library, "whodiff_look", None, c_void_p, POINTER(NewsC))
        self.take = _function(library, "whodiff_take", POINTER(ResultC), c_void_p)
        self.free_result = _function(library, "whodiff_free_result", None, POINTER(ResultC))
        self.wait = _function(library, "whodiff_wait", c_int, c_void_p, c_int)
        self.cancel = _function(library, "whodiff_cancel", None, c_void_p)
        self.close = _function(library, "whodiff_close", None, c_void_p, c_int)


@cache
def load() -> Library:
    """The library beside this module, or in the zip archive that this module is in.

    Raises LibraryError when there is none for this machine.
    """
    path = Path(__file__).with_name(FILE)
    try:
        if path.exists():
            return Library(_open(os.fspath(path)))
        return Library(_from_archive(os.fspath(path)))
    except (OSError, AttributeError) as error:
        raise LibraryError(f"its library cannot be loaded ({error})") from error


def _from_archive(path: str) -> ctypes.CDLL:
    """Load from where there is no file: through one that exists in memory only."""
    loader = __spec__.loader if __spec__ else None
    if not isinstance(loader, zipimporter):
        raise FileNotFoundError(f"there is no {FILE}")
    data = loader.get_data(path)  # raises OSError when it is not in the archive
    descriptor = os.memfd_create(FILE, os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        return _open(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _open(path: str) -> ctypes.CDLL:
    return ctypes.CDLL(path, use_errno=True)


def _function(
    library: ctypes.CDLL, name: str, result: type | None, *arguments: type
) -> ctypes._NamedFuncPointer:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]  # getattr of a CDLL gives Any
