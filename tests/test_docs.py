"""Every example of the README and the docs runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from conftest import ROOT, SAMPLE

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(<!-- not run: [^>]+-->\n)?```(\w+)\n(.*?)```", re.DOTALL)
EXAMPLES = [
    pytest.param(kind, text, id=f"{page.name}-{number}")
    for page in PAGES
    for number, (opted_out, kind, text) in enumerate(FENCE.findall(page.read_text()))
    if not opted_out and kind in ("python", "sh")
]


@pytest.fixture(scope="module", autouse=True)
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What an environment says of an S3 that has the buckets of docs/stores.md."""
    import boto3

    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        client = boto3.client("s3", **place.words["client_kwargs"])
        for bucket in ("logs", "clean"):
            client.create_bucket(Bucket=bucket)
        for day in ("01", "02"):
            client.upload_file(str(SAMPLE), "logs", f"2026/{day}.jsonl.gz")
        client.close()
        yield place.environment


def test_the_entry_points_in_the_docs_are_those_of_the_example_package() -> None:
    (text,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL
    )
    project = tomllib.loads((ROOT / "tests" / "thirdparty" / "pyproject.toml").read_text())
    told = tomllib.loads(text)["project"]["entry-points"]
    assert told == project["project"]["entry-points"]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_an_example_runs(kind: str, text: str, tmp_path: Path, objects: dict[str, str]) -> None:
    (tmp_path / "events.json").write_text('[{"a": 1},\n {"a": 2}]\n')
    for name in ("events.jsonl.gz", "in.jsonl.gz"):
        shutil.copy(SAMPLE, tmp_path / name)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples" / "clean.py", tmp_path)
    (tmp_path / "fixtures").mkdir()
    shutil.copy(SAMPLE, tmp_path / "fixtures")
    if kind == "python":
        programs = [[sys.executable, "-W", "error", "-c", text]]
    else:
        lines = [line for line in text.splitlines() if line.startswith("paipa-etl ")]
        programs = [["sh", "-c", line] for line in lines]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for program in programs:
        done = subprocess.run(
            program,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path, **objects},
        )
        assert done.returncode == 0, (program[-1], done.stderr)
