"""What the benchmarks share: the data, a table, and a folder that goes away."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def data() -> Path:
    """Give the folder of test data, or end with the reason."""
    folder = Path(os.environ.get("AEGIS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.exists():
        sys.exit(f"the test data is not at {folder}; set AEGIS_TEST_DATA")
    return folder


def table(title: str, rows: Sequence[tuple[str, float, str, float, bool]]) -> None:
    """Print rows of what, measured, unit, limit and whether more is better; end with 1 if one misses its limit."""
    print(f"\n{title} ({platform.machine()}, {os.cpu_count()} cores)")
    print(f"{'':<46} {'measured':>10} {'limit':>10} {'ratio':>7}")
    missed = 0
    for what, measured, unit, limit, more in rows:
        good = measured >= limit if more else measured <= limit
        missed += not good
        mark = "" if good else "  MISSED"
        print(f"{what:<46} {measured:>7.1f} {unit:<3}{limit:>7.1f} {unit:<3}{measured / limit:>6.2f}{mark}")
    print(
        json.dumps({what: {"measured": round(m, 3), "limit": limit, "unit": unit} for what, m, unit, limit, _ in rows})
    )
    sys.exit(1 if missed else 0)
