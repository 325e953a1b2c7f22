"""The rule of `emfs sample` for lists without regions, splits and masks, written down a second time from `emfs help ml`."""

import hashlib
import struct


def chacha8(key):
    """The 64-bit words of ChaCha with 8 rounds, counter and nonce from 0."""
    constant = struct.unpack("<4I", b"expand 32-byte k")
    counter = 0
    while True:
        start = [*constant, *struct.unpack("<8I", key), counter & 0xFFFFFFFF, counter >> 32, 0, 0]
        state = list(start)
        for _ in range(4):
            for a, b, c, d in (
                    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    state[first] = (state[first] + state[second]) & 0xFFFFFFFF
                    mixed = state[third] ^ state[first]
                    state[third] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF
        words = [(one + other) & 0xFFFFFFFF for one, other in zip(state, start, strict=True)]
        for low, high in zip(words[::2], words[1::2], strict=True):
            yield high << 32 | low
        counter += 1


def below(words, end):
    """A number below `end`, all equally likely (Lemire)."""
    while True:
        product = next(words) * end
        if product % 2**64 >= 2**64 % end:
            return product >> 64


def words(seed, store, level):
    """The 1 is the version of the numbers; that of lists, 2, says how labels are counted."""
    return chacha8(hashlib.sha256(f"emfs sample 1\n{seed}\n{store} {level}".encode()).digest())


def starts(seed, store, level, within, size, count):
    """The first voxels of the samples of a store; `within`: (start, end) along z, y, x."""
    numbers = words(seed, store, level)
    return [
        tuple(start + below(numbers, end - start - extent + 1) for (start, end), extent in zip(within, size, strict=True))
        for _ in range(count)]
