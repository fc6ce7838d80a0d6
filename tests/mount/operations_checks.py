#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of single system calls on a mount. Usage: operations_checks.py MOUNT [many]"""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import stat
import subprocess
import sys
import threading
import time

mnt = sys.argv[1]


def path(name):
    return os.path.join(mnt, name)


@contextlib.contextmanager
def fails(code):
    try:
        yield
    except OSError as error:
        assert error.errno == code, f"{errno.errorcode[error.errno]}, not {errno.errorcode[code]}"
        return
    raise AssertionError(f"did not fail with {errno.errorcode[code]}")


def put(name, data=b""):
    with open(path(name), "wb") as file:
        file.write(data)
    return path(name)


def as_user(uid, code):
    """Runs Python code with `mnt` and `os` as another user; the exit code."""
    return subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c",
         f"import os\nmnt = {mnt!r}\n{code}"], stderr=subprocess.DEVNULL).returncode


def check_names():
    put("a", b"one")
    put("b", b"two")
    os.rename(path("a"), path("b"))
    assert open(path("b"), "rb").read() == b"one"
    assert not os.path.exists(path("a"))
    with fails(errno.ENAMETOOLONG):
        put("x" * 256)
    put("x" * 255)
    for name in (".lamina", ".lamina-mine", "new\nline", b"\xff\xfe".decode(errors="surrogateescape")):
        with fails(errno.EISDIR if name == ".lamina" else errno.EINVAL):
            put(name)
    with fails(errno.EPERM):
        os.mkdir(path("d"))
    with fails(errno.EPERM):
        os.link(path("b"), path("l"))
    with fails(errno.EPERM):
        os.symlink("b", path("l"))
    with fails(errno.EPERM):
        os.mknod(path("p"), stat.S_IFIFO | 0o600)
    os.mknod(path("regular"), stat.S_IFREG | 0o600)
    with fails(errno.EEXIST):
        os.open(path("regular"), os.O_CREAT | os.O_EXCL)


def check_removed_while_open():
    fd = os.open(put("gone", b"still here"), os.O_RDWR)
    os.unlink(path("gone"))
    assert os.pread(fd, 100, 0) == b"still here"
    assert os.fstat(fd).st_nlink == 0
    put("gone", b"another")
    os.pwrite(fd, b"STILL", 0)
    assert open(path("gone"), "rb").read() == b"another"
    os.close(fd)


def check_sizes():
    name = put("size")
    os.truncate(name, 10 << 30)
    assert os.stat(name).st_size == 10 << 30 and os.stat(name).st_blocks == 0
    os.truncate(name, (1 << 50))
    with fails(errno.EFBIG):
        os.truncate(name, (1 << 50) + 1)
    with open(name, "r+b") as file:
        with fails(errno.EFBIG):
            os.pwrite(file.fileno(), b"x", 1 << 50)
    os.truncate(name, 0)


def check_attributes():
    name = put("attributes", b"x")
    os.chmod(name, 0o640)
    os.chown(name, 12, 34)
    os.utime(name, ns=(1_000_000_007, 2_000_000_009))
    s = os.stat(name)
    assert (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (0o640, 12, 34)
    assert (s.st_atime_ns, s.st_mtime_ns) == (1_000_000_007, 2_000_000_009)
    with fails(errno.EPERM):
        os.chmod(name, 0o4755)
    before = time.time_ns()
    with open(name, "r+b") as file:
        file.write(b"y")
    assert os.stat(name).st_mtime_ns >= before - 20_000_000, "a write sets mtime"
    assert os.stat(name).st_blksize == 4096
    assert os.stat(name).st_ino == os.lstat(name).st_ino > 1
    os.chown(mnt, 0, 0)
    os.chmod(mnt, 0o755)


def check_locks_and_maps():
    fd = os.open(put("locks", bytes(8192)), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 100)
    area = mmap.mmap(fd, 8192)
    area[5000:5005] = b"hello"
    area.flush()
    assert os.pread(fd, 5, 5000) == b"hello"
    area.close()
    os.close(fd)


def check_xattrs():
    name = put("xattrs", b"x" * 8192)
    os.setxattr(name, "user.note", b"hello")
    os.setxattr(name, "trusted.note", b"secret")
    os.setxattr(name, "security.selinux", b"label")
    assert set(os.listxattr(name)) >= {"user.note", "trusted.note"}
    with fails(errno.EOPNOTSUPP):
        os.setxattr(name, "system.lamina", b"")
    with fails(errno.EINVAL):
        os.setxattr(name, "user.lamina.nothing", b"1")
    facts = json.loads(os.getxattr(name, "user.lamina"))
    assert facts["name"] == "xattrs" and facts["size"] == 8192
    assert int(os.getxattr(name, "user.lamina.id")) == facts["id"]
    assert not any(n.startswith("user.lamina") for n in os.listxattr(name))
    os.setxattr(mnt, "user.lamina.sync", b"1")
    with fails(errno.ENODATA):
        os.getxattr(mnt, "user.lamina.sync")
    assert json.loads(os.getxattr(mnt, "user.lamina"))["health"] == "ok"


def check_permissions():
    name = put("mine", b"x")
    os.chown(name, 1234, 1234)
    os.chmod(name, 0o600)
    control = "os.setxattr(mnt + '/mine', 'user.lamina.read_only', b'1')"
    assert as_user(1234, "open(mnt + '/mine', 'r+b').write(b'y')") == 0
    assert as_user(1234, control) != 0, "the owner of an image does not control it"
    assert os.getxattr(name, "user.lamina.read_only") == b"0"
    assert as_user(1235, "open(mnt + '/mine', 'rb')") != 0
    assert as_user(1234, "open(mnt + '/new', 'wb')") != 0, "the root belongs to root"
    assert as_user(1234, "assert 'trusted.x' not in os.listxattr(mnt + '/mine')") == 0
    assert as_user(1234, "open(mnt + '/.lamina/version').read()") == 0
    os.chown(mnt, 1234, 1234)
    time.sleep(1.1)  # the kernel's copy of the root's attributes
    assert as_user(1234, control) == 0, "the owner of the mount does"
    assert os.getxattr(name, "user.lamina.read_only") == b"1"
    with fails(errno.EROFS):
        os.open(name, os.O_RDWR)
    os.chmod(name, 0o644)
    os.setxattr(name, "user.lamina.read_only", b"0")
    fd = os.open(name, os.O_RDWR)
    with fails(errno.EBUSY):
        os.setxattr(name, "user.lamina.read_only", b"1")
    os.close(fd)
    os.chown(mnt, 0, 0)


def check_virtual_directory():
    assert ".lamina" not in os.listdir(mnt)
    assert sorted(os.listdir(path(".lamina"))) == ["check.json", "lamina.prom", "lost", "status.json",
                                             "version"]
    for name in os.listdir(path(".lamina")):
        subprocess.run(["cp", path(".lamina/" + name), "/dev/null"], check=True)
        with fails(errno.EPERM):
            os.unlink(path(".lamina/" + name))
    status = json.load(open(path(".lamina/status.json")))
    assert status["kernel"]["max_request_bytes"] >= 128 << 10
    metrics = open(path(".lamina/lamina.prom")).read()
    assert metrics.endswith("\n") and "lamina_free_bytes{" in metrics
    space = os.statvfs(mnt)
    assert space.f_bsize == space.f_frsize == 4096 and 0 < space.f_bfree <= space.f_blocks


def check_many_devices():
    names = {f"many-{n}" for n in range(1000)}
    for name in names:
        put(name)
    assert names <= set(os.listdir(mnt))
    assert names <= {entry.name for entry in os.scandir(mnt) if entry.stat().st_size == 0}
    for name in names:
        os.unlink(path(name))
    assert not names & set(os.listdir(mnt))


def check_many_requests():
    """64 threads of large and small requests: far more than 8 MiB hold at a time."""
    wrong = []

    def work(number):
        name = put(f"work-{number}", bytes([number]) * (1 << 20))
        fd = os.open(name, os.O_RDWR)
        for turn in range(8):
            if os.pread(fd, 1 << 20, 0) != bytes([number]) * (1 << 20):
                wrong.append(number)
            os.pwrite(fd, bytes([number]) * 4096, turn * 4096)
            os.fsync(fd)
        os.close(fd)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def main():
    checks = [check_many_requests] if sys.argv[2:] == ["many"] else [
        check for name, check in globals().items()
        if name.startswith("check_") and check is not check_many_requests]
    for check in checks:
        check()


main()
