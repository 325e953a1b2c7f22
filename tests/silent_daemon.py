"""A mount that says it is emfs, whose daemon takes every question and answers none: `silent_daemon.py MOUNTPOINT`."""

import ctypes
import os
import struct
import sys

mountpoint = os.fsencode(sys.argv[1])
device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
if libc.mount(b"emfs", mountpoint, b"fuse.emfs", 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
ROOM = 1 << 20
length, kind, unique = struct.unpack_from("=IIQ", os.read(device, ROOM))
assert kind == 26, "the first message is FUSE_INIT"
body = struct.pack("=IIIIHHII", 7, 31, 1 << 16, 0, 12, 9, 1 << 17, 1).ljust(64, b"\0")
os.write(device, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
print("mounted", flush=True)
while True:
    print("asked", struct.unpack_from("=IIQ", os.read(device, ROOM))[1], flush=True)
