"""What things are made of: Cycles materials from a few words, such as ("wood", "#8a5a33").

One rule: a surface is named by a `Finish` and turned into a Blender material only here.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from PIL import Image

from . import patterns
from .finish import Finish, linear, tinted


class _Nodes:
    """A node tree with short words for adding and joining."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.bsdf = self.tree.nodes["Principled BSDF"]

    def add(self, kind: str, **inputs: Any) -> Any:
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for key, value in inputs.items():
            node.inputs[key.replace("_", " ")].default_value = value
        return node

    def join(self, source: Any, target: Any) -> None:
        self.tree.links.new(source, target)

    def set(self, **inputs: Any) -> None:
        for key, value in inputs.items():
            self.bsdf.inputs[key.replace("_", " ")].default_value = value

    def bump(self, height: Any, strength: float, distance: float) -> None:
        node = self.add("Bump", Strength=strength, Distance=distance)
        self.join(height, node.inputs["Height"])
        self.join(node.outputs["Normal"], self.bsdf.inputs["Normal"])

    def noise(self, scale: float, detail: float = 4.0, stretch: tuple[float, float, float] = (1, 1, 1)) -> Any:
        where = self.add("TexCoord")
        mapping = self.add("Mapping", Scale=stretch)
        self.join(where.outputs["Object"], mapping.inputs["Vector"])
        node = self.add("TexNoise", Scale=scale, Detail=detail)
        self.join(mapping.outputs["Vector"], node.inputs["Vector"])
        return node

    def shade(self, factor: Any, colors: list[tuple[float, str]]) -> Any:
        ramp = self.add("ValToRGB")
        stops = ramp.color_ramp.elements
        while len(stops) < len(colors):
            stops.new(0.5)
        for stop, (position, color) in zip(stops, colors, strict=True):
            stop.position, stop.color = position, linear(color)
        self.join(factor, ramp.inputs["Fac"])
        return ramp.outputs["Color"]


def picture(image: Image.Image) -> Any:
    """A Pillow picture as a Blender image."""
    pixels = np.asarray(image.convert("RGBA"), dtype=np.float32)[::-1] / 255
    made = bpy.data.images.new("picture", image.width, image.height)
    made.pixels.foreach_set(pixels.ravel())
    made.pack()
    return made


def _print(nodes: _Nodes, image: Image.Image, repeat: float, boxed: bool, around: float = 1.0) -> Any:
    where = nodes.add("TexCoord")
    mapping = nodes.add("Mapping", Scale=(repeat * around, repeat, repeat))
    texture = nodes.add("TexImage")
    texture.image = picture(image)
    if boxed:
        texture.projection, texture.projection_blend = "BOX", 0.1
    nodes.join(where.outputs["Object" if boxed else "UV"], mapping.inputs["Vector"])
    nodes.join(mapping.outputs["Vector"], texture.inputs["Vector"])
    return texture.outputs["Color"]


def _wood(nodes: _Nodes, color: str, rough: float = 0.42) -> None:
    grain = nodes.noise(5.0, 8.0, (11.0, 1.0, 1.0))
    tone = nodes.shade(grain.outputs["Fac"], [(0.25, tinted(color, 0.62)), (0.5, color), (0.78, tinted(color, 1.22))])
    nodes.join(tone, nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=rough)
    nodes.bump(grain.outputs["Fac"], 0.12, 0.002)


def _planks(nodes: _Nodes, color: str) -> None:
    where = nodes.add("TexCoord")
    brick = nodes.add(
        "TexBrick",
        Color1=linear(color),
        Color2=linear(tinted(color, 0.78)),
        Mortar=linear(tinted(color, 0.4)),
        Scale=1.0,
        Mortar_Size=0.004,
        Brick_Width=1.3,
        Row_Height=0.13,
    )
    nodes.join(where.outputs["Object"], brick.inputs["Vector"])
    grain = nodes.noise(4.0, 8.0, (1.0, 14.0, 1.0))
    mix = nodes.add("MixRGB", Fac=0.35)
    mix.blend_type = "MULTIPLY"
    nodes.join(brick.outputs["Color"], mix.inputs["Color1"])
    nodes.join(grain.outputs["Fac"], mix.inputs["Color2"])
    nodes.join(mix.outputs["Color"], nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=0.36)
    nodes.bump(brick.outputs["Fac"], 0.25, 0.002)


def _tiles(nodes: _Nodes, color: str, width: float = 0.2, height: float = 0.1) -> None:
    where = nodes.add("TexCoord")
    brick = nodes.add(
        "TexBrick",
        Color1=linear(color),
        Color2=linear(tinted(color, 0.95)),
        Mortar=linear("#b9b4aa"),
        Scale=1.0,
        Mortar_Size=0.004,
        Brick_Width=width,
        Row_Height=height,
    )
    nodes.join(where.outputs["UV"], brick.inputs["Vector"])
    nodes.join(brick.outputs["Color"], nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=0.18)
    nodes.bump(brick.outputs["Fac"], -0.5, 0.003)


def _cloth(nodes: _Nodes, color: str, velvet: bool = False) -> None:
    fine = nodes.noise(900.0 if not velvet else 320.0, 2.0)
    tone = nodes.shade(fine.outputs["Fac"], [(0.3, tinted(color, 0.8)), (0.7, tinted(color, 1.08))])
    if not nodes.bsdf.inputs["Base Color"].is_linked:
        nodes.join(tone, nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=0.9, Sheen_Weight=0.8 if velvet else 0.25, Specular_IOR_Level=0.2)
    folds = nodes.noise(9.0, 3.0)
    nodes.bump(folds.outputs["Fac"], 0.25, 0.012)


def _leather(nodes: _Nodes, color: str) -> None:
    grain = nodes.add("TexVoronoi", Scale=260.0)
    where = nodes.add("TexCoord")
    nodes.join(where.outputs["Object"], grain.inputs["Vector"])
    wear = nodes.noise(5.0, 5.0)
    tone = nodes.shade(wear.outputs["Fac"], [(0.3, tinted(color, 0.75)), (0.7, tinted(color, 1.15))])
    nodes.join(tone, nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=0.42)
    nodes.bump(grain.outputs["Distance"], 0.2, 0.002)


def _glass(nodes: _Nodes, color: str) -> None:
    nodes.set(Base_Color=linear(color), Transmission_Weight=1.0, Roughness=0.0, IOR=1.45)
    clear = nodes.add("BsdfTransparent", Color=linear(tinted(color, 0.98)))
    path, mix = nodes.add("LightPath"), nodes.add("MixShader")
    output = nodes.tree.nodes["Material Output"]
    nodes.join(path.outputs["Is Shadow Ray"], mix.inputs[0])
    nodes.join(nodes.bsdf.outputs["BSDF"], mix.inputs[1])
    nodes.join(clear.outputs["BSDF"], mix.inputs[2])
    nodes.join(mix.outputs["Shader"], output.inputs["Surface"])


def _plain(nodes: _Nodes, substance: str, color: str) -> None:
    nodes.set(Base_Color=linear(color))
    table: dict[str, dict[str, Any]] = {
        "ceramic": {"Roughness": 0.12, "Coat_Weight": 0.6, "Coat_Roughness": 0.05},
        "clay": {"Roughness": 0.8},
        "plastic": {"Roughness": 0.3},
        "paint": {"Roughness": 0.5},
        "metal": {"Roughness": 0.28, "Metallic": 1.0},
        "chrome": {"Roughness": 0.08, "Metallic": 1.0},
        "wall": {"Roughness": 0.9},
        "leaf": {"Roughness": 0.45, "Subsurface_Weight": 0.05},
        "bottle": {"Roughness": 0.06, "Coat_Weight": 1.0, "Specular_IOR_Level": 0.7},
        "liquid": {"Roughness": 0.05, "Emission_Color": linear(color), "Emission_Strength": 0.12},
        "paper": {"Roughness": 0.75},
    }
    nodes.set(**table[substance])


def glow(image: Image.Image | None = None, color: str = "#ffffff", strength: float = 1.0) -> Any:
    """Something that shines: a screen, a lamp shade, the sky behind a window."""
    nodes = _Nodes("glow")
    nodes.set(Base_Color=(0, 0, 0, 1), Roughness=0.15, Emission_Color=linear(color), Emission_Strength=strength)
    if image is not None:
        nodes.join(_print(nodes, image, 1.0, boxed=False), nodes.bsdf.inputs["Emission Color"])
    return nodes.material


def printed(image: Image.Image, rough: float = 0.6) -> Any:
    """A surface that carries `image` once over its uv square."""
    nodes = _Nodes("printed")
    nodes.join(_print(nodes, image, 1.0, boxed=False), nodes.bsdf.inputs["Base Color"])
    nodes.set(Roughness=rough)
    return nodes.material


def make(finish: Finish) -> Any:
    """The material for `finish`. Raises KeyError for a substance that does not exist."""
    nodes = _Nodes(finish.of)
    if finish.pattern:
        drawn = patterns.PATTERNS[finish.pattern](finish.colors, **finish.options)
        nodes.join(_print(nodes, drawn, finish.repeat, finish.boxed, finish.around), nodes.bsdf.inputs["Base Color"])
    special = {"wood": _wood, "planks": _planks, "tiles": _tiles, "leather": _leather, "glass": _glass, "cloth": _cloth}
    if finish.of == "velvet":
        _cloth(nodes, finish.color, velvet=True)
    elif finish.of in special:
        special[finish.of](nodes, finish.color)
    else:
        _plain(nodes, finish.of, finish.color)
    return nodes.material
