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
)
