#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Where io_uring is forbidden (a container's seccomp filter, sysctl kernel.io_uring_disabled), every
# command that needs it says so and what to do, and leaves nothing behind.
# runs: always
# limit: 180
import ctypes
import os
import platform
import struct
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAMINA = os.environ.get("LAMINA", TOP + "/build/release/src/lamina")
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_ALLOW, RET_EPERM = 0x7FFF0000, 0x00050001
IO_URING_SETUP = 425  # on every architecture

if platform.machine() not in ("x86_64", "aarch64"):
    print("SKIP: no seccomp filter for this architecture")
    sys.exit(77)


def forbid_io_uring():
    """A filter: load the number of the call; if it is io_uring_setup, EPERM."""
    program = b"".join(
        struct.pack("HBBI", *row)
        for row in ((0x20, 0, 0, 0), (0x15, 0, 1, IO_URING_SETUP), (0x06, 0, 0, RET_EPERM),
                    (0x06, 0, 0, RET_ALLOW)))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0):
        os._exit(99)


def run(*words, forbidden=True):
    return subprocess.run([LAMINA, *words], capture_output=True, text=True, timeout=30,
                          preexec_fn=forbid_io_uring if forbidden else None)


def refused(*words):
    done = run(*words)
    if done.returncode == 99:
        print("SKIP: no seccomp here")
        sys.exit(77)
    assert done.returncode == 3, (words, done)
    assert "io_uring" in done.stderr, (words, done)
    assert done.stderr.count("lamina ") >= 1, (words, done)


with tempfile.TemporaryDirectory(dir=os.environ.get("LAMINA_TEST_DIR", "/var/tmp")) as work:
    refused("format", work + "/new.img", "--size", "128M")
    assert not os.path.exists(work + "/new.img"), "a refused format left a file"
    assert run("format", work + "/pool.img", "--size", "128M", forbidden=False).returncode == 0
    os.mkdir(work + "/mnt")
    refused("mount", work + "/pool.img", work + "/mnt")
    refused("check", work + "/pool.img")
    assert not os.path.ismount(work + "/mnt")
    # inspect reads without it.
    assert run("inspect", work + "/pool.img").returncode == 0
