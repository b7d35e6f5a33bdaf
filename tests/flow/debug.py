"""The page through which a test stops a gateway at a boundary, or moves its clock: base/debug.h."""
import mmap
import struct


class DebugPage:
    def __init__(self, path):
        self.env = {"SCEPTER_DEBUG": path}
        self.shifted = 0
        with open(path, "w+b") as file:
            file.write(bytes(64))
            file.flush()
            self.page = mmap.mmap(file.fileno(), 64)

    def shift_clock(self, seconds):
        """From now on the gateway's clock is that much ahead of the real time."""
        self.shifted = seconds
        self.page[0:8] = struct.pack("=q", seconds)

    def stop_at(self, boundary="", skip=0):
        """The gateway kills itself there, the time after it passed so often; without a name: nowhere."""
        self.page[12:64] = bytes(52)
        self.page[8:12] = struct.pack("=i", skip)
        self.page[12:12 + len(boundary)] = boundary.encode()
