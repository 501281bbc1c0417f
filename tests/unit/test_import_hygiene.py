"""What is imported when: a command must not wait for the screen, nor a worker for anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.demo.sample import ORPHAN
from app.scan import process

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"textual", "rich", "docker", "requests", "urllib3", "humanize", "asyncio"}

_LOADED = "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded(code: str, *arguments: str | Path, **environ: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{_LOADED}", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    *_, last = ended.stdout.decode().splitlines()
    assert last.startswith("loaded:")
    return set(last.split()[1:])


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not loaded("import app.cli") & HEAVY
    assert (
        not loaded("import app.cli\ntry: app.cli.main(['--help'])\nexcept SystemExit: pass") & HEAVY
    )


@pytest.mark.parametrize(
    "arguments", [["which", ORPHAN], ["report"], ["report", "--json"], ["plan", ORPHAN]]
)
def test_commands_load_no_screen_and_offline_no_engine(
    demo_root: Path, arguments: list[str]
) -> None:
    code = "from app.cli import main\nmain(sys.argv[1:])"
    offline = loaded(code, *arguments, "--data-root", demo_root, "--offline")
    assert not offline & {"textual", "widgets", "docker", "requests", "urllib3", "asyncio"} - {
        "widgets"  # a row is plain data there (app.rows); textual is what costs
    }


def test_asking_an_engine_loads_no_screen(demo_root: Path) -> None:
    code = "from app.cli import main\nmain(sys.argv[1:])"
    asking = loaded(
        code, "which", ORPHAN, "--data-root", demo_root, DOCKER_HOST="unix:///nonexistent.sock"
    )
    assert "docker" in asking
    assert "textual" not in asking


def test_a_scan_worker_loads_the_standard_library_alone() -> None:
    # As app.scan.process starts it: isolated, without site-packages.
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]);"
        "import app.scan.worker;"
        "print(*sorted({it.partition('.')[0] for it in set(sys.modules) - before}))"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, REPOSITORY],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    names = set(ended.stdout.decode().split())
    assert "app" in names
    assert names - {"app"} <= sys.stdlib_module_names
    assert not names & {"asyncio", "typing_extensions"}
    assert "-S" in Path(process.__file__).read_text()


# --- from a zip archive ---------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What the wheel holds, as one file, which Python imports from like any other place."""
    made = tmp_path / "whodiff.zip"
    with zipfile.ZipFile(made, "w") as out:
        for package in ("app", "widgets", "styles"):
            for path in sorted((REPOSITORY / package).rglob("*")):
                if path.suffix in (".py", ".tcss"):
                    out.write(path, path.relative_to(REPOSITORY))
    return made


def test_the_tool_runs_from_an_archive(archive: Path, demo_root: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        "import app, styles; assert '.zip' in app.__file__;"
        "assert 'Tree' in styles.sheet('explore');"
        "from app.cli import main; sys.exit(main())"
    )
    ended = subprocess.run(
        # Relative, and from elsewhere: the scan's workers must find the archive all the same.
        [sys.executable, "-c", script, archive.name, "report", "--json", "--offline", demo_root],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    assert json.loads(ended.stdout)["total"]["inodes"] > 6000
