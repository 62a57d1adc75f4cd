"""The parts of a search that `pipeline/` joins: `look` finds objects, `object_embedder` embeds, `find` searches."""
