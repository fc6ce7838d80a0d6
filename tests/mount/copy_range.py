#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""copy_file_range(2), in as many calls as it takes.

Usage: copy_range.py FROM TO OFFSET TO_OFFSET LENGTH
Prints how many bytes were copied, or the name of the errno (and fails).
"""

import errno
import os
import sys

source = os.open(sys.argv[1], os.O_RDONLY)
try:
    target = os.open(sys.argv[2], os.O_RDWR)
except OSError as error:
    sys.exit(errno.errorcode[error.errno])
offset, to_offset, length = (int(word) for word in sys.argv[3:6])
done = 0
try:
    while done < length:
        step = os.copy_file_range(source, target, length - done, offset + done, to_offset + done)
        if step == 0:
            break
        done += step
    print(done)
except OSError as error:
    print(errno.errorcode[error.errno], file=sys.stderr)
    sys.exit(1)
