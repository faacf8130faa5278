"""Asks a process to measure networks: one of its own on this machine, or one on a board over ssh; the same program runs
in both, sent through standard input, so that nothing is installed on a board."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfab.core import BuildError, UsageError
from archfab.hardware.measuring.board import MARK

LOADER = """import json, sys, types
sys.path = [path for path in sys.path if path]
if sys.version_info < (3, 8):
    print("archfab:" + json.dumps({"fatal": "python", "because": sys.version.split()[0]}))
    sys.exit(0)
stream = sys.stdin.buffer
sent = json.loads(stream.readline().decode())
for name, text in sent["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
module.main(sent["request"], stream)
"""
SENT = ("timing", "board")
KEEP_ALIVE = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
              "-o", "ServerAliveCountMax=3")
CHUNK = 1 << 16


@dataclass(frozen=True)
class Place:
    """Where networks are measured: a new process of this Python, or of a board's."""

    ssh: str = ""                       # as ssh takes it: USER@HOST, or a name of its configuration
    python: str = "python3"             # the board's
    ssh_options: tuple[str, ...] = ()
    patience: float = 60.0              # seconds without a sign of life after which it is given up

    @property
    def name(self) -> str:
        return self.ssh or "this machine"

    def command(self) -> list[str]:
        if not self.ssh:
            return [sys.executable, "-c", LOADER]
        return ["ssh", *self.ssh_options, *KEEP_ALIVE, "--", self.ssh, f"exec {self.python} -c {shlex.quote(LOADER)}"]


@dataclass(frozen=True)
class Sample:
    """A network to measure: ONNX bytes, and its inputs in order; without any, noise of the right shape."""

    model: bytes
    inputs: tuple[Any, ...] = ()        # numpy arrays

    def key(self) -> str:
        return hashlib.sha256(b"".join([self.model, *(x.tobytes() for x in self.inputs)])).hexdigest()

    def plain(self) -> dict[str, Any]:
        return {"size": len(self.model), "inputs": [{"dtype": str(x.dtype), "shape": list(x.shape), "size": x.nbytes}
                                                    for x in self.inputs]}


def ask(place: Place, request: Mapping[str, Any], samples: Sequence[Sample]) -> tuple[dict[str, Any], list[Any]]:
    """Has networks measured there: what the machine is, and what `board.examine` found of each or `{"error": ...}`.

    :raises UsageError: when the place cannot be used as it is; says what to do.
    :raises BuildError: when it stops answering, or ends before it said all.
    """
    header = json.dumps({"modules": [[f"archfab.hardware.measuring.{name}",
                                      Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")]
                                     for name in SENT],
                         "request": {**request, "models": [sample.plain() for sample in samples]}})
    parts = [header.encode() + b"\n", *(part for sample in samples
                                        for part in (sample.model, *(x.tobytes() for x in sample.inputs)))]
    with one_at_a_time(place), Talk(place, parts) as talk:
        machine: dict[str, Any] = {}
        found: list[Any] = []
        for line in talk.lines():
            if "fatal" in line:
                raise UsageError(lacking(place, line))
            machine = line.get("machine", machine)
            if "index" in line:
                found.append(line)
            if len(found) == len(samples):
                return machine, found
        talk.ended(len(found), len(samples))
    raise AssertionError("not reached")


class Talk:
    """A process that is sent bytes and whose lines are read, given up when it shows no sign of life."""

    def __init__(self, place: Place, parts: Sequence[bytes]) -> None:
        self.place, self.parts = place, parts
        self.heard: queue.Queue[bytes | None] = queue.Queue()
        self.complaints: list[bytes] = []
        self.last = time.monotonic()

    def __enter__(self) -> Talk:
        try:
            self.process = subprocess.Popen(self.place.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE)
        except FileNotFoundError:
            raise UsageError("there is no program 'ssh' here to reach a board with; install it: "
                             "apt-get install openssh-client") from None
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._hear, self._complain)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join(2)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What the program says, until it ends."""
        while True:
            try:
                line = self.heard.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() - self.last > self.place.patience:
                    raise BuildError(f"{self.place.name} gave no sign of life for {self.place.patience:g} s and was "
                                     f"given up; {advice(self.place)}") from None
                continue
            if line is None:
                return
            if line.startswith(MARK.encode()):
                yield json.loads(line[len(MARK):])

    def ended(self, got: int, of: int) -> None:
        """Raises what an early end means."""
        code = self.process.wait()
        self.threads[-1].join(1)
        raise meaning(self.place, code, b"".join(self.complaints).decode(errors="replace").strip(), got, of)

    def _send(self) -> None:
        assert self.process.stdin
        try:
            for part in self.parts:
                for at in range(0, len(part), CHUNK):
                    self.process.stdin.write(part[at:at + CHUNK])
                    self.last = time.monotonic()
            self.process.stdin.close()
        except (OSError, ValueError):           # it ended: what it said says why
            pass

    def _hear(self) -> None:
        assert self.process.stdout
        with contextlib.suppress(OSError, ValueError):
            for line in self.process.stdout:
                self.last = time.monotonic()
                self.heard.put(line)
        self.heard.put(None)

    def _complain(self) -> None:
        assert self.process.stderr
        with contextlib.suppress(OSError, ValueError):
            for line in self.process.stderr:
                self.complaints.append(line)
                del self.complaints[:-50]


@contextlib.contextmanager
def one_at_a_time(place: Place) -> Iterator[None]:
    """Waits until no other process of ours measures at the same place: two at once would time each other."""
    try:
        import fcntl
    except ImportError:                         # no Unix: nothing to wait with
        yield
        return
    user = os.getuid()
    name = hashlib.sha256(place.ssh.encode()).hexdigest()[:12]
    path = os.path.join(tempfile.gettempdir(), f"archfab-measuring-{user}-{name}")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600), "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lacking(place: Place, said: Mapping[str, Any]) -> str:
    """The message for a machine that has no Python that is new enough, no onnxruntime, or not those cores."""
    if said["fatal"] == "cores":
        return f"{place.name} has not the cores that the device's file asks for: {said['because']}"
    if said["fatal"] == "python":
        return (f"{place.name} has Python {said['because']}, and measuring needs 3.8 or newer; name a newer one in the "
                "device's file: python = \"/path/to/python3\"")
    return (f"the Python of {place.name} cannot import onnxruntime ({said['because']}); install it there: "
            f"{place.python if place.ssh else sys.executable} -m pip install onnxruntime")


def meaning(place: Place, code: int, said: str, got: int, of: int) -> UsageError | BuildError:
    """What it means that a process ended before it had said all, from its exit code and its complaints."""
    last = said.splitlines()[-1] if said else f"exit code {code}"
    host = place.ssh.rpartition("@")[2]
    for words, advised in (
            (("host key verification failed", "host identification has changed", "no matching host key"),
             f"its host key is not the one that is known here, or none is known; look at it, and if it is right accept "
             f"it once by hand: ssh {place.ssh} (an old one is forgotten with ssh-keygen -R {host})"),
            (("permission denied", "too many authentication failures"),
             f"it takes none of your keys; let it know one: ssh-copy-id {place.ssh}"),
            (("could not resolve", "name or service not known"),
             "there is no machine of this name; see the line ssh = \"USER@HOST\" in the device's file"),
            (("bad configuration option", "can't open user config", "unknown option", "bad owner or permissions"),
             "see ssh_options in the device's file")):
        if place.ssh and code == 255 and any(each in said.lower() for each in words):
            return UsageError(f"{place.name} cannot be measured: {last}; {advised}")
    if place.ssh and (code == 127 or "command not found" in said or (code == 126 and "denied" in said.lower())):
        return UsageError(f"{place.name} has no Python by the name '{place.python}' ({last}); install it there "
                          "(apt-get install python3 python3-pip), or say which: python = \"/path/to/python3\"")
    if code < 0 or code in (134, 137, 139):
        return BuildError(f"the process that measured on {place.name} was ended by the system ({last}) after {got} of "
                          f"{of} networks; it may have been out of memory")
    if place.ssh and code == 255:
        return BuildError(f"{place.name} stopped answering after {got} of {of} networks ({last}); {advice(place)}")
    return BuildError(f"measuring on {place.name} ended after {got} of {of} networks: {last}")


def advice(place: Place) -> str:
    if not place.ssh:
        return "one run of the network may take longer than that: set patience in the device's file"
    return (f"see whether it has power and whether `ssh {place.ssh}` still gets through, then try again; a longer wait "
            "is set by patience in the device's file")
