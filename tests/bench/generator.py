"""Load and mock provider: compiled from `native/` where there is a compiler, else their twins in Python.

Both take the same arguments and print the same JSON. The one in C is three to five times as quick, so that it is not
what a fast system waits for; the table shows the generator's own ceiling (`direct`) in any case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import answers
from tests.bench.accounting import Tree
from tests.bench.processes import BENCH, LOAD_CORE, Unavailable, at_once, end_with_parent, process, say
from tests.contract.house import eventually, free_port

NATIVE = Path(__file__).parent / "native"

Histogram = Counter[int]  # microseconds → how often


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load. `done`: right answers; `wrong`: others; `broken`: cut; `unanswered`: not within patience."""

    seconds: float
    done: int
    wrong: int
    broken: int
    unanswered: int
    late: int  # open loop: no connection was free when they were due
    events: int
    bytes: int
    status: dict[str, int]
    whole: Histogram = field(default_factory=Counter)  # until the last byte
    first: Histogram = field(default_factory=Counter)  # until the first byte of the body
    travelled: Histogram = field(default_factory=Counter)  # one event, from the mock to the client
    refused: Histogram = field(default_factory=Counter)  # answers that are not 200
    generator_cpu_s: float = 0.0

    @property
    def failed(self) -> int:
        return self.wrong + self.broken + self.unanswered


def percentile(histogram: Histogram, share: float) -> float:
    """Microseconds; NaN of an empty histogram."""
    left = share * histogram.total()
    for value in sorted(histogram):
        left -= histogram[value]
        if left <= 0:
            return float(value)
    return float("nan")


@dataclass(frozen=True, slots=True)
class Generator:
    """How to run the two programs, and what they are."""

    name: str
    load_command: tuple[str, ...]
    mock_command: tuple[str, ...]
    core: int = LOAD_CORE

    def load(self, port: int, requests: Sequence[bytes], **options: float) -> Load:
        """Options: connections, seconds, rate, each, stagger, slow, finish, rotate, patience (see native/load.c)."""
        with self.loading(port, requests, **options) as running:
            return running.result()

    @contextlib.contextmanager
    def loading(self, port: int, requests: Sequence[bytes], **options: float) -> Iterator[Running]:
        with tempfile.TemporaryDirectory(prefix="aigw-load-") as scratch:
            paths = [Path(scratch) / str(number) for number in range(len(requests))]
            for path, request in zip(paths, requests, strict=True):
                path.write_bytes(request)
            chosen = [word for name, value in options.items() for word in (name, f"{value:g}")]
            command = ["taskset", "-c", str(self.core), *self.load_command, str(port), *chosen, *map(str, paths)]
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=end_with_parent
            )
            at_once(child.pid)
            try:
                yield Running(child)
            finally:
                child.kill()
                child.wait()

    @contextlib.contextmanager
    def mock(self, scratch: Path) -> Iterator[Mock]:
        answers.write(scratch / "answers")
        port, log = free_port(), scratch / "mock.log"
        with process([*self.mock_command, str(port), str(scratch / "answers")], cores=[self.core], log=log) as child:
            at_once(child.pid)
            ping = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n"
            eventually("the mock answers", lambda: _answers(self, port, ping), within=10.0)
            yield Mock(port, Tree(child.pid))


def _answers(generator: Generator, port: int, ping: bytes) -> bool:
    try:
        return generator.load(port, [ping], each=1, seconds=1).done == 1
    except subprocess.CalledProcessError:
        return False


@dataclass(frozen=True, slots=True)
class Mock:
    port: int
    tree: Tree


@dataclass(frozen=True, slots=True)
class Running:
    """A load under way."""

    child: subprocess.Popen[bytes]

    def result(self) -> Load:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output, _ = self.child.communicate()
        if self.child.returncode:
            raise subprocess.CalledProcessError(self.child.returncode, self.child.args)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        counted = json.loads(output)
        for name in ("whole", "first", "travelled", "refused"):
            counted[name] = Counter(dict(counted[name]))
        return Load(**counted, generator_cpu_s=cpu_s)


def in_python() -> Generator:
    python = (sys.executable, "-m")
    return Generator("Python", (*python, "tests.bench.python_load"), (*python, "tests.bench.python_mock"))


def compiled() -> Generator:
    """Built once per state of the sources. Raises Unavailable."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("there is no C compiler (Debian package gcc)")
    sources = sorted(NATIVE.iterdir())
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    binaries = BENCH / "native" / state
    for name in ("mock", "load"):
        if not (binaries / name).exists():
            binaries.mkdir(parents=True, exist_ok=True)
            command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(binaries / name), str(NATIVE / f"{name}.c")]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                raise Unavailable(f"{name}.c does not compile here: {built.stderr[-800:]}")
    return Generator("C", (str(binaries / "load"),), (str(binaries / "mock"),))


def best() -> Generator:
    try:
        return compiled()
    except Unavailable as reason:
        say(f"GENERATOR IN PYTHON, which is slower than nginx: {reason}")
        return in_python()
