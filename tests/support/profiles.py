"""ICC profiles that tests make: RGB of given primaries (CIE x, y) and gamma, adapted to D50 by Bradford."""

import struct

import numpy as np

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

DISPLAY_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB: Primaries = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
PROPHOTO: Primaries = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
SRGB: Primaries = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def xyz(x: float, y: float) -> np.ndarray:
    """The colour of chromaticity x, y and luminance 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def matrix(primaries: Primaries, white: tuple[float, float]) -> np.ndarray:
    """Linear RGB -> XYZ under D50, [3,3]."""
    columns = np.stack([xyz(*each) for each in primaries], axis=1)
    scaled = columns * np.linalg.solve(columns, xyz(*white))
    cone = np.diag((BRADFORD @ xyz(*D50)) / (BRADFORD @ xyz(*white)))
    adapted: np.ndarray = np.linalg.inv(BRADFORD) @ cone @ BRADFORD @ scaled
    return adapted


def profile(
    primaries: Primaries,
    gamma: float = 2.2,
    white: tuple[float, float] = D65,
    name: str = "a test",
    space: bytes = b"RGB ",
) -> bytes:
    """A display profile of version 2."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def point(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(fixed(float(value)) for value in values)

    columns = matrix(primaries, white)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {
        b"desc": description + bytes(-len(description) % 4),
        b"wtpt": point(xyz(*D50)),
        b"rXYZ": point(columns[:, 0]),
        b"gXYZ": point(columns[:, 1]),
        b"bXYZ": point(columns[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"test", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(fixed, xyz(*D50)))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body
