"""One node of Ceph with its S3 gateway on loopback: a monitor, a manager, a disk in a file."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

KEY, SECRET = "AKTEST", "SKTEST0123456789"
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon1}]
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
keyring = {place}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
run dir = {place}/run
log file = {place}/log/$name.log
admin socket = {place}/run/$name.$pid.asok
mon max pg per osd = 1000
[mon]
mon data = {place}/mon
mon initial members = a
[mgr]
mgr data = {place}/mgr
mgr modules =
mgr initial modules =
[osd]
osd data = {place}/osd
osd objectstore = bluestore
bluestore block size = {disk}
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {place}/rgw
rgw enable usage log = false
rgw dns name = localhost
"""
CAPABILITIES = {
    "mon.": "mon=allow *",
    "client.admin": "mon=allow *,osd=allow *,mgr=allow *,mds=allow *",
    "client.rgw": "mon=allow *,osd=allow *,mgr=allow *",
    "mgr.x": "mon=allow *,osd=allow *,mgr=allow *",
    "osd.0": "mon=allow *,osd=allow *,mgr=allow *",
}


class Ceph:
    """Starts with ``start``; its data lie in one directory, which goes with it."""

    def __init__(self, place: Path, port: int, monitor: int, disk: int = 8 << 30) -> None:
        self._place, self._port = place, port
        words = {"fsid": uuid.uuid4(), "place": place, "port": port, "disk": disk}
        self._text = CONFIGURATION.format(mon=monitor, mon1=monitor + 1, **words)
        self._fsid, self._address = (
            words["fsid"],
            f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor + 1}]",
        )
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self, answers: Callable[[], bool]) -> None:
        """Make the cluster and its user; ``answers`` tells whether the gateway does."""
        for name in ("mon", "mgr", "osd", "rgw", "log", "run"):
            (self._place / name).mkdir(parents=True)
        (self._place / "ceph.conf").write_text(self._text)
        self._make_keys()
        self._run("monmaptool", "--create", "--clobber", "--fsid", str(self._fsid), "--addv", "a",
                  self._address, self._place / "monmap")  # fmt: skip
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", self._place / "monmap",
                  "--keyring", self._place / "keyring")  # fmt: skip
        self._daemon("ceph-mon", "-i", "a")
        self._until(lambda: self._asks("-s"), "the monitor")
        self._daemon("ceph-mgr", "-i", "x")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "-i", "0")
        self._until(lambda: self._asks("osd", "stat", says=b"1 up"), "the disk")
        self._daemon("radosgw", "-n", "client.rgw")
        self._until(answers, "the gateway")
        keys = (f"--access-key={KEY}", f"--secret-key={SECRET}")
        words = ("user", "create", "--uid=test", "--display-name=test", *keys)
        self._run("radosgw-admin", "-n", "client.rgw", *words)

    def _make_keys(self) -> None:
        ring = self._place / "keyring"
        self._run("ceph-authtool", "--create-keyring", ring)
        for name, rights in CAPABILITIES.items():
            words = [word for right in rights.split(",") for word in ("--cap", *right.split("="))]
            self._run("ceph-authtool", ring, "--gen-key", "-n", name, *words)

    def _run(self, *words: object) -> bytes:
        command = [str(words[0]), "-c", str(self._place / "ceph.conf"), *map(str, words[1:])]
        if words[0] in ("ceph-authtool", "monmaptool"):
            command = [str(word) for word in words]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.decode()[-400:]}")
        return done.stdout

    def _asks(self, *words: str, says: bytes = b"") -> bool:
        try:
            return says in self._run("ceph", "--connect-timeout", "30", *words)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False

    def _daemon(self, *words: str) -> None:
        log = (self._place / "log" / f"{words[0]}.out").open("wb")
        command = [words[0], "-f", "-c", str(self._place / "ceph.conf"), *words[1:]]
        with log:
            self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self._place))

    def _until(self, holds: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait until something holds; no longer than the daemons live.

        The seconds are for a machine on which ten other programs want each core.
        """

        def alive() -> bool:
            return all(daemon.poll() is None for daemon in self._daemons)

        until(lambda: not alive() or holds(), what, seconds)
        if not alive():
            raise RuntimeError(f"a daemon ended before {what} answered: is a port taken?")

    def stop(self) -> None:
        """End the daemons, the gateway first."""
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()


def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not answer within {seconds} s")
        time.sleep(0.1)


def enough_memory() -> bool:
    """Whether the machine has the 2 GB that a node takes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 3 << 30
