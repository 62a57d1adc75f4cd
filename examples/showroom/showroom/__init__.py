"""The showroom's generator: parametric products, rooms, photos and their exact truth.

It is a tool for the people who keep the sample world, never a dependency of Sightline: it needs Blender's Python
module (`bpy`), which nothing else in this repository imports.
"""
