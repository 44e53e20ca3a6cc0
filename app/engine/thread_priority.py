"""Threads that let pages go first: what is worked out for one image must not make every page wait."""

import os
import sys
import threading

_NICER = 10


def yield_to_pages() -> None:
    """Lowers the priority of the calling thread and of those that it starts, where threads have one."""
    if sys.platform == "linux":
        thread_id = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread_id)
        os.setpriority(os.PRIO_PROCESS, thread_id, min(nice + _NICER, 19))
