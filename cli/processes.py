"""Child processes that never outlive us: started out of reach of the terminal's Ctrl-C, and killed by the kernel if we die."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG_BYTES_MAX = 10 * 1024 * 1024  # a log longer than this is set aside (once) when its process starts again
LOG_TAIL_LINES = 15

# Runs in the child just before it becomes the program. PR_SET_PDEATHSIG (1) has the kernel kill the child when its parent dies, and
# survives exec. A preexec_fn would do the same, but runs Python in a fork of a process that may have grpc's threads; this does not.
_UNTIL_PARENT_DIES = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent died first")
os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(command: Sequence[str | Path], log_path: Path, *, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Starts a command in a process group of its own, its output appended to a log.

    The child dies with the *thread* that calls this, so call it from one that lives as long as the child should.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
        log_path.replace(log_path.with_suffix(log_path.suffix + ".1"))
    shim = [sys.executable, "-I", "-S", "-c", _UNTIL_PARENT_DIES, str(os.getpid())]
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [*shim, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            process_group=0,
        )


def stop(process: "subprocess.Popen[bytes]", grace_s: float) -> bool:
    """Asks a process to end, and kills it if it has not within the grace; false if it had to be killed."""
    if process.poll() is not None:
        return True
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        kill(process)
        return False
    return True


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process at once, as a crash would."""
    if process.poll() is None:
        process.kill()
        process.wait()


def log_tail(log_path: Path, from_byte: int = 0) -> str:
    """The last lines of a log, from a position on, for a message that says why something did not start."""
    if not log_path.exists():
        return "(no log)"
    with log_path.open("rb") as log:
        log.seek(max(from_byte, log_path.stat().st_size - 64 * 1024))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:]) or "(the log is empty)"
