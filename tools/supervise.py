"""Run a command so that nothing of it outlives it: python tools/supervise.py SECONDS GIGABYTES COMMAND ARGUMENT ...

For notebooks that others have written. The command gets a session of its own and limits of time and memory, and whatever it
has started is killed when it ends or runs into one of them, whatever session those processes have put themselves into. On
Linux this process becomes their "subreaper" (prctl(2)): a process whose parent has died becomes a child of ours, not of
init, so going down the tree of processes finds them all. Elsewhere those are found that were seen at work while it ran.

Ends with the command's own exit status, or 124: time was up, 137: the processes together held more memory than allowed,
125: something would not die. Standard input is a lifeline: when it is closed, everything ends. This keeps order, and is no
prison: code that is written to do harm belongs into a container.
"""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time

import psutil

TIME_UP, STUCK, MEMORY_UP = 124, 125, 137
SUBREAPER = 36          # PR_SET_CHILD_SUBREAPER
LOOK = 0.2              # seconds between two looks at the processes


def limit(gigabytes):
    """What holds for all processes started from here: no core files; one that asks for more than this gets a MemoryError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        # Of its own writable memory: the address space as a whole would count what torch only reserves.
        size = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def held(processes):
    """Bytes of memory that processes hold together."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            pass
    return total


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end(me, seen, patience=10):
    """Kill all that was started, again and again until nothing is left -> whether that worked."""
    until = time.monotonic() + patience
    while True:
        left = [process for process in {*seen, *me.children(recursive=True)} if alive(process)]
        if not left or time.monotonic() > until:
            return not left
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):     # those that became ours are ours to bury
                pass
        except ChildProcessError:
            pass
        time.sleep(0.02)


def run(command, seconds, gigabytes):
    me, seen, began = psutil.Process(), set(), time.monotonic()
    limit(gigabytes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    status = None
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        while (status := child.poll()) is None:
            seen |= set(me.children(recursive=True))
            if time.monotonic() - began > seconds:
                status = TIME_UP
            elif held(seen) > gigabytes * 1e9:
                status = MEMORY_UP
            elif select.select([sys.stdin], [], [], LOOK)[0] and not os.read(0, 1):
                status = 128 + signal.SIGHUP
            if status is not None:
                break
    finally:
        if not end(me, seen):
            status = STUCK
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[3:], float(sys.argv[1]), float(sys.argv[2])))
