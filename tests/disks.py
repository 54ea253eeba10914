"""Disks that fill up."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(path, kibibytes):
    """A file system of so many KiB, where the system lets us mount one."""
    path.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this system does not let us mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
