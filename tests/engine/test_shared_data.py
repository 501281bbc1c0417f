"""Files that share data with others (reflinks): what is promised of them comes back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.cleanup.plan.model import Subject
from tests.engine import archive
from tests.engine.dockerd import Engine
from tests.engine.planning import load, of, planned, upper
from tests.engine.test_promises import FILL, ended, kept

pytestmark = pytest.mark.engine

BIG = 6 << 20
#: What a promise may miss of that: directories, and small files beside it.
NEARLY = 1 << 20


def _mounted(engine: Engine, kind: str, *options: str) -> Engine:
    image = engine.base / "small.img"
    image.touch()
    os.truncate(image, 400 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", *options, image], check=True, capture_output=True)
    engine.data.mkdir()
    subprocess.run(["mount", "-o", "loop", image, engine.data], check=True)
    engine.start()
    load(engine)
    return engine


@pytest.fixture(scope="module")
def engine(module_engine: Engine) -> Engine:
    return _mounted(module_engine, "xfs", "-m", "reflink=1")


def volume(engine: Engine, name: str) -> Path:
    engine.docker("volume", "create", name)
    return engine.data / "volumes" / name / "_data"


def reflink(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=always", source, target], check=True)


def test_what_the_overlay_copied_up_stays_with_the_image(engine: Engine) -> None:
    load(engine, "acme/big:1", archive.layer({"big": os.urandom(BIG)}))
    id_ = ended(engine, "echo more >> /big", image="acme/big:1")
    found = planned(engine, of(engine, Subject.CONTAINER, id_))
    assert found.frees.bytes < NEARLY
    kept(engine, found, exact=False)


def test_a_copy_in_another_volume_keeps_the_data(engine: Engine) -> None:
    one, other = volume(engine, "one"), volume(engine, "other")
    (one / "data").write_bytes(os.urandom(BIG))
    reflink(one / "data", other / "copy")
    found = planned(engine, of(engine, Subject.VOLUME, "one"))
    assert found.frees.bytes < NEARLY
    kept(engine, found, exact=False)
    # The last one to have it gives it back.
    found = planned(engine, of(engine, Subject.VOLUME, "other"))
    assert found.frees.bytes >= BIG
    kept(engine, found, exact=False)


def test_a_copy_beside_a_file_keeps_the_data(engine: Engine) -> None:
    id_ = ended(engine, "mkdir /job")
    place = upper(engine, id_) / "job"
    (place / "data").write_bytes(os.urandom(BIG))
    reflink(place / "data", place / "copy")
    kept(engine, planned(engine, place / "copy"), exact=False)
    found = planned(engine, place / "data")
    assert found.frees.bytes >= BIG
    kept(engine, found, exact=False)


def test_a_log_that_was_copied_keeps_the_data(engine: Engine) -> None:
    id_ = ended(engine, "seq 1 20000")
    log = engine.data / "containers" / id_ / f"{id_}-json.log"
    reflink(log, engine.data / "saved.log")
    kept(engine, planned(engine, log), exact=False)


def test_what_shares_nothing_is_promised_whole(engine: Engine) -> None:
    """XFS gives chunks of inodes back as well, which nobody counts."""
    id_ = ended(engine, f"{FILL}; dd if=/dev/urandom of=/job/big bs=1M count=6")
    found = planned(engine, of(engine, Subject.CONTAINER, id_))
    assert found.frees.bytes >= BIG
    kept(engine, found, exact=False)


def test_what_is_compressed_takes_less_than_it_says(spare_engine: Engine) -> None:
    """btrfs."""
    engine = _mounted(spare_engine, "btrfs")
    place = volume(engine, "data")
    subprocess.run(["chattr", "+c", place], check=True)
    (place / "zeros").write_bytes(b"0123456789abcdef" * (BIG // 16))
    os.sync()
    found = planned(engine, of(engine, Subject.VOLUME, "data"))
    assert found.frees.least
    assert found.frees.bytes < NEARLY


def test_what_lies_within_inodes_is_no_space(spare_engine: Engine) -> None:
    """ext4 with inline_data counts it in sectors."""
    engine = _mounted(spare_engine, "ext4", "-m", "0", "-O", "inline_data")
    id_ = ended(engine, "mkdir /job; for n in $(seq 99); do echo $n > /job/$n; done")
    big = upper(engine, id_) / "job/big"
    big.write_bytes(os.urandom(BIG))
    found = planned(engine, of(engine, Subject.CONTAINER, id_))
    assert found.frees.bytes >= BIG
    kept(engine, found, exact=False)
