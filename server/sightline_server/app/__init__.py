"""The composition root: builds every part and hands each its collaborators. The only package that knows all others.

Rule: no logic of a part is here, only the list of parts and the order in which they start and stop.
"""

from sightline_server.app.engine import engine_session
from sightline_server.app.serving import Running, serving

__all__ = ["Running", "engine_session", "serving"]
