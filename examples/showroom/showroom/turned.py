"""Shapes that follow a line: turned on a wheel, bent from a rod, grown as a leaf.

One rule: as in `mesh`, metres, z up, and one linked Blender object a call (a vessel is three).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mathutils import Matrix, Vector

from .mesh import Point, link, mesh_of


def spline(points: Sequence[Point], steps: int = 8) -> Any:
    """Catmull-Rom curve through `points` [n,d]; a point given twice makes a corner."""
    p = np.asarray(points, dtype=float)
    padded = np.vstack([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        if np.allclose(b, c):
            continue
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*parts, p[-1:]])


def lathe(profile: Sequence[Point], material: Any, segments: int = 72, steps: int = 6, at: Point = (0, 0, 0)) -> Any:
    """Turn (radius, z) points about z. u goes once round, v follows the length of the profile."""
    curve = spline(profile, steps) if steps > 1 else np.asarray(profile, dtype=float)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    v = length / max(length[-1], 1e-9)
    turn = np.linspace(0, 2 * math.pi, segments + 1)
    radius = np.maximum(curve[:, 0], 0)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    verts = np.concatenate(
        [
            np.concatenate([ring * r, np.full((segments + 1, 1), z)], axis=1)
            for r, z in zip(radius, curve[:, 1], strict=True)
        ]
    )
    uvs = np.concatenate([np.stack([turn / (2 * math.pi), np.full(segments + 1, q)], axis=1) for q in v])
    n = segments + 1
    faces = [
        (i * n + j, i * n + j + 1, (i + 1) * n + j + 1, (i + 1) * n + j)
        for i in range(len(curve) - 1)
        for j in range(segments)
    ]
    thing = link("lathe", mesh_of(verts, faces, uvs), material)
    thing.location = at
    return thing


def vessel(outer: Sequence[Point], wall: float, outside: Any, inside: Any, floor: float = 0.006) -> list[Any]:
    """An open pot: `outer` runs from the middle of the foot to the rim; the inside follows it at `wall`."""
    top_r, top_z = outer[-1]
    rim = [(top_r, top_z), (top_r - wall * 0.5, top_z + wall * 0.45), (top_r - wall, top_z)]
    inner = [(max(r - wall, 0.0), max(z, floor)) for r, z in reversed(outer) if r > wall]
    return [
        lathe([*outer, (top_r, top_z)], outside),
        lathe(rim, inside, steps=4),
        lathe([*inner, (0.0, inner[-1][1])], inside),
    ]


def tube(
    points: Sequence[Point], radius: float | Sequence[float], material: Any, steps: int = 6, sides: int = 14
) -> Any:
    """A round rod along `points`; `radius` is one number, or one a point for a taper."""
    path = spline(points, steps) if steps > 1 else np.asarray(points, dtype=float)
    radii = np.interp(
        np.linspace(0, 1, len(path)),
        np.linspace(0, 1, len(points)),
        np.broadcast_to(np.asarray(radius, dtype=float), (len(points),)),
    )
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-12
    normal = np.cross(tangents[0], (0.31, 0.17, 0.93))
    verts = []
    turn = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    for p, t, r in zip(path, tangents, radii, strict=True):
        normal = normal - t * float(normal @ t)
        normal /= np.linalg.norm(normal) + 1e-12
        other = np.cross(t, normal)
        verts.append(p + r * (np.cos(turn)[:, None] * normal + np.sin(turn)[:, None] * other))
    count = len(path)
    faces: list[tuple[int, ...]] = [
        (i * sides + j, i * sides + (j + 1) % sides, (i + 1) * sides + (j + 1) % sides, (i + 1) * sides + j)
        for i in range(count - 1)
        for j in range(sides)
    ]
    faces += [tuple(range(sides))[::-1], tuple(range((count - 1) * sides, count * sides))]
    return link("tube", mesh_of(np.concatenate(verts), faces), material)


def leaves(blades: Sequence[tuple[Any, float, float, float]], material: Any, rows: int = 7) -> Any:
    """Many leaves in one mesh: (4x4 matrix, length, width, curl in radians) each; a leaf grows along its own +x."""
    verts: list[Any] = []
    faces: list[tuple[int, ...]] = []
    uvs: list[tuple[float, float]] = []
    for matrix, length, width, curl in blades:
        base = len(verts)
        x = z = 0.0
        for i in range(rows):
            t = i / (rows - 1)
            half = width / 2 * math.sin(math.pi * min(0.06 + t * 0.94, 1.0)) ** 0.75
            for side in (-1, 0, 1):
                verts.append(Matrix(matrix) @ Vector((x, side * half, z + abs(side) * half * 0.3)))
                uvs.append((t, side * 0.5 + 0.5))
            x += length / (rows - 1) * math.cos(curl * t)
            z -= length / (rows - 1) * math.sin(curl * t)
        for i in range(rows - 1):
            for j in range(2):
                a = base + i * 3 + j
                faces.append((a, a + 1, a + 4, a + 3))
    return link("leaves", mesh_of(verts, faces, uvs), material)
