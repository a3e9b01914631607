"""The format of images and seals (docs/IMAGES.md), written a second time and from the description alone.

Prints `NAME HEX` lines: hashes of some inputs, then the bytes of an image and of a seal, which tests/image.rs
compares with what the program makes and reads.
"""

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
PRIME32_1, PRIME32_2 = 0x9E3779B1, 0x85EBCA77


def splitmix_finalizer(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def hash64(seed, data):
    state = splitmix_finalizer(seed ^ ((len(data) << 32 | len(data) >> 32) & M64))
    lanes = [state & M32, state >> 32]
    data += b"\0" * (-len(data) % 64)
    for at in range(0, len(data), 4):
        lane = at // 4 % 2
        word = int.from_bytes(data[at:at + 4], "little")
        mixed = (lanes[lane] + word * PRIME32_2) & M32
        lanes[lane] = (mixed << 13 | mixed >> 19) * PRIME32_1 & M32
        if at % 64 == 60:
            lanes[1] ^= lanes[0]
            lanes[0] = (lanes[0] + lanes[1]) & M32
    return splitmix_finalizer(lanes[0] | lanes[1] << 32)


def le(value, length):
    return value.to_bytes(length, "little")


def entry(image, first, sectors, kind, protected, content_hash, place=None):
    raw = bool(place and place["raw"])
    head = le(content_hash, 8) + le(first, 8) + le(sectors, 2) + le(kind, 1) + le(protected | raw << 1, 1)
    if not image:
        return head + le(0, 4)
    return head + le(place["within"], 2) + le(0, 2) + le(place["at"], 4) + le(place["bytes"], 4) + le(place["hash"], 8)


def table(block, entries, sequence):
    per_block = (block - 8) // len(entries[0])
    blocks = b""
    for number, at in enumerate(range(0, len(entries), per_block)):
        content = b"".join(entries[at:at + per_block]).ljust(block - 8, b"\0")
        seed = ((sequence << 32 | sequence >> 32) & M64) ^ number
        blocks += content + le(hash64(seed, content), 8)
    return blocks


def header(block, sequence, sectors, chunks, names_at, names, file_bytes, state, identity, described, protected):
    head = b"KSTABLE\n" + le(1, 4) + le(block, 4) + le(sequence, 8) + le(sectors, 8) + le(chunks, 8)
    head += le(names_at, 8) + le(len(names), 4) + le(0, 4) + le(hash64(0, names), 8) + le(file_bytes, 8)
    head += le(state, 8) + identity + le(described, 8) + le(protected, 8)
    head = head.ljust(504, b"\0")
    return head + le(hash64(0, head), 8)


def pattern(length):
    return bytes((n * n // 7 + n) & 255 for n in range(length))


def show(name, value):
    print(name, value.hex() if isinstance(value, bytes) else f"{value:016x}")


for name, seed, data in [
    ("empty", 0, b""),
    ("empty-seed-1", 1, b""),
    ("one-zero", 0, b"\0"),
    ("abc", 0, b"abc"),
    ("sector-of-zeros", 0, bytes(512)),
    ("two-sectors-of-zeros", 0, bytes(1024)),
    ("ones", 0, b"\xff" * 512),
    ("pattern-511", 0, pattern(511)),
    ("pattern-513", 0, pattern(513)),
    ("pattern-65536", 0, pattern(65536)),
    ("pattern-504-seeded", 0x0123456789ABCDEF, pattern(504)),
]:
    show("hash-" + name, hash64(seed, data))

# An image of 300 sectors: a boot sector that is a pack by itself, not compressed; then two chunks in one pack,
# of LZ4's simplest form: one sequence of literals only. The first 0x1D bytes etc. of no kind are blanked here.
boot, data = pattern(512), bytes(range(256)) * 6
literals = le(0xF0, 1) + b"\xff" * ((len(data) - 15) // 255) + le((len(data) - 15) % 255, 1) + data
first_pack, second_pack = 3 * 2048, 4 * 2048
packs = [dict(at=3, bytes=512, hash=hash64(0, boot), raw=True, within=0)]
packs += [dict(at=4, bytes=len(literals), hash=hash64(0, literals), raw=False, within=w) for w in (0, 1)]
entries = [
    entry(True, 0, 1, 0, 1, hash64(0, boot), packs[0]),
    entry(True, 7, 1, 0, 1, hash64(0, data[:512]), packs[1]),
    entry(True, 290, 2, 0, 0, hash64(0, data[512:]), packs[2]),
]
names = b"protect \"boot\" \"a b\"\n0 1 boot sector\n7 1 /boot\n"
blocks = table(2048, entries, 0)
identity = bytes(range(32))
image = header(2048, 0, 300, 3, 4096, names, second_pack + 2048, 290, identity, 4, 2).ljust(2048, b"\0")
image += blocks + names
image = image.ljust(first_pack, b"\0") + boot
image = image.ljust(second_pack, b"\0") + literals
show("image", image.ljust(second_pack + 2048, b"\0"))

# A seal with 22 entries, which is one more than a block holds.
entries = [entry(False, 130 * n, n + 1, n % 13, 1, hash64(n, b"chunk")) for n in range(22)]
sealed = sum(range(1, 23))
names = b"protect all\n0 2860 /everything\n"
seal = header(512, 0x100000002, 4000, 22, 3 * 512, names, 3 * 512 + len(names), M64, identity, sealed, sealed)
seal += table(512, entries, 0x100000002) + names
show("seal", seal.ljust(4 * 512, b"\n"))
