"""The commands. Imports the screen, rich and the engine's SDK only when they are wanted.

Exit status: 0 answered; 1 no owner found or nothing matched; 2 bad usage, no permission, or
metadata that cannot be read.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from app import __version__, streams
from app.scan import ScanError, core_name

COMMANDS = ("which", "report", "du", "plan")

#: Options whose value is a word of its own: it is no command, whatever it spells.
_WITH_VALUE = ("--data-root", "--host", "--sort", "--top", "--journal")
_BAD_USAGE = 2

_EPILOG = """\
commands:
  whodiff [ROOT]          explore the data root
  whodiff which PATH...   whose is this path, name, short id or l/ token
  whodiff report          every layer with owner, bytes, inodes
  whodiff du PATH...      bytes, apparent bytes and inodes of any directory, hard links once
  whodiff plan PATH...    what removing it would do, by which call; changes nothing

`whodiff COMMAND --help` lists the options of a command.

WHODIFF_SCAN=native or WHODIFF_SCAN=portable in the environment forces one scan core; both give
the same answers, and --version says which one is used.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    streams.prepare()
    try:
        try:
            options = parse(arguments)
            if "WHODIFF_SCAN" in os.environ:
                core_name()
            return _run(options)
        finally:
            # What cannot be written is to be met here, not while the interpreter ends.
            sys.stdout.flush()
    except ScanError as error:
        _say(str(error))
        return _BAD_USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        streams.silence_stdout()
        return 0
    except OSError as error:
        streams.silence_stdout()
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        _say(f"cannot go on: {error.strerror or error}{where}.")
        return _BAD_USAGE
    except Exception as error:  # never a traceback on somebody's bad day
        if sys.flags.dev_mode:
            raise
        _say(
            f"met an error of its own ({type(error).__name__}: {error}); please report it, with "
            "the traceback that `PYTHONDEVMODE=1 whodiff ...` shows."
        )
        return _BAD_USAGE


def _say(sentence: str) -> None:
    # Without app.text, which may be what cannot be imported; as safe, if less pretty.
    drawn = "".join(it if it.isprintable() else ascii(it)[1:-1] for it in sentence)
    print(f"whodiff: {drawn}", file=sys.stderr)


def _run(options: argparse.Namespace) -> int:
    if not options.command:
        return _demo(options) if options.demo else _explore(options)
    return _command(options)


def _command(options: argparse.Namespace) -> int:
    # What only one of the ways needs is imported on that way: --help and the first frame are quick.
    from app import commands  # noqa: PLC0415 - as said above

    match options.command:
        case "which":
            return commands.which(options)
        case "du":
            return commands.du(options)
        case "plan":
            return commands.plan(options)
        case _:
            return commands.print_report(options)


def _demo(options: argparse.Namespace) -> int:
    """The explorer on a sample that is made for it and goes when it is left."""
    from app.demo.sample import DemoError, make_sample  # noqa: PLC0415 - as above

    print("whodiff: making the sample, a few seconds...", file=sys.stderr)
    try:
        with make_sample() as sample:
            options.root, options.data_root, options.offline = os.fsdecode(sample.root), [], True
            options.no_cache = True
            return _explore(options)
    except DemoError as error:
        _say(str(error))
        return _BAD_USAGE


def _explore(options: argparse.Namespace) -> int:
    """The explorer; without a terminal that can place a cursor, the report."""
    if options.json or not (os.isatty(0) and os.isatty(1)):
        return _command(options)
    if os.environ.get("TERM", "") in ("", "dumb"):
        _say("this terminal cannot place a cursor (TERM is dumb): printing the report.")
        return _command(options)
    # Until the names are on the screen (app.screens.explore): a ninth of the time to them.
    gc.disable()
    # Names are read in a thread: at Python's own 5 ms it would keep the keys waiting at every turn.
    sys.setswitchinterval(0.0005)
    from app.tui import explore  # noqa: PLC0415 - textual takes 150 ms to import

    return explore(options)


# --- the options ----------------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options as a namespace; ``command`` is "" for the explorer. Bad usage exits with 2."""
    for index in _words(arguments):
        word = arguments[index]
        if word in COMMANDS:
            parser = {"which": _which, "report": _report, "du": _du, "plan": _plan}[word]()
            rest = [*arguments[:index], *arguments[index + 1 :]]
            return parser.parse_args(rest, argparse.Namespace(command=word))
        from app.host import looks  # noqa: PLC0415 - not for --help, as below

        if "/" not in word and not looks.lexists(os.fsencode(word)):
            _explorer().error(f"there is no command and no directory '{word}'")
        break
    return _explorer().parse_args(arguments, argparse.Namespace(command=""))


def _words(arguments: list[str]) -> Iterator[int]:
    """Where the arguments stand that are neither options nor their values."""
    for index, argument in enumerate(arguments):
        is_value = index > 0 and arguments[index - 1] in _WITH_VALUE
        if not is_value and not argument.startswith("-"):
            yield index


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        _say(f"{message}; `{self.prog} --help` lists what there is.")
        sys.exit(_BAD_USAGE)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    return _Parser(
        prog=f"whodiff {name}".strip(),
        description=description,
        epilog=None if name else _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _explorer() -> argparse.ArgumentParser:
    parser = _parser("", "Who owns that huge directory on this Docker host, and how much is it?")
    parser.add_argument("--version", action=_Version, help="print the version and the scan core")
    parser.add_argument(
        "root", nargs="?", metavar="ROOT", help="a data root; default: the engine's"
    )
    _add_root_options(parser)
    _add_table_options(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument("--read-only", action="store_true", help="show plans, and remove nothing")
    parser.add_argument(
        "--journal", metavar="FILE", help="write every removal down in this file too"
    )
    parser.add_argument("--demo", action="store_true", help="explore a sample made for the purpose")
    # Without a terminal this is `whodiff report`, which has one more option.
    parser.set_defaults(hot=False)
    return parser


class _Version(argparse.Action):
    """As argparse's own, but finds out only when asked."""

    def __init__(self, option_strings: Sequence[str], help: str, **_: object) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"whodiff {__version__} (scan core: {core_name()})")
        parser.exit()


def _which() -> argparse.ArgumentParser:
    parser = _parser("which", "Who owns this path?")
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a layer directory, anything in one, a path below merged, a name, a short id, "
        "an l/ token",
    )
    _add_root_options(parser)
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    return parser


def _report() -> argparse.ArgumentParser:
    parser = _parser("report", "Every layer with its owner, bytes and inodes.")
    parser.add_argument(
        "root", nargs="?", metavar="ROOT", help="a data root; default: the engine's"
    )
    _add_root_options(parser)
    _add_table_options(parser)
    parser.add_argument(
        "--hot", action="store_true", help="the fullest single directories instead, with owners"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser


def _du() -> argparse.ArgumentParser:
    parser = _parser("du", "Allocated bytes, apparent bytes and inodes, each inode once.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="any directory or file")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    return parser


def _plan() -> argparse.ArgumentParser:
    parser = _parser("plan", "What would removing it do? Changes nothing.")
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a layer directory, a file in one, a volume, a log, a name, a short id, an l/ token",
    )
    _add_root_options(parser)
    parser.add_argument("--read-only", action="store_true", help="nothing else: a plan only looks")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    return parser


def _add_root_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root",
        action="append",
        default=[],
        metavar="DIR",
        help="a Docker data root, also a copied or mounted one (repeatable)",
    )
    parser.add_argument(
        "--host",
        metavar="URL",
        help="the engine's socket; default: DOCKER_HOST, else the usual one",
    )
    parser.add_argument("--offline", action="store_true", help="ask no engine, read the disk alone")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII only")


def _add_table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sort", choices=("bytes", "inodes", "name"), help="default: what the disk is shorter of"
    )
    parser.add_argument(
        "--apparent", action="store_true", help="apparent sizes, not allocated ones"
    )
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="neither use nor keep figures of image layers from one run to the next (in /run)",
    )
    parser.add_argument("--top", type=_positive, metavar="N", help="only the first N rows")


def _positive(word: str) -> int:
    number = int(word) if word.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError("must be a number, 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
