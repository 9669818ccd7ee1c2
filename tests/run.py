"""Run the suite in two halves, side by side: two cores have half the time to wait.

The one with the stores is shown when it has ended, the other as it comes. Ends with 1 where a
test failed in either.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Beside the stores, what takes long and is not about time: the halves are about as long.
LONG = ("codecs", "cores", "corpora", "schedules")
STORES = [
    str(HERE / "conformance"),
    *sorted(str(path) for path in HERE.glob("test_store_*.py")),
    *(str(HERE / f"test_{name}.py") for name in LONG),
]


def main() -> int:
    """Run both halves; 0 where all is well."""
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    with tempfile.TemporaryFile() as said:
        stores = subprocess.Popen(
            [*command, "-p", "no:cacheprovider", *STORES], stdout=said, stderr=subprocess.STDOUT
        )
        try:
            ignored = [f"--ignore={path}" for path in STORES]
            rest = subprocess.run([*command, *ignored], check=False).returncode
            code = stores.wait()
        finally:
            stores.kill()
            stores.wait()
        said.seek(0)
        print(said.read().decode(errors="replace"), flush=True)
    return int(rest != 0 or code != 0)


if __name__ == "__main__":
    sys.exit(main())
