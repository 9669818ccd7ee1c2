"""Run the suite: what waits for servers beside what waits for the processor.

The first half's output is shown when it has ended; the other's as it comes. Ends with 1
where a test failed in either.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
STORES = sorted(str(path) for path in HERE.glob("test_store_*.py"))


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
