"""The halves of a search: `look` makes objects with embeddings of a photo, `find` finds products for embeddings."""
