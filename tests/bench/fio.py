# SPDX-License-Identifier: Apache-2.0
"""One fio job, always with --direct=1, and what it measured."""

import json
import os
import signal
import subprocess
from dataclasses import asdict, dataclass

PERCENTILES = {"p50_us": "50.000000", "p99_us": "99.000000", "p999_us": "99.900000"}
FILL_SEED = 4711


@dataclass
class Sample:
    """Of one contender in one round. Latencies in microseconds."""
    iops: float = 0
    mib_s: float = 0
    mean_us: float = 0
    p50_us: float = 0
    p99_us: float = 0
    p999_us: float = 0
    max_us: float = 0
    sync: dict = None  # the same latencies, of the fsyncs

    def as_dict(self):
        return {key: value for key, value in asdict(self).items() if value is not None}


def _latencies(node):
    values = {"mean_us": node["mean"] / 1000, "max_us": node["max"] / 1000}
    for name, key in PERCENTILES.items():
        values[name] = node.get("percentile", {}).get(key, 0) / 1000
    return values


def _sample(text):
    # Messages may come before the JSON.
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = max((job["read"], job["write"]), key=lambda s: s["io_bytes"])
    sample = Sample(iops=side["iops"], mib_s=side["bw_bytes"] / (1 << 20),
                    **_latencies(side["clat_ns"]))
    if job.get("sync", {}).get("total_ios"):
        sample.sync = _latencies(job["sync"]["lat_ns"])
    return sample


class Job:
    """A fio that runs; `result` waits for its end, `stop` asks for it."""

    def __init__(self, paths, rw, bs="4k", depth=32, size=None, amount=None, seconds=None,
                 fsync=False, end_fsync=False, seed=1, refill=False, each_file_a_job=False,
                 words=False, endless=False, skew=None, with_repeats=False, halves=False):
        # At depth 1 a program that waits for each operation is what people have.
        engine = "psync" if depth == 1 else "io_uring"
        self._command = ["fio", "--output-format=json", "--direct=1", "--thread",
                         "--group_reporting", "--allow_file_create=0", f"--ioengine={engine}",
                         f"--rw={rw}", f"--bs={bs}", f"--iodepth={depth}",
                         # Only together: by itself the seed is ignored.
                         "--randrepeat=0", f"--randseed={seed}",
                         "--percentile_list=50:99:99.9"]
        for flag, value in (("size", size and f"{size}m"), ("io_size", amount and f"{amount}m"),
                            ("runtime", seconds), ("fsync", 1 if fsync else None),
                            ("end_fsync", 1 if end_fsync else None),
                            ("refill_buffers", 1 if refill else None)):
            if value is not None:
                self._command.append(f"--{flag}={value}")
        if words:
            # Each block is its offset over and over; what is read is held against that.
            self._command += ["--verify=pattern", "--verify_pattern=%o", "--do_verify=0",
                              "--verify_state_save=0"]
        if halves:  # when it is compressed, each block by itself and all together
            self._command += ["--buffer_compress_percentage=50", "--buffer_compress_chunk=4096",
                              "--refill_buffers=1"]
        if with_repeats:  # else each block once, before any a second time
            self._command.append("--norandommap=1")
        if skew:
            self._command.append(f"--random_distribution={skew}")
        if (fsync or endless) and seconds:
            self._command.append("--time_based")
        paths = [str(path).replace(":", "\\:") for path in paths]
        if each_file_a_job:
            for index, path in enumerate(paths):
                self._command += [f"--name=job{index}", f"--filename={path}"]
        else:
            self._command += ["--name=job", f"--filename={':'.join(paths)}"]
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, cwd="/tmp")

    def stop(self):
        self._process.send_signal(signal.SIGINT)

    def result(self):
        out, err = self._process.communicate()
        # 128: ended by stop(), after which fio still reports.
        if self._process.returncode not in (0, 128) or "{" not in out:
            raise RuntimeError(f"{' '.join(self._command)}: code {self._process.returncode}\n"
                               f"{err[-1000:]}{out[:500]}")
        return _sample(out)


def run(path, **options):
    paths = path if isinstance(path, list) else [path]
    return Job(paths, **options).result()


def fill(path, size):
    """The same incompressible data for everyone, every block of it written once."""
    if os.path.getsize(path) < size << 20:
        os.truncate(path, size << 20)
    return run(path, rw="write", bs="1m", depth=8, size=size, end_fsync=True, refill=True,
               seed=FILL_SEED)
