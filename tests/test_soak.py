"""The soak for some seconds; ``make soak`` takes minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_short_soak() -> None:
    """In a process of its own: one that hangs is ended with the stacks of its threads."""
    command = [sys.executable, "-W", "error", str(HERE / "soak.py"), "0.15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no temporary file" in done.stdout
