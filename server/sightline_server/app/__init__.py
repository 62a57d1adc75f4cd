"""The composition root: builds every part and hands each its collaborators. The only package that knows all others.

Rule: no logic of a part is here, only the list of parts and the order in which they start and stop. Importing the
package itself loads nothing, because commands that need one part of it must start without the libraries of the others.
"""
