"""Which of the two scan cores is used: the native one where it can be loaded, else the portable.

The environment variable WHODIFF_SCAN forces one: ``native`` or ``portable``. Both give the same
answers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.scan.native.library import Library

VARIABLE = "WHODIFF_SCAN"


class ScanError(Exception):
    """A scan could not be carried through. The message is one sentence for people."""


def core_name() -> str:
    """``native`` or ``portable``. Raises ScanError when a core is forced that cannot be had."""
    return "portable" if native_library() is None else "native"


def native_library() -> Library | None:
    """The native core, None where the portable one is to be used. Raises ScanError as above."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "native", "portable"):
        raise ScanError(
            f"{VARIABLE} is {wanted!r}, which is no scan core: set it to native or portable, or "
            "not at all."
        )
    if wanted == "portable":
        return None
    # Late: the workers of the portable core come by here too, and need no ctypes.
    from app.scan.native.library import LibraryError, load  # noqa: PLC0415

    try:
        return load()
    except LibraryError as error:
        if wanted:
            raise ScanError(
                f"{VARIABLE} asks for the native scan core, and {error}: install whodiff with a C "
                f"compiler at hand, or unset {VARIABLE}."
            ) from error
        return None
