"""Run the suite in three parts, side by side: two cores have less than half the time to wait.

The tests of stores are one part, those that mostly wait for servers, clocks and processes another.
The largest part is shown as it comes, the others when they have ended. Ends with 1 where a test
failed in any of them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
STORES = [
    str(HERE / "conformance"),
    *sorted(str(path) for path in HERE.glob("stores/test_store_*.py")),
    str(HERE / "transfers" / "test_store_transfers.py"),
    # What takes long and depends on no clock: so the parts take about as long.
    str(HERE / "codecs"),
    str(HERE / "runners" / "test_cores.py"),
    str(HERE / "runners" / "test_schedules.py"),
    str(HERE / "stores" / "test_uploads_aborted.py"),
    str(HERE / "test_corpora.py"),
]
WAITING = [
    str(HERE / "sinks" / "test_publishing.py"),
    str(HERE / "stores" / "test_redirects.py"),
    str(HERE / "stores" / "test_trickling.py"),
    str(HERE / "threads" / "test_forks.py"),
    str(HERE / "threads" / "test_limits.py"),
]


def main() -> int:
    """Run all parts; 0 where all is well."""
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    with ExitStack() as stack:
        parts = []
        for paths in (STORES, WAITING):
            shown = stack.enter_context(tempfile.TemporaryFile())
            own = [*command, "-p", "no:cacheprovider", *paths]
            part = subprocess.Popen(own, stdout=shown, stderr=subprocess.STDOUT)
            stack.callback(part.wait)
            stack.callback(part.kill)
            parts.append((part, shown))
        ignored = [f"--ignore={path}" for path in (*STORES, *WAITING)]
        codes = [subprocess.run([*command, *ignored], check=False).returncode]
        for part, shown in parts:
            codes.append(part.wait())
            shown.seek(0)
            print(shown.read().decode(errors="replace"), flush=True)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
