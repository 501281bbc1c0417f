"""The guards of a removal, each with one way to break it and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken guard: in ``file``, ``old`` (which occurs there once) becomes ``new``.

    ``tests`` are pytest's arguments that choose the tests which must go red.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def broken(self, text: str) -> str:
        """The file with the guard broken. Raises ValueError where the guard is not found once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: found {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


_GUARDS = "tests/unit/test_plan_guards.py"
_STANDING = "tests/unit/test_standing.py"
_ROOTS = "tests/engine/test_roots.py"
_BELIEVED = "tests/unit/test_believed.py"
_CLAIM = "tests/unit/test_root_claim.py"
_SHELL = "tests/unit/test_shell.py"
_COMMANDS = "tests/engine/test_commands.py"
_FORESEEN = "tests/engine/test_foreseen.py"
_PROMISES = "tests/unit/test_plan_promises.py"
_MEASURED = "tests/engine/test_promises.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "proof: the age of the contents counts",
        "app/cleanup/proof.py",
        'for path in (layer.path, os.path.join(layer.path, b"diff")):',
        "for path in (layer.path,):",
        (_GUARDS,),
    ),
    Mutant(
        "proof: the age of the directory itself counts",
        "app/cleanup/proof.py",
        'for path in (layer.path, os.path.join(layer.path, b"diff")):',
        'for path in (os.path.join(layer.path, b"diff"),):',
        (_GUARDS,),
    ),
    Mutant(
        "proof: a removal has begun only where the link file is there",
        "app/cleanup/proof.py",
        'return os.path.lexists(os.path.join(layer.path, b"link")) and not any(',
        "return not any(",
        (_GUARDS,),
    ),
    Mutant(
        "proof: a removal has begun only where the link is gone",
        "app/cleanup/proof.py",
        "and not any(world.links([layer.id]))",
        "",
        (_GUARDS,),
    ),
    Mutant(
        "proof: a transaction that vanishes is under way",
        "app/cleanup/proof.py",
        'return float("inf")',
        "return 0.0",
        (_GUARDS,),
    ),
    Mutant(
        "planner: committed is a part of the layer",
        "app/cleanup/planner.py",
        'b"lower", b"committed")',
        'b"lower")',
        (_GUARDS,),
    ),
    Mutant(
        "planner: a layer with several owners goes with none",
        "app/cleanup/planner.py",
        "if len(owners) == 1:",
        "if owners:",
        (_GUARDS,),
    ),
    Mutant(
        "files: several containers own the layer",
        "app/cleanup/files.py",
        "if len(owners) != 1 or len(layer.owners) != 1:",
        "if len(layer.owners) - len(owners) > 0:",
        (_GUARDS,),
    ),
    Mutant(
        "files: something else owns the layer too",
        "app/cleanup/files.py",
        "if len(owners) != 1 or len(layer.owners) != 1:",
        "if len(owners) != 1:",
        (_GUARDS,),
    ),
    Mutant(
        "leftovers: several links",
        "app/cleanup/leftovers.py",
        "if name == layer.id]) > 1:",
        "if name == layer.id]) > 2:",
        (_GUARDS,),
    ),
    Mutant(
        "verdict: what only the daemon names is not half removed",
        "app/stores/verdict.py",
        "directory.interrupted and not question.disk.roles and not question.engine.roles",
        "directory.interrupted and not question.disk.roles",
        ("tests/unit/test_resolve.py",),
    ),
    Mutant(
        "standing: a directory is known by its device and inode",
        "app/stores/standing.py",
        "return os.path.samestat(os.stat(path), about)",
        "return False",
        (_STANDING,),
    ),
    Mutant(
        "standing: a directory is known by its device too",
        "app/stores/standing.py",
        "return os.path.samestat(os.stat(path), about)",
        "return os.stat(path).st_ino == about.st_ino",
        (_STANDING,),
    ),
    Mutant(
        "standing: who could have written a root says nothing of others' layers",
        "app/stores/disk.py",
        "return layer.covered or (layer.uid is not None and not root.speaks_for(layer.uid))",
        "return layer.covered",
        (_STANDING,),
    ),
    Mutant(
        "standing: what is mounted over a layer",
        "app/stores/verdict.py",
        "if directory.covered:",
        "if False:",
        (_STANDING,),
    ),
    Mutant(
        "standing: a group or everybody may write",
        "app/host/authors.py",
        "users.add(ANYBODY)",
        "pass",
        (_STANDING,),
    ),
    Mutant(
        "standing: the user of a remapped root, only where root made it",
        "app/stores/standing.py",
        "if is_remapped(root) and not authors_of(os.path.dirname(root)) - {0}:",
        "if is_remapped(root):",
        (_STANDING,),
    ),
    Mutant(
        "standing: what two roots show is neither's",
        "app/stores/verdict.py",
        "    yield from _shared(case.disk.root)\n    for problem",
        "    for problem",
        (_STANDING,),
    ),
    Mutant(
        "standing: a user's root is no rival",
        "app/stores/standing.py",
        "if all(it == about.st_uid for it in strangers_of(root)):",
        "if True:",
        (_STANDING,),
    ),
    Mutant(
        "standing: a disk with bare layers is no rival",
        "app/stores/standing.py",
        "or not names_things(root, name):",
        "or not is_data_root(root):",
        (_STANDING,),
    ),
    Mutant(
        "standing: whose daemon works there",
        "app/stores/standing.py",
        "return Hold.OWN if mine else Hold.OTHERS",
        "return Hold.OWN",
        (_ROOTS,),
    ),
    Mutant(
        "standing: what was mounted at tmp is not temporary",
        "app/stores/standing.py",
        "if name == _TEMPORARY and apart and elsewhere:",
        "if False:",
        (_ROOTS,),
    ),
    Mutant(
        "barred: what is not the root's own",
        "app/cleanup/barred.py",
        "if part and (part.target or part.hold is not Hold.OWN):",
        "if False:",
        (_ROOTS,),
    ),
    Mutant(
        "barred: a filesystem that others use",
        "app/cleanup/barred.py",
        "if mount and is_served_elsewhere(mount):",
        "if False:",
        (_GUARDS,),
    ),
    Mutant(
        "places: a link out of the root is told",
        "app/cleanup/places.py",
        "raise Linked(first)",
        "return seen_in_root(root, names)",
        ("tests/unit/test_plan_world.py",),
    ),
    Mutant(
        "places: a link that comes now is no way",
        "app/cleanup/places.py",
        "if len(names) > 1 and _is_mounted(first) else reach(root, names)",
        "if len(names) > 1 and _is_mounted(first) else reach(*based(root, names))",
        ("tests/unit/test_plan_world.py",),
    ),
    Mutant(
        "hints: a user's directory is that user's",
        "app/stores/hints.py",
        "if _owner(path) == _number(fields[2]):",
        "if True:",
        (_ROOTS,),
    ),
    Mutant(
        "hints: a process called dockerd proves nothing",
        "app/stores/hints.py",
        "return is_trusted(self.uid) or os.stat(path).st_uid == self.uid",
        "return True",
        (_BELIEVED,),
    ),
    Mutant(
        "hints: a user's daemon does not stand in for root's",
        "app/stores/hints.py",
        "if is_trusted(engine.uid) and not engine.inside:",
        "if not engine.inside:",
        (_BELIEVED,),
    ),
    Mutant(
        "hints: what cannot see the root does not work on it",
        "app/stores/hints.py",
        "return None if problems and _in_view(host, engine, root) else False",
        "return None if problems else False",
        (_BELIEVED,),
    ),
    Mutant(
        "hints: the lock on the volumes tells",
        "app/stores/hints.py",
        "if uid is not None and Process(pid, uid, (), {}).may_speak_for(root):",
        "if False:",
        (_BELIEVED,),
    ),
    Mutant(
        "runs: every user id of a process counts",
        "app/host/runs.py",
        "return next((user for user in users if user), users[0] if users else directory)",
        "return directory",
        (_BELIEVED,),
    ),
    Mutant(
        "runs: the file tells the program",
        "app/stores/hints.py",
        "program not in (os.path.basename(arguments[0]), program_of(process))",
        "program not in (os.path.basename(arguments[0]),)",
        (_BELIEVED,),
    ),
    Mutant(
        "claim: who listens may speak for the directory",
        "app/stores/root_claim.py",
        "if not is_trusted(peer.uid) and peer.uid != about.st_uid:",
        "if False:",
        (_CLAIM,),
    ),
    Mutant(
        "claim: who listens sees the same directory",
        "app/stores/root_claim.py",
        "return None if _sees(peer, root, about, proc) else Wrong.ANOTHER_VIEW",
        "return None",
        (_CLAIM,),
    ),
    Mutant(
        "claim: what a daemon names has the shape of a data root",
        "app/stores/discover.py",
        "if not may_be_live(path):",
        "if False:",
        ("tests/unit/test_discover.py",),
    ),
    Mutant(
        "recognise: a remapped root is no link",
        "app/stores/recognise.py",
        "return not os.path.islink(path) and is_data_root(path)",
        "return is_data_root(path)",
        ("tests/unit/test_discover.py",),
    ),
    Mutant(
        "standing: a link means something else in a container",
        "app/stores/standing.py",
        "return any(not (linked and it.inside) for it in serving(around.host, root))",
        "return bool(serving(around.host, root))",
        (_STANDING,),
    ),
    Mutant(
        "hints: a container's process has the lock",
        "app/stores/hints.py",
        "or (engine.inside and locked):",
        ":",
        (_BELIEVED,),
    ),
    Mutant(
        "hints: a user's containerd",
        "app/stores/containerd_roots.py",
        "if not (process.may_speak_for(path) and process.means(host, path)):",
        "if not process.means(host, path):",
        ("tests/unit/test_containerd_roots.py",),
    ),
    Mutant(
        "commands: a daemon that is not heard runs nothing inside",
        "app/cleanup/inside.py",
        "if world.silence or container is None or",
        "if container is None or",
        (f"{_COMMANDS}::test_one_that_is_paused_or_not_heard_has_no_command",),
    ),
    Mutant(
        "commands: nothing runs inside a paused container",
        "app/cleanup/inside.py",
        " or container.owner.state != _RUNNING:",
        ":",
        (f"{_COMMANDS}::test_one_that_is_paused_or_not_heard_has_no_command",),
    ),
    Mutant(
        "commands: a capability that was dropped counts",
        "app/cleanup/settings.py",
        "not dropped & _NEEDED",
        "True",
        (f"{_COMMANDS}::test_a_container_that_cannot_do_it_has_no_command",),
    ),
    Mutant(
        "commands: a container's user counts",
        "app/cleanup/settings.py",
        "user in _ROOTS",
        "True",
        (f"{_COMMANDS}::test_a_container_that_cannot_do_it_has_no_command",),
    ),
    Mutant(
        "commands: a root that is read-only counts",
        "app/cleanup/settings.py",
        ' and not asked.flag("ReadonlyRootfs")',
        "",
        (f"{_COMMANDS}::test_a_container_that_cannot_do_it_has_no_command",),
    ),
    Mutant(
        "commands: an rm that a mount hides is none",
        "app/cleanup/inside.py",
        "_is_seen(world, layer, (place, found))\n",
        "True\n",
        (f"{_COMMANDS}::test_a_container_that_cannot_do_it_has_no_command",),
    ),
    Mutant(
        "commands: a name that is no UTF-8 has none",
        "app/cleanup/inside.py",
        '.decode("utf-8")',
        '.decode("latin-1").encode("ascii", "replace").decode()',
        (f"{_COMMANDS}::test_what_cannot_be_typed_everywhere_has_no_command",),
    ),
    Mutant(
        "commands: every shell must take it",
        "app/cleanup/shell.py",
        "plain = line.isascii() and line.isprintable() and",
        "plain =",
        (_SHELL,),
    ),
    Mutant(
        "commands: the kernel must take it",
        "app/cleanup/shell.py",
        " and all(len(it) < _LONGEST for it in texts)",
        "",
        (_SHELL,),
    ),
    Mutant(
        "commands: who else may write on the way counts",
        "app/cleanup/shell.py",
        " or is_open:",
        ":",
        (_SHELL,),
    ),
    Mutant(
        "commands: who owns the way counts",
        "app/cleanup/shell.py",
        "status.st_uid not in trusted or ",
        "",
        (_SHELL,),
    ),
    Mutant(
        "commands: another context of the client counts",
        "app/cleanup/shell.py",
        "usual = url in _DEFAULTS and not _client_asks_another(os.environ)",
        "usual = url in _DEFAULTS",
        (_SHELL,),
    ),
    Mutant(
        "commands: all or none",
        "app/cleanup/plan.py",
        "return commands if all(commands) else ()",
        "return tuple(filter(None, commands))",
        (_SHELL,),
    ),
    Mutant(
        "commands: a name goes only while it is this image's",
        "app/cleanup/images.py",
        'return only_while(shown, id_, world.docker("rmi", name))',
        'return world.docker("rmi", name)',
        (f"{_COMMANDS}::test_an_image_of_several_names_loses_only_those_that_are_its_own",),
    ),
    Mutant(
        "commands: one name goes by the image's id",
        "app/cleanup/images.py",
        'return world.docker("rmi", id_)',
        'return world.docker("rmi", name)',
        (f"{_COMMANDS}::test_an_image_goes_by_what_it_is_also_when_its_name_moved_on",),
    ),
    Mutant(
        "foreseen: a link in the place of all volumes",
        "app/cleanup/volumes.py",
        "    if os.path.islink(home):",
        "    if not home:",
        (f"{_FORESEEN}::test_volumes_behind_a_link_stay_and_the_way_out_is_one",),
    ),
    Mutant(
        "foreseen: a link in the place of a volume or its data",
        "app/cleanup/volumes.py",
        "        if os.path.islink(path):",
        "        if not path:",
        ("tests/unit/test_plan_foreseen.py",),
    ),
    Mutant(
        "foreseen: images that a container mounts",
        "app/cleanup/images.py",
        "uses = {container.image_id, *read_settings(container).images}",
        "uses = {container.image_id}",
        ("tests/unit/test_plan_foreseen.py",),
    ),
    Mutant(
        "foreseen: a read-only filesystem",
        "app/cleanup/space.py",
        "return bool(os.statvfs(path).f_flag & os.ST_RDONLY)",
        "return False",
        (f"{_FORESEEN}::test_nothing_goes_from_a_filesystem_that_is_read_only",),
    ),
    Mutant(
        "foreseen: a swarm makes its tasks anew",
        "app/cleanup/makers.py",
        "if service := read_settings(container).service:",
        "if service := str():",
        ("tests/unit/test_plan_foreseen.py",),
    ),
    Mutant(
        "promises: a snapshot that an image was made on stays",
        "app/cleanup/containers.py",
        "if it.id not in kept)",
        "if it.id)",
        (_PROMISES,),
    ),
    Mutant(
        "promises: a blob that others have stays",
        "app/cleanup/cache.py",
        "sorted(digests - others)",
        "sorted(digests)",
        (_PROMISES,),
    ),
    Mutant(
        "promises: a blob of an image stays",
        "app/cleanup/cache.py",
        "*(it.path for it in blobs if not it.owners),",
        "*(it.path for it in blobs),",
        (_PROMISES,),
    ),
    Mutant(
        "promises: a whiteout takes an inode",
        "app/cleanup/files.py",
        "frees = frees.without(Frees(inodes=1))",
        "pass",
        (_MEASURED,),
    ),
    Mutant(
        "promises: what is open gives nothing back",
        "app/cleanup/held_space.py",
        "if about.st_dev == device and only:",
        "if not only:",
        (_MEASURED,),
    ),
    Mutant(
        "promises: shared attribute blocks",
        "app/cleanup/attributes.py",
        "total = max(about.st_blocks * _BLOCK - about.st_size, 0)",
        "total = 0",
        (_MEASURED,),
    ),
    Mutant(
        "logs: Docker 29 hangs",
        "app/cleanup/logs.py",
        "return int(major[1]) >= _HANGS_FROM",
        "return False",
        ("tests/unit/test_plan_logs.py",),
    ),
    Mutant(
        "logs: an unknown version in the containerd store hangs",
        "app/cleanup/logs.py",
        "return root.image_store is ImageStore.CONTAINERD",
        "return False",
        ("tests/unit/test_plan_logs.py",),
    ),
    Mutant(
        "safe_open: only a regular file is opened",
        "app/host/safe_open.py",
        "if not stat.S_ISREG(mode):",
        "if stat.S_ISDIR(mode):",
        ("tests/unit/test_safe_open.py", "-k", "no_way_of_reading"),
    ),
    Mutant(
        "safe_open: what was looked at is opened, not what has its name by now",
        "app/host/safe_open.py",
        "return _without_trace(looked)",
        "return os.open(name, _READING, dir_fd=parent)",
        ("tests/unit/test_safe_open.py", "-k", "race"),
    ),
    Mutant(
        "erase: a log is emptied by what was looked at",
        "app/cleanup/erase.py",
        "reopened(target.descriptor, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)",
        "os.open(target.name, os.O_WRONLY | os.O_NONBLOCK, dir_fd=target.parent)",
        ("tests/unit/test_safe_open.py", "-k", "emptied"),
    ),
    Mutant(
        "erase: a log that was replaced is not emptied",
        "app/cleanup/erase.py",
        "if not os.path.samestat(now, target.status):",
        "if False:",
        ("tests/unit/test_safe_open.py", "-k", "emptied"),
    ),
    Mutant(
        "looks: what may hang is looked at by somebody else",
        "app/host/hanging.py",
        "return bool(_MAY_HANG.fullmatch(fstype))",
        'return fstype == "autofs"',
        ("tests/unit/test_hanging.py", "-k", "which_filesystems"),
    ),
    Mutant(
        "looks: a link to what hangs is not followed to see where it leads",
        "app/host/hanging.py",
        "            if isinstance(found, Far):\n                return Far(found.mount",
        "            if isinstance(found, str):\n                return Far(found.mount",
        ("tests/unit/test_hanging.py", "-k", "known_to_lead"),
    ),
    Mutant(
        "looks: what was given up is not asked again",
        "app/host/looks.py",
        "if self.stuck and not self._has_come_back():",
        "if False:",
        ("tests/unit/test_hanging.py", "-k", "answers_again"),
    ),
)
