"""Who could have changed what a directory holds: its owner, and whom its mode lets write there.

Sources: inode(7) for modes, acl(5): with an access ACL the group bits are the mask of all named
users and groups. Directories above do not count: who may rename one as a whole cannot take apart
what lies in it and belongs to somebody else (rename(2), EACCES).
"""

from __future__ import annotations

import os
import stat

from app.host import looks

#: Stands for users that cannot be told one by one: a group, or everybody.
ANYBODY = -1

_ACL = "system.posix_acl_access"


def authors_of(directory: bytes) -> frozenset[int]:
    """The users who may add, rename and remove what is in it; none where it is not there."""
    try:
        about = looks.stat_of(directory)
    except TimeoutError:
        # Nobody can tell, so anybody may.
        return frozenset((ANYBODY,))
    except (OSError, ValueError):
        return frozenset()
    users = {about.st_uid}
    # A user's own group has that user's number, root's has nobody else in it.
    private = about.st_gid in (0, about.st_uid) and not _has_acl(directory)
    if about.st_mode & stat.S_IWOTH or (about.st_mode & stat.S_IWGRP and not private):
        users.add(ANYBODY)
    return frozenset(users)


def _has_acl(directory: bytes) -> bool:
    try:
        return bool(os.getxattr(directory, _ACL))
    except OSError:
        return False
