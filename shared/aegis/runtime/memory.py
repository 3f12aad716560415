"""How the C library hands memory out: pictures come and go by the megabyte, many a second.

By default glibc asks the kernel for each of them and gives it back, and every page of it is then faulted in anew: two
thousand faults for one 720p picture that is decoded and searched, which cost more than decoding it.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
KEPT_BYTES = 256 << 20
LARGEST_BYTES = 32 << 20
"""glibc accepts no larger one."""
ARENAS = 2
"""Else every camera's thread would keep some megabytes of its own."""


def keep_freed() -> bool:
    """Keep what was freed for the next picture; False where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_MMAP_THRESHOLD, LARGEST_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_ARENA_MAX, ARENAS))
    return all(mallopt(name, value) for name, value in wanted)
