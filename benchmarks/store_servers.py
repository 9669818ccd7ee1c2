"""What the jobs of stores.py talk to: Ceph's S3 gateway, proxies before it, OpenSSH's sshd."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from contest import note
from tools import HERE

sys.path.insert(0, str(HERE.parent / "tests"))

from ceph import KEY, SECRET, Ceph

LATENCY = 0.02  # seconds before each request
BANDWIDTH = 50e6  # bytes a second, of a connection
CEPH = ("radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "radosgw-admin")
PATIENCE = 60.0


@contextlib.contextmanager
def gateway(folder: Path, disk: int) -> Iterator[dict[str, str]]:
    """Ceph's S3 gateway, alone and behind two proxies; gives the endpoints by name.

    `near` is the gateway, `far` is 20 ms away, `slow` has 50 MB/s a connection besides.
    """
    place, port = folder / "ceph", free_port()
    shutil.rmtree(place, ignore_errors=True)
    node = Ceph(place, port, free_port(), disk)
    try:
        node.start(lambda: answers(port))
        with proxy(port, LATENCY, 0) as far, proxy(port, LATENCY, BANDWIDTH) as slow:
            ports = {"near": port, "far": far, "slow": slow}
            yield {name: f"http://127.0.0.1:{at}" for name, at in ports.items()}
    finally:
        node.stop()
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def proxy(upstream: int, latency: float, bandwidth: float) -> Iterator[int]:
    """A proxy in a process of its own; gives its port."""
    words = (HERE / "store_proxy.py", upstream, latency, bandwidth)
    with subprocess.Popen(
        [sys.executable, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            yield int(child.stdout.readline())
        finally:
            child.kill()


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[dict[str, str]]:
    """OpenSSH's own SFTP server, with keys of its own; gives the words that a client needs."""
    place, port = folder / "sshd", free_port()
    shutil.rmtree(place, ignore_errors=True)
    (place / "data").mkdir(parents=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)]
        subprocess.run(command, check=True)
    words = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": place / "host",
        "AuthorizedKeysFile": place / "user.pub", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp",
        "PidFile": place / "pid",
    }  # fmt: skip
    (place / "conf").write_text("".join(f"{key} {value}\n" for key, value in words.items()))
    kind, key = (place / "host.pub").read_text().split()[:2]
    (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [program("sshd"), "-D", "-e", "-f", str(place / "conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until_answers(port, server)
        yield {
            "BENCH_SFTP": f"sftp://{getpass.getuser()}@127.0.0.1:{port}{place}/data",
            "BENCH_SFTP_KEY": str(place / "user"),
            "BENCH_SFTP_HOSTS": str(place / "known_hosts"),
        }
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(place, ignore_errors=True)


def lacking(names: tuple[str, ...]) -> str:
    """Name the programs that are not installed, or nothing."""
    return ", ".join(name for name in names if not program(name))


def program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def until_answers(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not answers(port):
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{server.args!r} does not answer")
        time.sleep(0.05)


def for_clients(endpoint: str) -> None:
    """Set what S3 clients read from the environment, for the children of this process."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        # Checksums that newer clients add where nobody asks are nothing this gateway knows.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    os.environ.pop("AWS_CA_BUNDLE", None)  # nothing is encrypted here, and rclone takes none
    for remote in ("FROM", "TO"):  # two remotes of rclone's: in one it would have the store copy
        about = {"TYPE": "s3", "PROVIDER": "Ceph", "ENV_AUTH": "true", "ENDPOINT": endpoint}
        os.environ |= {f"RCLONE_CONFIG_{remote}_{key}": word for key, word in about.items()}


def venv_with(folder: Path, *packages: str) -> str:
    """Give the interpreter of a virtual environment with these, made when first asked for."""
    place = folder / f"venv-{packages[0]}"
    python = place / "bin" / "python"
    if not (place / "made").exists():
        note(f"installing {' '.join(packages)}")
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        for command in ([sys.executable, "-m", "venv", "--clear", str(place)], pip):
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return ""
        (place / "made").touch()
    return str(python)


def httpfs(folder: Path) -> str:
    """Give an interpreter whose DuckDB has the extension that knows S3, or nothing."""
    python = venv_with(folder, "duckdb")
    words = [python, "-c", "import duckdb; duckdb.sql('INSTALL httpfs')"]
    done = python and subprocess.run(words, capture_output=True, check=False).returncode == 0
    return python if done else ""
