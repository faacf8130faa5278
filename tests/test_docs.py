"""The documentation is executed: every block of the pages that have any, in order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|sh)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NEEDS_MCU = pytest.mark.skipif(not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "gcc"))),
                               reason="apt install gcc-arm-none-eabi qemu-system-arm gcc")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["tutorial.md", "extending.md", "sharing.md", "forecasting.md", "molecules.md",
                                  "events.md", "devices.md", "memory.md", "accelerators.md", "measuring.md",
                                  "new-devices.md", "wafer-classes.md",
                                  pytest.param("microcontrollers.md", marks=NEEDS_MCU)])
def test_a_page_can_be_followed_from_top_to_bottom(page, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text())
    assert len(blocks) >= 2
    for language, file, text in blocks:
        if file:
            (tmp_path / file).write_text(text)
            continue
        words = [sys.executable, "-c", text] if language == "python" else ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
