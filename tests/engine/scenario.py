"""One Docker host with everything on it that whodiff must tell apart, made on a private engine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.engine import archive, truth
from tests.engine.dockerd import DockerdError, Engine

BASE = "acme/base:1"
WEB_TAGS = ("acme/web:2.4.1", "acme/web:latest")
DEEP_LAYERS = 90
FLOOD_FILES = 12_000
FLOOD_PATH = "tmp/arroyo/checkpoints/job_ab12/checkpoints"
ELK_PATH = "var/lib/logstash/queue"
ELK_MIB = 24
ORPHAN_FILES = 30_000
LOG_LINES = 20_000

WEB = f"""
FROM {BASE}
RUN mkdir -p /srv/web && seq 1 2000 > /srv/web/index && rm /etc/motd
RUN seq 1 500 > /srv/web/style
"""
WORKER = f"""
FROM {BASE}
RUN seq 1 {{lines}} > /worker
"""
SEALED = f"""
FROM {BASE}
RUN seq 1 3000 > /sealed
"""
STAGES = f"""
FROM {BASE} AS compile
RUN mkdir /obj && seq 1 9000 > /obj/all
RUN --mount=type=cache,id=compiler,target=/cache seq 1 4000 > /cache/objects && seq 1 9 > /obj/app
FROM {BASE}
COPY --from=compile /obj/app /app
RUN seq 1 800 > /app.conf
"""
WITHDRAWN = f"""
FROM {BASE}
RUN seq 1 700 > /withdrawn
"""
AWKWARD_FILES = r"""
mkdir -p /names/deep/er && cd /names
touch "$(printf 'red\033[31mtext')" "$(printf 'two\nlines')" "$(printf 'bad\377\376utf8')"
touch '[bold red]markup' "$(printf 'gpj\342\200\256exe.txt')" "$(printf '%0255d' 7)" -- '-rf'
seq 1 5000 > numbers && ln numbers deep/er/same && mkfifo pipe && ln -s /etc/shadow link
dd if=/dev/zero of=sparse bs=1 count=1 seek=9000000 2> /dev/null
rm /etc/motd && rm -r /opt/legacy && mkdir /opt/legacy && touch /opt/legacy/new
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The running engine and the truth about what is on it."""

    engine: Engine
    truth: truth.Truth


def build(engine: Engine) -> Scenario:
    """Make everything on a running, empty engine; the engine stays the caller's to close."""
    architecture = engine.get("/version")["Arch"]
    base = archive.busybox_layer(Path(engine.tools.busybox))
    _load(engine, archive.image(BASE, [base], architecture))
    # First of all, since it kills the daemon.
    orphan = _orphan(engine, base, architecture)
    _classic_images(engine)
    built = _buildkit_images(engine)
    _load(engine, archive.image("acme/deep:1", [base, *_steps()], architecture))
    _volumes(engine)
    _running(engine)
    _not_running(engine)
    _image_gone(engine)
    token = _dangling_token(engine)
    return Scenario(engine, truth.ask(engine, built, orphan, token))


def _load(engine: Engine, data: bytes) -> None:
    engine.docker("load", stdin=data)


def _steps() -> list[bytes]:
    """So many layers that their lowerdir list does not fit into a page of mount options."""
    return [archive.layer({f"steps/{n:03}": b"x" * n}) for n in range(1, DEEP_LAYERS)]


def _build(engine: Engine, tag: str, dockerfile: str, buildkit: str) -> None:
    engine.docker(
        *("build", "--network=none", f"--tag={tag}", "-"),
        stdin=dockerfile.encode(),
        env={"DOCKER_BUILDKIT": buildkit},
    )


def _classic_images(engine: Engine) -> None:
    """One image with two tags; a worker image whose tag moved on, so that the old one dangles."""
    _build(engine, WEB_TAGS[0], WEB, buildkit="0")
    engine.docker("tag", *WEB_TAGS)
    for lines in ("1500", "2500"):
        _build(engine, "acme/worker:1", WORKER.format(lines=lines), buildkit="0")
        if lines == "1500":
            _run(engine, "batch-old", "acme/worker:1", "exit 3")


def _buildkit_images(engine: Engine) -> frozenset[str]:
    """An image whose cache was pruned, one that shares with the cache, and one taken away again.

    Returns the directories that BuildKit made.
    """
    before = truth.layer_names(engine.overlay2)
    _build(engine, "acme/sealed:1", SEALED, buildkit="1")
    engine.docker("builder", "prune", "--all", "--force")
    _build(engine, "acme/staged:1", STAGES, buildkit="1")
    _build(engine, "acme/withdrawn:1", WITHDRAWN, buildkit="1")
    engine.docker("rmi", "acme/withdrawn:1")
    return truth.layer_names(engine.overlay2) - before


def _volumes(engine: Engine) -> None:
    """A forgotten volume: filled by a container that is gone."""
    _run(engine, "once", BASE, "seq 1 30000 > /data/dump", "--rm", "--volume=forgotten:/data")


def _run(engine: Engine, name: str, image: str, script: str, *options: str) -> None:
    """Run to the end; a container may end with any status."""
    _start(engine, name, image, script, *options)
    if "--rm" not in options:
        engine.docker("wait", name)
    else:
        _until(lambda: name not in engine.docker("ps", "--all", "--format={{.Names}}").split())


def _start(engine: Engine, name: str, image: str, script: str, *options: str) -> None:
    create = ("run", "--detach", "--network=none", "--stop-signal=KILL", f"--name={name}")
    engine.docker(*create, *options, image, "sh", "-c", script)


def _start_and_stay(engine: Engine, name: str, image: str, script: str, *options: str) -> None:
    """Run a script, wait until it is through, and leave the container running."""
    _start(engine, name, image, f"set -e; {script}\necho ready; exec sleep 1000000", *options)
    _until(lambda: engine.docker("logs", name).endswith("ready"))


def _running(engine: Engine) -> None:
    flood = f"for n in $(seq {FLOOD_FILES}); do : > chk-$n; done"
    _start_and_stay(
        *(engine, "arroyo-worker-1", BASE, f"mkdir -p /{FLOOD_PATH}; cd /{FLOOD_PATH}; {flood}"),
        *_compose("pipeline", "worker"),
    )
    fill = f"dd if=/dev/zero of=/{ELK_PATH}/page.0 bs=1048576 count={ELK_MIB} 2> /dev/null"
    store = "seq 1 20000 > /usr/share/data/index"
    _start_and_stay(
        *(engine, "elk-logstash-1", BASE, f"mkdir -p /{ELK_PATH}; {fill}; {store}"),
        *("--volume=elk-data:/usr/share/data", *_compose("elk", "logstash")),
    )
    _start_and_stay(engine, "web-before", WEB_TAGS[0], "seq 1 100 > /srv/web/requests")
    engine.docker("rename", "web-before", "web-api-1")
    _start_and_stay(engine, "deep-1", "acme/deep:1", "rm /steps/050")


def _not_running(engine: Engine) -> None:
    engine.docker("create", "--network=none", "--name=next-release", "acme/staged:1", "sh")
    _run(engine, "scratchpad", BASE, "seq 1 6000 > /data/notes", "--volume=/data")
    _run(engine, "chatty", BASE, f"seq -w 1 {LOG_LINES}")
    _run(engine, "awkward", BASE, AWKWARD_FILES)


def _image_gone(engine: Engine) -> None:
    """A container whose image was removed by force: only its layers are left."""
    _build(engine, "acme/shortlived:1", f"FROM {BASE}\nRUN seq 1 60 > /short\n", buildkit="0")
    _run(engine, "survivor", "acme/shortlived:1", "seq 1 10 > /left")
    engine.docker("rmi", "--force", "acme/shortlived:1")


def _compose(project: str, service: str) -> tuple[str, str]:
    label = "--label=com.docker.compose"
    return f"{label}.project={project}", f"{label}.service={service}"


def _dangling_token(engine: Engine) -> str:
    """Remove a container's directory by hand, then the container: its ``l/`` entry stays."""
    name = engine.docker("create", "--network=none", BASE, "sh")
    upper = engine.get(f"/containers/{name}/json")["GraphDriver"]["Data"]["UpperDir"]
    directory = Path(upper).parent
    token = (directory / "link").read_text()
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)
    engine.docker("rm", name)
    return token


def _orphan(engine: Engine, base: bytes, architecture: str) -> str:
    """Kill the daemon while it unpacks a big layer on top of the base; name of what is left.

    A layer is registered only after it is unpacked (moby layer store, registerWithDescriptor), and
    unpacking so many files takes far longer than one look at the directory.
    """
    before = truth.layer_names(engine.overlay2)
    big = archive.layer({f"rows/{number:05}": b"" for number in range(ORPHAN_FILES)})
    file = engine.base / "big.tar"
    file.write_bytes(archive.image("acme/never:1", [base, big], architecture))
    client = subprocess.Popen(
        engine.command("load", "--input", str(file)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=engine.client_environment(),
    )
    try:
        _until(lambda: any(_unpacking(engine, before)), pause=0.001)
        engine.kill()
    finally:
        client.kill()
        client.wait()
        file.unlink()
    (name,) = _unpacking(engine, before)
    engine.start()
    # Old enough not to be taken for a pull that is under way.
    _age(engine.overlay2 / name, days=3)
    _age(engine.data / "image" / "overlay2" / "layerdb" / "tmp", days=3)
    return name


def _age(top: Path, days: float) -> None:
    """Set back the modification times of a whole tree."""
    then = time.time() - days * 86_400
    for place in (top, *top.rglob("*")):
        os.utime(place, (then, then), follow_symlinks=False)


def _unpacking(engine: Engine, before: frozenset[str]) -> list[str]:
    new = truth.layer_names(engine.overlay2) - before
    return [name for name in new if (engine.overlay2 / name / "diff" / "rows" / "00000").exists()]


def _until(condition: Callable[[], bool], timeout: float = 60.0, pause: float = 0.05) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DockerdError(f"waited {timeout:.0f} s in vain while making the scenario")
        time.sleep(pause)
