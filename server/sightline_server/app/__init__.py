"""The composition root: builds every part and hands each its collaborators. The only package that knows all others.

Rule: no logic of a part stands here, only which parts there are, in which order they start, and in which they stop.
"""

from sightline_server.app.engine import engine_session
from sightline_server.app.serving import Running, serving

__all__ = ["Running", "engine_session", "serving"]
