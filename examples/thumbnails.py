"""Downloads images, makes thumbnails and lists them: ``python examples/thumbnails.py [folder]``.

Network, processor and disk each have a step with as many workers as suit them. The images
come from a server on this machine that takes its time, and now and then fails at first.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import urllib3
from fetch import check, new_session
from PIL import Image, ImageOps

from paipa_etl import Pipeline, per_worker, steps

Record = dict[str, Any]

BOX = (128, 128)  # pixels; a thumbnail keeps its shape within


def thumbnails(urls_file: str | Path, folder: str | Path) -> Pipeline:
    """Plan the way from a file of URLs to thumbnails and their ``manifest.jsonl`` in a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return Pipeline(
        urls_file,
        [
            steps.map(download, workers=32, retries=2),
            steps.map(make_thumbnail, workers=2),  # Pillow lets other threads run meanwhile
            steps.map(save, workers=4),
        ],
        folder / "manifest.jsonl",
        on_error="skip",
        resources={"session": per_worker(new_session), "folder": folder},
    )


def download(url: str, *, session: urllib3.PoolManager) -> Record:
    """Fetch an image."""
    response = session.request("GET", url)
    check(response)
    return {"url": url, "image": response.data}


def make_thumbnail(record: Record) -> Record:
    """Decode the image, and encode a small one in its place."""
    with Image.open(BytesIO(record["image"])) as image:
        image.thumbnail(BOX)
        jpeg = BytesIO()
        image.convert("RGB").save(jpeg, "JPEG")
        return {**record, "image": jpeg.getvalue(), "width": image.width, "height": image.height}


def save(record: Record, *, folder: Path) -> Record:
    """Write the file, whole or not at all; what is returned goes into the manifest."""
    path = folder / f"{hashlib.sha256(record['url'].encode()).hexdigest()[:16]}.jpg"
    temporary = path.with_suffix(f".{secrets.token_hex(4)}")  # a URL may be listed twice
    try:
        temporary.write_bytes(record["image"])
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    image = record.pop("image")
    return {**record, "path": str(path), "bytes": len(image)}


class ImageServer(ThreadingHTTPServer):
    """Serves pictures, late; every tenth is refused once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), ImageHandler)
        self.latency = latency
        self.refused: set[str] = set()
        self.pictures = [picture(n, kind) for n in range(3) for kind in ("PNG", "JPEG")]


class ImageHandler(BaseHTTPRequestHandler):
    """Answers one client."""

    protocol_version = "HTTP/1.1"  # connections stay open
    disable_nagle_algorithm = True
    server: ImageServer

    def do_GET(self) -> None:
        """Send ``/N``, the picture of that number."""
        time.sleep(self.server.latency)
        number = int(self.path.removeprefix("/"))
        if number % 10 == 9 and self.path not in self.server.refused:
            self.server.refused.add(self.path)
            self.send_error(503)
            return
        picture = self.server.pictures[number % len(self.server.pictures)]
        self.send_response(200)
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def picture(number: int, kind: str) -> bytes:
    """Draw something to look at."""
    drawn = Image.effect_mandelbrot((800 - 100 * number, 600), (-2.2, -1.2, 1, 1.2), 80)
    encoded = BytesIO()
    ImageOps.colorize(drawn, "navy", "gold").save(encoded, kind)
    return encoded.getvalue()


@contextmanager
def listed_images(folder: Path, count: int, latency: float) -> Iterator[Path]:
    """A file of URLs, whose images are served as long as the block runs."""
    with ImageServer(latency) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            urls_file = folder / "urls.txt"
            host = f"http://127.0.0.1:{server.server_port}"
            urls_file.write_text("".join(f"{host}/{number}\n" for number in range(count)))
            yield urls_file
        finally:
            server.shutdown()
            thread.join()


def arguments(description: str) -> argparse.Namespace:
    """What is asked for on the command line; the folder is a new one where none is named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", nargs="?", type=Path, help="where everything goes")
    parser.add_argument("--count", type=int, default=200, help="of images (200)")
    parser.add_argument("--latency", type=float, default=0.05, help="of the server, in s (0.05)")
    given = parser.parse_args()
    given.folder = (given.folder or Path(tempfile.mkdtemp(prefix="thumbnails-"))).resolve()
    return given


def main() -> None:
    """Make the thumbnails, and say how long it took."""
    given = arguments("Download images and make thumbnails of them.")
    with listed_images(given.folder, given.count, given.latency) as urls_file:
        report = thumbnails(urls_file, given.folder).run()
    retried = report.steps[0].retried
    print(f"{report.written} thumbnails and manifest.jsonl are in {given.folder}")
    print(f"{retried} downloads were tried again, {report.skipped} images left out", *report.errors)
    print(f"It took {report.seconds:.2f} s; one after the other, the waiting for the server alone")
    print(
        f"would have been {given.latency * (given.count + retried):.2f} s (computed, not measured)"
    )


if __name__ == "__main__":
    main()
