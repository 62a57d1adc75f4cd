"""The few ways in which the showroom makes geometry; every product and prop is put together from these.

One rule: metres, z up, the front of a thing looks along -y, and every function returns one linked Blender object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Euler, Vector

Point = Sequence[float]


def link(name: str, mesh: Any, material: Any, smooth: bool = True) -> Any:
    """Put `mesh` into the scene with `material` and return the object."""
    if smooth:
        mesh.shade_smooth()
    thing = bpy.data.objects.new(name, mesh)
    if material is not None:
        mesh.materials.append(material)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def mesh_of(verts: Any, faces: Any, uvs: Any = None) -> Any:
    """A mesh from vertices [n,3], faces (index tuples) and, optionally, one (u,v) a vertex."""
    mesh = bpy.data.meshes.new("mesh")
    mesh.from_pydata([tuple(v) for v in verts], [], [tuple(f) for f in faces])
    if uvs is not None:
        layer = mesh.uv_layers.new(name="UV")
        index = np.empty(len(mesh.loops), dtype=np.int32)
        mesh.loops.foreach_get("vertex_index", index)
        layer.data.foreach_set("uv", np.asarray(uvs, dtype=np.float32)[index].ravel())
    return mesh


def bevelled(thing: Any, width: float, segments: int = 3) -> Any:
    """Round the edges of `thing` by `width` metres."""
    if width > 0:
        bevel = thing.modifiers.new("bevel", "BEVEL")
        bevel.width, bevel.segments, bevel.limit_method, bevel.harden_normals = width, segments, "ANGLE", True
    return thing


def box(size: Point, at: Point, material: Any, bevel: float = 0.004, turn: Point = (0, 0, 0)) -> Any:
    """A box of `size` with its middle at `at`, edges rounded by `bevel`, turned by degrees about x, y, z."""
    work = bmesh.new()
    work.loops.layers.uv.verify()
    bmesh.ops.create_cube(work, size=1.0, calc_uvs=True)
    bmesh.ops.scale(work, vec=size, verts=work.verts)
    mesh = bpy.data.meshes.new("box")
    work.to_mesh(mesh)
    work.free()
    thing = link("box", mesh, material)
    thing.location = at
    thing.rotation_euler = Euler([math.radians(a) for a in turn])
    return bevelled(thing, min(bevel, min(size) * 0.45))


def slab(outline: Sequence[Point], thickness: float, material: Any, bevel: float = 0.004) -> Any:
    """An outline in the xz plane, pulled along y; its middle lies at y=0."""
    n = len(outline)
    front = [(x, -thickness / 2, z) for x, z in outline]
    back = [(x, thickness / 2, z) for x, z in outline]
    faces: list[tuple[int, ...]] = [tuple(range(n)), tuple(range(2 * n - 1, n - 1, -1))]
    faces += [(i, i + n, (i + 1) % n + n, (i + 1) % n) for i in range(n)]
    mesh = mesh_of(front + back, faces)
    work = bmesh.new()
    work.from_mesh(mesh)
    bmesh.ops.recalc_face_normals(work, faces=work.faces)
    work.to_mesh(mesh)
    work.free()
    return bevelled(link("slab", mesh, material), bevel)


def rounded(width: float, height: float, radius: float, steps: int = 8) -> list[tuple[float, float]]:
    """The outline of a rectangle with round corners, standing on z=0, its middle at x=0."""
    points = []
    for cx, cz, start in ((1, 0, -90), (1, 1, 0), (-1, 1, 90), (-1, 0, 180)):
        for i in range(steps + 1):
            a = math.radians(start + 90 * i / steps)
            x = cx * (width / 2 - radius) + radius * math.cos(a)
            points.append((x, (height - radius if cz else radius) + radius * math.sin(a)))
    return points


def soft_box(
    size: Point, at: Point, material: Any, radius: float = 0.05, puff: float = 0.0, turn: Point = (0, 0, 0)
) -> Any:
    """An upholstered block: round edges, its top and front pushed out by `puff` metres in the middle."""
    work = bmesh.new()
    bmesh.ops.create_cube(work, size=2.0)
    bmesh.ops.subdivide_edges(work, edges=work.edges, cuts=13, use_grid_fill=True)
    half = np.asarray(size, dtype=float) / 2
    radius = min(radius, float(half.min()) * 0.98)
    for vert in work.verts:
        unit = np.asarray(vert.co)
        p = unit * half
        core = np.clip(p, -(half - radius), half - radius)
        away = p - core
        norm = float(np.linalg.norm(away))
        q = core + (away / norm * radius if norm > 1e-9 else 0)
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            bulge = np.prod([1 - min(abs(unit[k]), 1.0) ** 2 for k in others])
            if abs(unit[axis]) > 0.999:
                q[axis] += math.copysign(puff * float(bulge), unit[axis])
        vert.co = Vector(q)
    mesh = bpy.data.meshes.new("soft")
    work.to_mesh(mesh)
    work.free()
    thing = link("soft", mesh, material)
    thing.location = at
    thing.rotation_euler = Euler([math.radians(a) for a in turn])
    return thing


def pillow(size: Point, at: Point, material: Any, turn: Point = (0, 0, 0), seed: int = 0) -> Any:
    """A stuffed cushion of width, depth and thickness `size`: flat at its seams, full in the middle."""
    n = 28
    width, depth, thick = size
    u, v = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    full = ((1 - u**4) * (1 - v**4)) ** 0.55
    wave = 0.05 * np.sin(3.1 * u + seed) * np.cos(2.7 * v + 2 * seed)
    x = width / 2 * u * (1 - 0.07 * (1 - v**2) * np.abs(u))
    y = depth / 2 * v * (1 - 0.07 * (1 - u**2) * np.abs(v))
    sides = [np.stack([x, y, s * thick / 2 * full * (1 + wave)], axis=-1).reshape(-1, 3) for s in (1, -1)]
    faces: list[tuple[int, ...]] = []
    for s in range(2):
        for i in range(n - 1):
            for j in range(n - 1):
                a = s * n * n + i * n + j
                quad = (a, a + n, a + n + 1, a + 1)
                faces.append(quad if s == 0 else quad[::-1])
    uv = np.stack([(u + 1) / 2, (v + 1) / 2], axis=-1).reshape(-1, 2)
    thing = link("pillow", mesh_of(np.concatenate(sides), faces, np.concatenate([uv, uv])), material)
    thing.location = at
    thing.rotation_euler = Euler([math.radians(a) for a in turn])
    return thing


def ball(radii: Point, at: Point, material: Any, turn: Point = (0, 0, 0)) -> Any:
    """An ellipsoid."""
    work = bmesh.new()
    work.loops.layers.uv.verify()
    bmesh.ops.create_uvsphere(work, u_segments=36, v_segments=20, radius=1.0, calc_uvs=True)
    bmesh.ops.scale(work, vec=radii, verts=work.verts)
    mesh = bpy.data.meshes.new("ball")
    work.to_mesh(mesh)
    work.free()
    thing = link("ball", mesh, material)
    thing.location = at
    thing.rotation_euler = Euler([math.radians(a) for a in turn])
    return thing


def quad(size: Point, at: Point, material: Any, turn: Point = (0, 0, 0)) -> Any:
    """A flat picture of width and height `size`, facing -y, its middle at `at`; the uv square covers it once."""
    w, h = size[0] / 2, size[1] / 2
    verts = [(-w, 0, -h), (w, 0, -h), (w, 0, h), (-w, 0, h)]
    thing = link("quad", mesh_of(verts, [(0, 1, 2, 3)], [(0, 0), (1, 0), (1, 1), (0, 1)]), material, smooth=False)
    thing.location = at
    thing.rotation_euler = Euler([math.radians(a) for a in turn])
    return thing


def moved(things: Sequence[Any], offset: Point) -> list[Any]:
    """Shift every object by `offset` metres; returns the same objects."""
    for thing in things:
        thing.location = Vector(thing.location) + Vector(offset)
    return list(things)
