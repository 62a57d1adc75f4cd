"""A photo: the room is furnished from its plan, rendered, and its truth measured with the same camera.

One rule: the masks are rendered from the very scene that made the photo; only materials, lens blur and light change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from PIL import Image

from . import catalogue, props, studio, truth
from .photos import Photo

_LIGHTS = {
    # world colour, world strength, key colour, key watts, fill colour, fill watts, exposure
    "day": ("#dfe9f7", 0.62, (1.0, 0.96, 0.9), 150, (1.0, 0.93, 0.85), 26, 0.15),
    "overcast": ("#e6edf5", 0.95, (0.92, 0.96, 1.0), 70, (1, 1, 1), 20, 0.0),
    "evening": ("#f2d8b8", 0.26, (1.0, 0.78, 0.52), 95, (1.0, 0.7, 0.45), 30, 0.25),
    "morning": ("#f6ead8", 0.55, (1.0, 0.87, 0.68), 190, (0.85, 0.92, 1.0), 22, 0.0),
}


def shoot(photo: Photo, raw: Path, scratch: Path, samples: int, scale: float) -> list[dict[str, Any]]:
    """Render `photo` upright as a PNG at `raw`; returns its truth entries. `scratch` takes the masks."""
    width, height = (round(side * scale) for side in photo.size)
    scene = studio.fresh(samples, width, height, look="AgX - Medium High Contrast")
    numbered = _furnish(photo)
    _light(photo)
    at, target = Vector(photo.at), Vector(photo.target)
    focus = (Vector(photo.focus or photo.target) - at).length
    eye = studio.camera(at, target, photo.lens, photo.fstop, focus)
    scene.render.filepath = str(raw)
    bpy.ops.render.render(write_still=True)
    return _measure(scene, eye, numbered, scratch)


def _furnish(photo: Photo) -> dict[str, list[Any]]:
    props.room(**photo.room)
    for name, options in photo.props:
        props.PROPS[name](**options)
    placed: dict[str, list[Any]] = {}
    for number, item in enumerate(photo.items, start=1):
        parts = studio.place(catalogue.BY_ID[item.product], item.at, item.turn)
        for part in parts:
            part.pass_index = number
        placed[item.product] = parts
    return placed


def _light(photo: Photo) -> None:
    color, strength, key, key_watts, fill, fill_watts, exposure = _LIGHTS[photo.light]
    studio.world(color, strength)
    target = photo.target
    side = -1 if photo.key == "left" else 1
    near = (Vector(photo.at) - Vector(target)).length
    reach = max(1.0, min(near * 0.9, 2.4))
    watts = key_watts * (reach / 2.4) ** 2
    studio.softbox(
        (target[0] + side * reach, target[1] - 0.55 * reach, target[2] + 0.75 * reach), target, 0.45 * reach, watts, key
    )
    studio.softbox(
        (target[0] - side * reach, target[1] - 0.9 * reach, target[2] + 0.5 * reach),
        target,
        0.7 * reach,
        fill_watts * (reach / 2.4) ** 2,
        fill,
    )
    bpy.context.scene.view_settings.exposure = exposure + photo.exposure


def _measure(scene: Any, eye: Any, placed: dict[str, list[Any]], scratch: Path) -> list[dict[str, Any]]:
    _number_pass(scene)
    scene.render.use_persistent_data = True
    eye.data.dof.use_dof = False
    mask = _mask(scene, scratch / "mask.png")
    everything = [thing for thing in scene.objects if thing.type == "MESH"]
    # Half the magnification shows what lies beyond the frame's edge, and half the size is enough for an area: one of
    # these pixels stands for sixteen.
    eye.data.sensor_width *= 2
    scene.render.resolution_percentage = 50
    full = {}
    for number, parts in enumerate(placed.values(), start=1):
        for thing in everything:
            thing.hide_render = thing not in parts
        full[number] = 16.0 * float((_mask(scene, scratch / f"{number}.png") == number).sum())
    return truth.measured(mask, full, list(placed))


def _number_pass(scene: Any) -> None:
    material = bpy.data.materials.new("number")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    info, shine, scaled = (tree.nodes.new(f"ShaderNode{n}") for n in ("ObjectInfo", "Emission", "Math"))
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    scaled.operation = "MULTIPLY"
    scaled.inputs[1].default_value = 8 / 255
    tree.links.new(info.outputs["Object Index"], scaled.inputs[0])
    tree.links.new(scaled.outputs[0], shine.inputs["Color"])
    tree.links.new(shine.outputs["Emission"], output.inputs["Surface"])
    scene.view_layers[0].material_override = material
    studio.world("#000000", 0.0)
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = 1, False, False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01
    scene.cycles.max_bounces = 0
    scene.view_settings.view_transform, scene.view_settings.exposure = "Raw", 0.0
    scene.view_settings.look = "None"


def _mask(scene: Any, path: Path) -> Any:
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return np.rint(np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)[..., 0] / 8).astype(np.int32)
