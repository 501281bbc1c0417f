"""Builds the native scan core into the wheel, where a C compiler is; else a portable wheel.

Python itself is not needed to compile: the core is a plain shared library, loaded through ctypes.
So one wheel serves every Python on its platform (tag ``py3-none-<platform>``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CORE = "app/scan/native"
FILE = "whodiff_scan.so"
#: Wide offsets in every file, or the files differ about structs on 32-bit machines (core.h checks).
FLAGS = [
    *("-std=c11", "-O2", "-D_FILE_OFFSET_BITS=64"),
    *("-fPIC", "-shared", "-pthread", "-fvisibility=hidden"),
]


class NativeCore(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is private
    """Compiles; a failure to do so is told and no error: the portable core takes over."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is put together; ``version`` is ``standard`` or ``editable``."""
        core = Path(self.root, CORE)
        if version == "editable":
            # An editable install runs from the source tree: that is where the library must be.
            self._compile(core, core / FILE)
            return
        self._place = tempfile.TemporaryDirectory()
        library = Path(self._place.name, FILE)
        if self._compile(core, library):
            build_data["force_include"][str(library)] = f"{CORE}/{FILE}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version: str, *_: object) -> None:
        """Called when the wheel is there."""
        if version != "editable":
            self._place.cleanup()

    def _compile(self, core: Path, target: Path) -> bool:
        compiler = _compiler()
        if compiler is None:
            self.app.display_warning("No C compiler: whodiff will scan with its portable core.")
            return False
        # Not in place: a process that has the old library loaded keeps it whole.
        fresh = target.with_name(f"{FILE}.{os.getpid()}")
        sources = sorted(map(str, core.glob("*.c")))
        flags = shlex.split(os.environ.get("CFLAGS", ""))
        done = subprocess.run([*compiler, *FLAGS, *flags, *sources, "-o", str(fresh)], check=False)
        if done.returncode != 0:
            fresh.unlink(missing_ok=True)
            self.app.display_warning(
                "The native core does not compile here: whodiff will scan with its portable core."
            )
            return False
        fresh.replace(target)
        return True


def _compiler() -> list[str] | None:
    """The command of a C compiler: ``$CC``, or what is there."""
    if not sys.platform.startswith("linux"):
        return None
    given = shlex.split(os.environ.get("CC", ""))
    commands = [given] if given else [["cc"], ["gcc"], ["clang"]]
    return next((command for command in commands if shutil.which(command[0])), None)


def _platform() -> str:
    """This machine's platform, as the tag of a wheel has it."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
