"""What the system tells of a process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bccd_d2.io.processes import processor_seconds


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_processor_time_is_that_of_the_process():
    told = processor_seconds(os.getpid())
    assert told == pytest.approx(time.process_time(), abs=0.3) and told > 0.1


def test_a_process_that_is_not_there_spent_nothing():
    assert processor_seconds(2**22 + 1) == 0.0
