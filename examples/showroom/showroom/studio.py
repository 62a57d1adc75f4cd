"""The photo studio: one product on a white sweep under soft light, filling the picture.

One rule: everything here scales with the product, so that a cup and a bed get the same light.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Vector

from . import catalogue
from .finish import Finish
from .kinds import BUILDERS
from .materials import make
from .mesh import link, mesh_of

SIDE = 512
ELEVATIONS = {
    "mug": 20,
    "bowl": 24,
    "bed": 20,
    "laptop": 22,
    "sofa": 13,
    "plant": 12,
    "suitcase": 13,
    "clock": 3,
    "tv": 6,
}


def fresh(samples: int, width: int, height: int, look: str = "") -> Any:
    """An empty Cycles scene of `width` x `height` pixels; returns the scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.samples, cycles.seed = samples, 5
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.05
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 7, 2, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 7, 6
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "AgX" if look else "Standard"
    if look:
        scene.view_settings.look = look
    return scene


def place(
    product: catalogue.Product, at: tuple[float, float, float] = (0, 0, 0), turn: tuple[float, float, float] = (0, 0, 0)
) -> list[Any]:
    """Build `product` with its foot at `at`, turned by degrees about x, y, z; returns its objects."""
    parts = BUILDERS[product.kind](product.look)
    root = bpy.data.objects.new(product.id, None)
    bpy.context.scene.collection.objects.link(root)
    for part in parts:
        part.parent = root
    root.location = at
    root.scale = (product.look.get("scale", 1.0),) * 3
    root.rotation_euler = Euler([math.radians(a) for a in turn])
    bpy.context.view_layer.update()
    return parts


def world(color: str, strength: float) -> None:
    """Even light from everywhere."""
    made = bpy.data.worlds.new("world")
    made.use_nodes = True
    bpy.context.scene.world = made
    background = made.node_tree.nodes["Background"]
    r, g, b = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    background.inputs["Color"].default_value = (r, g, b, 1)
    background.inputs["Strength"].default_value = strength


def softbox(
    at: tuple[float, float, float],
    target: tuple[float, float, float],
    size: float,
    power: float,
    color: tuple[float, float, float] = (1, 1, 1),
) -> Any:
    """A square lamp of `size` metres and `power` watts at `at` that shines on `target`."""
    data = bpy.data.lights.new("softbox", "AREA")
    data.size, data.energy, data.color = size, power, color
    lamp = bpy.data.objects.new("softbox", data)
    bpy.context.scene.collection.objects.link(lamp)
    lamp.location = at
    lamp.rotation_euler = (Vector(target) - Vector(at)).to_track_quat("-Z", "Y").to_euler()
    return lamp


def camera(at: Any, target: Any, lens: float, fstop: float = 0.0, focus: float = 0.0) -> Any:
    """A full-frame camera at `at` that looks at `target`; `fstop` 0 means everything is sharp."""
    data = bpy.data.cameras.new("camera")
    data.lens, data.clip_start = lens, 0.02
    made = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(made)
    made.location = at
    made.rotation_euler = (Vector(target) - Vector(at)).to_track_quat("-Z", "Y").to_euler()
    if fstop:
        data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, fstop, focus
    bpy.context.scene.camera = made
    return made


def outline(parts: list[Any]) -> Any:
    """World coordinates [n,3] of every vertex of `parts` (as built, without modifiers)."""
    clouds = []
    for part in parts:
        own = np.empty(len(part.data.vertices) * 3, dtype=np.float32)
        part.data.vertices.foreach_get("co", own)
        matrix = np.array(part.matrix_world)
        clouds.append(own.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(clouds)


def _sweep(size: float) -> None:
    s, n = size * 6, 16
    line = [(-s, 0.0), (size * 1.6, 0.0)]
    line += [
        (size * (1.6 + 1.2 * math.sin(a)), size * 1.2 * (1 - math.cos(a)))
        for a in (math.pi / 2 * k / n for k in range(1, n + 1))
    ]
    line.append((size * 2.8, s))
    verts = [(x, y, z) for y, z in line for x in (-s, s)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(line) - 1)]
    link("sweep", mesh_of(verts, faces), make(Finish("wall", "#f3f3f2")))


def shoot(product: catalogue.Product, path: Path, samples: int, side: int = SIDE, second: bool = False) -> None:
    """Render the studio picture of `product` as a PNG at `path`."""
    scene = fresh(samples, side, side)
    turn = product.angle if not second else -product.angle - 32
    parts = place(product, turn=(0, 0, turn))
    cloud = outline(parts)
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    for part in parts:
        part.parent.location.z = -low[2]
    bpy.context.view_layer.update()
    cloud[:, 2] -= low[2]
    size = float(np.linalg.norm(high - low)) / 1.6
    _sweep(size)
    world("#ffffff", 0.66)
    middle = (0.0, 0.0, float(high[2] - low[2]) / 2)
    softbox((-1.9 * size, -1.7 * size, 2.6 * size), middle, 1.5 * size, 54 * size * size)
    softbox((2.4 * size, -1.5 * size, 1.2 * size), middle, 1.6 * size, 20 * size * size)
    _frame(cloud, math.radians(ELEVATIONS.get(product.kind, 10) + (6 if second else 0)), size)
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def _frame(cloud: Any, elevation: float, size: float) -> None:
    away = np.array([0.0, -math.cos(elevation), math.sin(elevation)])
    right, up = np.array([1.0, 0, 0]), np.array([0.0, math.sin(elevation), math.cos(elevation)])
    lens, reach = 62.0, 18.0 / 62.0 * 0.84
    target, distance = (cloud.min(axis=0) + cloud.max(axis=0)) / 2, 6.0 * size
    for _ in range(12):
        relative = cloud - target
        depth = distance - relative @ away
        x, y = relative @ right / depth, relative @ up / depth
        target = target + right * ((x.max() + x.min()) / 2 * distance) + up * ((y.max() + y.min()) / 2 * distance)
        distance *= max(x.max() - x.min(), y.max() - y.min()) / 2 / reach
    camera(target + away * distance, target, lens)
