"""What the tests share: where optional data lies, and how the program is run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")      # as the command line does
os.environ.setdefault("OMP_NUM_THREADS", "1")           # networks of tests are tiny, and tests run side by side
ROOT = Path(__file__).parents[1]
os.environ["ARCHFAB_DEVICES"] = str(ROOT / "tests" / "no-devices")     # the user's own devices are none of the tests'
DATA = Path(os.environ.get("ARCHFAB_DATA", ROOT / "../shared/data"))


@pytest.fixture
def shared_data():
    """The optional data folder, or a skip that says why."""
    if not DATA.is_dir():
        pytest.skip(f"the optional data folder {DATA} is absent; name one in ARCHFAB_DATA")
    return DATA


class Answer:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def archfab(tmp_path, monkeypatch, capsys):
    """Runs the command line in an empty folder; in this process where the request is wrong, for that is quick."""

    def apart(words, options):
        done = subprocess.run([sys.executable, "-m", "archfab.cli", *words], cwd=tmp_path, text=True,
                              capture_output=True, timeout=300, **options)
        return Answer(done.returncode, done.stdout, done.stderr)

    def here(words):
        from archfab.cli import main
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            try:
                code = main(words)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        return Answer(code, *capsys.readouterr())

    def run(*words, code=0, **options):
        words = list(map(str, words))
        answer = here(words) if code == 2 and not options else apart(words, options)
        if code is not None:
            assert answer.code == code, f"exit code {answer.code}\n{answer.out}\n{answer.err}"
            assert "Traceback" not in answer.err
        return answer

    return run
