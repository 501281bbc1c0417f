"""What uses a directory on a real host: mounts however they are spelled, and what the kernel holds.

Each use of an orphan's directory refuses its removal and is named; afterwards it may go again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cleanup.plan.model import Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan
from tests.engine import archive, scenario
from tests.engine.dockerd import Engine
from tests.engine.scenario import BASE
from tests.engine.test_plans import elsewhere, plan_on, surveyed

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine with an image and an orphan, for all tests here."""
    from tests.engine.conftest import _engine, ended_by_sigterm, leave_out  # noqa: PLC0415
    from tests.engine.dockerd import missing_tools  # noqa: PLC0415

    if missing := missing_tools():
        leave_out(f"this machine lacks {missing}")
    with ended_by_sigterm(), _engine() as engine:
        engine.start()
        base = archive.busybox_layer(Path(engine.tools.busybox))
        engine.docker("load", stdin=archive.image(BASE, [base], engine.get("/version")["Arch"]))
        yield engine


@pytest.fixture(scope="module")
def orphan(engine: Engine) -> Path:
    """Its directory; it holds busybox."""
    base = archive.busybox_layer(Path(engine.tools.busybox))
    name = scenario._orphan(engine, base, engine.get("/version")["Arch"])
    place = engine.overlay2 / name
    assert any((place / "diff").iterdir())
    return place


Refusal = Callable[[], Plan]


@pytest.fixture
def refusal(engine: Engine, orphan: Path) -> Iterator[Refusal]:
    """The plan for the orphan, which must be refused; it is allowed before and after the test."""

    def refused() -> Plan:
        found = plan_on(engine, orphan)
        assert not found.allowed
        assert found.instead
        return found

    assert plan_on(engine, orphan).allowed
    yield refused
    after = plan_on(engine, orphan)
    assert after.allowed, after.refused_because


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A mount point."""
    place = tmp_path / "there"
    place.mkdir()
    (tmp_path / "empty").mkdir()
    return place


def overlay(lower: str, there: Path, at: Path | str = "/") -> str:
    """A command that mounts it, standing in ``at``, and goes away from there."""
    return (
        f"cd {at} && mount -t overlay none -o lowerdir={lower}:{there.parent}/empty {there} && cd /"
    )


# --- overlays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower", ["diff", "diff/rows", "./diff/../diff/rows/."])
def test_a_relative_lower_directory(
    refusal: Refusal, orphan: Path, there: Path, lower: str
) -> None:
    with elsewhere(overlay(lower, there, orphan)):
        assert str(there) in refusal().refused_because


def test_a_relative_lower_directory_in_our_own_namespace(
    refusal: Refusal, orphan: Path, there: Path
) -> None:
    subprocess.run(["sh", "-c", overlay("diff", there, orphan)], check=True)
    try:
        assert f"umount {there}" in refusal().instead
    finally:
        subprocess.run(["umount", str(there)], check=True)


def test_a_relative_lower_directory_of_somebody_else_hinders_nobody(
    engine: Engine, orphan: Path, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "other/diff/etc").mkdir(parents=True)
    (tmp_path / "other/diff/etc/motd").write_text("x")
    with elsewhere(overlay("diff", there, tmp_path / "other")):
        found = plan_on(engine, orphan)
    assert found.allowed, found.refused_because


def test_a_vanished_lower_directory_of_somebody_else_hinders_nobody(
    engine: Engine, orphan: Path, there: Path, tmp_path: Path
) -> None:
    """As systemd-sysext leaves them: mounted in a namespace that ended with the mounting."""
    (tmp_path / "other/usr").mkdir(parents=True)
    (tmp_path / "bound").mkdir()
    bound = f"{tmp_path}/bound"
    with elsewhere(
        f"mount -t tmpfs none {bound} && mkdir {bound}/usr && {overlay(f'{bound}/usr', there)} && "
        f"umount -l {bound}"
    ):
        found = plan_on(engine, orphan)
    assert found.allowed, found.refused_because


def test_a_lower_directory_through_a_link(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(orphan / "diff")
    with elsewhere(overlay(str(link), there)):
        assert f"mounted now at {there} as a lower layer" in refusal().refused_because
        # The link may be gone, or lead elsewhere since.
        link.unlink()
        assert str(there) in refusal().refused_because
        link.symlink_to(tmp_path / "empty")
        assert str(there) in refusal().refused_because


def test_an_overlay_on_an_overlay_that_is_listed_nowhere_any_more(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "bound").mkdir()
    with elsewhere(
        f"mount --bind {orphan}/diff {tmp_path}/bound && "
        f"mount -t overlay none -o lowerdir={tmp_path}/bound:{tmp_path}/empty {tmp_path}/below && "
        f"{overlay(f'{tmp_path}/below', there)} && umount -l {tmp_path}/below {tmp_path}/bound"
    ):
        assert str(there) in refusal().refused_because


@pytest.mark.parametrize("way", ["taken away", "changed"])
def test_an_overlay_on_a_directory_inside_whose_spelling_leads_elsewhere_by_now(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path, way: str
) -> None:
    inside = next(it for it in sorted((orphan / "diff").iterdir()) if it.is_dir())
    lower = tmp_path / "lower"
    (tmp_path / "other").mkdir()
    command = overlay(str(lower), there)
    if way == "changed":
        lower.symlink_to(inside)
        command += f" && ln -sfn {tmp_path}/other {lower}"
    else:
        lower.mkdir()
        command = f"mount --bind {inside} {lower} && {command} && umount -l {lower}"
    with elsewhere(command):
        assert f"the overlay at {there} shows what is in it" in refusal().refused_because


def test_an_overlay_that_was_unmounted_while_in_use(
    refusal: Refusal, orphan: Path, there: Path
) -> None:
    with elsewhere(f"{overlay('diff', there, orphan)} && cd {there}/rows && umount -l {there}"):
        assert "unmounted while in use" in refusal().refused_because


# --- namespaces -----------------------------------------------------------------------------------


def keep(file: Path, processor: int, there: Path, orphan: Path) -> bool:
    """Keep a namespace by a file; whether the kernel let us.

    Only one with a higher number than our own may be kept in it, and each processor has numbers of
    its own (Linux 6.18 fs/namespace.c mnt_ns_loop).
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        with elsewhere(overlay("diff", there, orphan)) as inside:
            command = ["mount", "--bind", f"/proc/{inside.pid}/ns/mnt", str(file)]
            return subprocess.run(command, check=False).returncode == 0
    finally:
        os.sched_setaffinity(0, before)


def test_a_namespace_that_only_a_file_keeps(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    # The file of a namespace may only be mounted where nothing is passed on.
    subprocess.run(["mount", "--bind", str(kept), str(kept)], check=True)
    subprocess.run(["mount", "--make-private", str(kept)], check=True)
    (kept / "ns").touch()
    try:
        assert any(keep(kept / "ns", cpu, there, orphan) for cpu in os.sched_getaffinity(0))
        found = refusal()
        assert str(there) in found.refused_because
        assert "without a process" in found.refused_because
        subprocess.run(found.instead.partition(": ")[2], shell=True, check=True)
    finally:
        subprocess.run(["umount", str(kept / "ns")], check=False)
        subprocess.run(["umount", str(kept)], check=True)


@contextmanager
def keeping(command: str) -> Iterator[None]:
    """A namespace in which this was done, and that only an open descriptor keeps."""
    with elsewhere(command) as inside:
        program = f"f = open('/proc/{inside.pid}/ns/mnt'); print(flush=True); input()"
        keeper = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert keeper.stdout
        keeper.stdout.readline()
    try:
        yield
    finally:
        keeper.communicate(b"\n")


def test_a_namespace_that_only_an_open_descriptor_keeps(
    refusal: Refusal, orphan: Path, there: Path
) -> None:
    with keeping(overlay("diff", there, orphan)):
        assert str(there) in refusal().refused_because


def test_what_is_mounted_inside_in_a_namespace_that_only_a_descriptor_keeps(
    refusal: Refusal, orphan: Path
) -> None:
    point = next(it for it in sorted((orphan / "diff").iterdir()) if it.is_dir())
    with keeping(f"mount -t tmpfs none {point}"):
        assert f"something is mounted in it, at {point}" in refusal().refused_because


def test_a_namespace_whose_file_is_covered(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path
) -> None:
    """Nobody can enter it; where the kernel itself is not asked, what is in it is in doubt."""
    kept = tmp_path / "kept"
    kept.mkdir()
    subprocess.run(["mount", "--bind", str(kept), str(kept)], check=True)
    subprocess.run(["mount", "--make-private", str(kept)], check=True)
    (kept / "ns").touch()
    try:
        assert any(keep(kept / "ns", cpu, there, orphan) for cpu in os.sched_getaffinity(0))
        subprocess.run(["mount", "-t", "tmpfs", "none", str(kept)], check=True)
        try:
            found = refusal().refused_because
            assert str(there) in found or f"{kept}/ns keeps could not be entered" in found
        finally:
            subprocess.run(["umount", str(kept)], check=True)
    finally:
        subprocess.run(["umount", str(kept / "ns")], check=False)
        subprocess.run(["umount", str(kept)], check=True)


def test_a_namespace_of_a_thread_alone(refusal: Refusal, orphan: Path, there: Path) -> None:
    program = (
        "import ctypes, os, subprocess, threading\n"
        "def run():\n"
        "    assert ctypes.CDLL(None).unshare(0x20000) == 0\n"
        f"    os.chdir({str(orphan)!r})\n"
        f"    ctypes.CDLL(None).mount(b'none', {bytes(there)!r}, b'overlay', 0,\n"
        f"        b'lowerdir=diff:{there.parent}/empty')\n"
        "    os.chdir('/'); print(flush=True); threading.Event().wait()\n"
        "threading.Thread(target=run, daemon=True).start(); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    child.stdout.readline()
    try:
        assert str(there) in refusal().refused_because
    finally:
        child.communicate(b"\n")


def test_a_namespace_of_which_only_chrooted_processes_are_left(
    refusal: Refusal, orphan: Path, there: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with elsewhere(f"{overlay('diff', there, orphan)} && mount --bind / {root}") as outside:
        chroot = subprocess.Popen(
            [
                *("nsenter", f"--target={outside.pid}", "--mount", "chroot", str(root)),
                *("sh", "-c", "echo ready; exec sleep 1000"),
            ],
            stdout=subprocess.PIPE,
        )
        assert chroot.stdout
        assert chroot.stdout.readline() == b"ready\n"
    try:
        assert str(there) in refusal().refused_because
    finally:
        chroot.kill()
        chroot.wait()


# --- what the kernel holds ------------------------------------------------------------------------


@contextmanager
def big_file(orphan: Path) -> Iterator[Path]:
    """A file in the layer, which nobody can tell by the ages there."""
    place = orphan / "diff" / "disk.img"
    times = (orphan / "diff").stat()
    with place.open("wb") as file:
        file.write(bytes(4 << 20))
    os.utime(orphan / "diff", ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        yield place
    finally:
        place.unlink()
        os.utime(orphan / "diff", ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("spelling", ["plain", "link", "gone"])
def test_a_loop_device_on_a_file_inside(refusal: Refusal, orphan: Path, spelling: str) -> None:
    with big_file(orphan) as place:
        path = orphan.parents[1] / "name-of-a-disk"
        if spelling == "link":
            path.symlink_to(place)
        else:
            os.link(place, path)
        attach = ["losetup", "--find", "--show", str(place if spelling == "plain" else path)]
        device = subprocess.run(attach, capture_output=True, check=True).stdout.decode().strip()
        if spelling == "gone":
            path.unlink()
        try:
            found = refusal()
            assert "loop device" in found.refused_because
            assert found.instead == f"losetup -d {device}"
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
            path.unlink(missing_ok=True)


def test_a_loop_device_on_a_file_of_an_overlay_that_is_mounted_nowhere(
    refusal: Refusal, orphan: Path, there: Path
) -> None:
    with big_file(orphan):
        subprocess.run(["sh", "-c", overlay("diff", there, orphan)], check=True)
        attach = ["losetup", "--read-only", "--find", "--show", str(there / "disk.img")]
        device = subprocess.run(attach, capture_output=True, check=True).stdout.decode().strip()
        subprocess.run(["umount", "--lazy", str(there)], check=True)
        try:
            found = refusal()
            assert "loop device" in found.refused_because
            assert found.instead == f"losetup -d {device}"
        finally:
            subprocess.run(["losetup", "-d", device], check=True)


def test_an_active_swap_area(refusal: Refusal, orphan: Path) -> None:
    with big_file(orphan) as place:
        place.chmod(0o600)
        subprocess.run(["mkswap", str(place)], check=True, capture_output=True)
        if subprocess.run(["swapon", str(place)], check=False, capture_output=True).returncode:
            pytest.skip("this kernel or filesystem takes no swap file")
        try:
            found = refusal()
            assert "swap area" in found.refused_because
        finally:
            subprocess.run(["swapoff", str(place)], check=True)


# --- processes ------------------------------------------------------------------------------------


DEEP = """
import os
for _ in range(40):
    os.mkdir('d' * 250)
    os.chdir('d' * 250)
print(flush=True)
input()
"""


def test_a_container_deep_below_all_paths_is_in_nobodys_way(
    engine: Engine, orphan: Path, tmp_path: Path
) -> None:
    step = "mkdir $(printf %0250d 7); cd -P $(printf %0250d 7)"
    script = f"for i in $(seq 40); do {step}; done; echo there; exec sleep 1000"
    id_ = engine.docker("run", "-d", "--network=none", BASE, "sh", "-c", script)
    try:
        scenario._until(lambda: engine.docker("logs", id_) == "there")
        pid = engine.get(f"/containers/{id_}/json")["State"]["Pid"]
        with pytest.raises(OSError, match="too long"):
            os.readlink(f"/proc/{pid}/cwd")
        found = plan_on(engine, orphan)
        assert found.allowed, found.refused_because
    finally:
        engine.docker("rm", "-f", id_)


def test_a_process_deep_inside_is_found(refusal: Refusal, orphan: Path) -> None:
    times = (orphan / "diff").stat()
    child = subprocess.Popen(
        [sys.executable, "-c", DEEP],
        cwd=orphan / "diff",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    child.stdout.readline()
    os.utime(orphan / "diff", ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        assert f"process {child.pid} works in" in refusal().refused_because
    finally:
        child.communicate(b"\n")
        subprocess.run(["rm", "-rf", str(orphan / "diff" / ("d" * 250))], check=True)
        os.utime(orphan / "diff", ns=(times.st_atime_ns, times.st_mtime_ns))


# --- containers that see the whole host -----------------------------------------------------------


def test_mounts_in_a_containers_own_namespace_go_with_it(engine: Engine, orphan: Path) -> None:
    run = ("run", "-d", "--network=none")
    other = engine.docker(*run, "--name=other", BASE, "sleep", "1000")
    agent = engine.docker(
        *(*run, "--name=cadvisor", "-v", "/:/rootfs:ro", "-v", f"{engine.data}:/var/lib/docker:ro"),
        *(BASE, "sleep", "1000"),
    )
    try:
        assert plan_on(engine, orphan).allowed
        root = bytes(engine.data)
        found = plan_on(engine, Wish(Subject.CONTAINER, root, id=agent))
        assert found.allowed, found.refused_because
        # What it has mounted inside the other one's is named with it, and hinders nobody.
        pid = engine.get(f"/containers/{agent}/json")["State"]["Pid"]
        upper = engine.get(f"/containers/{other}/json")["GraphDriver"]["Data"]["UpperDir"]
        inner = f"/rootfs{os.path.dirname(upper)}/work"
        enter = ["nsenter", f"--target={pid}", "--mount", "/bin/busybox", "mount"]
        subprocess.run([*enter, "-t", "tmpfs", "none", inner], check=True)
        found = plan_on(engine, Wish(Subject.CONTAINER, root, id=other))
        assert found.allowed, found.refused_because
        (said,) = [it.why for it in found.references if it.id == inner]
        assert f"in container cadvisor (process {pid})" in said
        engine.docker("rm", "-f", other)
        assert engine.docker("ps", "-aq", "--no-trunc").split() == [agent]
        assert not Path(upper).parent.exists()
    finally:
        engine.docker("rm", "-f", agent)


def test_what_another_container_mounts_of_an_orphan_is_named_with_it(
    refusal: Refusal, engine: Engine, orphan: Path
) -> None:
    id_ = engine.docker(
        *("run", "-d", "--network=none", "--name=holder", "-v", f"{orphan}/diff:/mnt:ro"),
        *(BASE, "sleep", "1000"),
    )
    try:
        found = refusal()
        pid = engine.get(f"/containers/{id_}/json")["State"]["Pid"]
        assert f"in container holder (process {pid})" in found.refused_because
        assert "umount" not in found.instead
        assert "stop holder" in found.instead
    finally:
        engine.docker("rm", "-f", id_)


# --- what the daemon or a file removal would take from the kernel ---------------------------------


@contextmanager
def loop_on(place: Path) -> Iterator[str]:
    """A loop device on a new file there."""
    place.write_bytes(bytes(1 << 20))
    attach = ["losetup", "--find", "--show", str(place)]
    device = subprocess.run(attach, capture_output=True, check=True).stdout.decode().strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_a_volume_with_a_loop_device_on_a_file_in_it(engine: Engine) -> None:
    engine.docker("volume", "create", "disks")
    wish = Wish(Subject.VOLUME, bytes(engine.data), id="disks")
    assert plan_on(engine, wish).allowed
    with loop_on(engine.data / "volumes/disks/_data/disk.img") as device:
        found = plan_on(engine, wish)
        assert f"loop device {device.removeprefix('/dev/')}" in found.refused_because
    assert plan_on(engine, wish).allowed


def test_a_file_of_a_stopped_container_with_a_loop_device_on_it(engine: Engine) -> None:
    id_ = engine.docker("create", "--network=none", BASE, "true")
    upper = Path(engine.get(f"/containers/{id_}/json")["GraphDriver"]["Data"]["UpperDir"])
    with loop_on(upper / "disk.img") as device:
        found = plan_on(engine, upper / "disk.img")
        assert f"loop device {device.removeprefix('/dev/')}" in found.refused_because
    found = plan_on(engine, upper / "disk.img")
    assert found.allowed, found.refused_because
    engine.docker("rm", id_)


@pytest.mark.parametrize("how", ["bind", "overlay", "bind, kept by a descriptor"])
def test_a_temporary_directory_that_is_mounted_somewhere(
    engine: Engine, there: Path, how: str
) -> None:
    entry = engine.data / "tmp" / "left-over-1"
    (entry / "a").mkdir(parents=True)
    (entry / "a/f").write_text("x")
    wish = Wish(Subject.PATH, bytes(engine.data), path=bytes(entry))
    later = time.time() + 7200
    command = overlay("a", there, entry) if how == "overlay" else f"mount --bind {entry}/a {there}"
    with keeping(command) if "kept" in how else elsewhere(command):
        found = make_plan(wish, surveyed(engine), now=later)
        assert str(there) in found.refused_because
    found = make_plan(wish, surveyed(engine), now=later)
    assert found.allowed, found.refused_because
    shutil.rmtree(entry)


def test_a_mount_of_something_else_of_that_name_is_no_use(
    engine: Engine, there: Path, tmp_path: Path
) -> None:
    entry = engine.data / "tmp" / "usr"
    entry.mkdir(parents=True)
    (tmp_path / "usr").mkdir()
    wish = Wish(Subject.PATH, bytes(engine.data), path=bytes(entry))
    with elsewhere(f"mount --bind {tmp_path}/usr {there}"):
        found = make_plan(wish, surveyed(engine), now=time.time() + 7200)
    assert found.allowed, found.refused_because
    entry.rmdir()
