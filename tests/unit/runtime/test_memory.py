"""What was freed stays with the process, so that the next picture faults in no page."""

import subprocess
import sys

PICTURES = """
import resource, sys
import numpy as np
from aegis.runtime import memory
if sys.argv[1] == "keep":
    assert memory.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def picture():
    decoded = np.ones((720, 1280, 3), np.uint8)
    small = decoded[::2, ::2].astype(np.float32)
    return decoded, small, small.transpose(2, 0, 1).copy()
picture()
before = faults()
for _ in range(50):
    picture()
print(faults() - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PICTURES, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_pictures_that_come_and_go_cost_no_page_faults() -> None:
    assert faults("keep") < 500
    assert faults("as it is") > 5_000
