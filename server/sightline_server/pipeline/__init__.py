"""The flow of one search: decode, choose and read codes, embed, `find`; events are sent as soon as each is known.

    pipeline     leases the catalog, takes one of the two flows, streams its events; counts the times and who cancelled
    images       a photo, crops: decode -> `objects` -> Detected -> `answers` -> second round -> Done
    embeddings   embeddings of the caller: Detected -> `answers` from the search on -> Done
    objects      Frame -> detector and codes at the same time -> objects and views without people
    answers      objects -> crop, embed, search, rank -> the event of each object
A text of the call is encoded meanwhile, and joins the embeddings before the search.
Crops that a caller made are several photos, each of which is one object.
Rule: everything of a photo lives in the frames of `Pipeline.run` and of the tasks that end with it, and is gone with
them.
"""

from sightline_server.pipeline.pipeline import Pipeline
from sightline_server.pipeline.settings import PipelineSettings

__all__ = ["Pipeline", "PipelineSettings"]
