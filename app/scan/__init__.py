"""How much is it? Walks directories and filesystems; knows nothing of Docker."""

from app.scan.core import ScanError, core_name

__all__ = ["ScanError", "core_name"]
