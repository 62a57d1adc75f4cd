"""Writers of a catalog that are ended at random moments, and a check that no acknowledged write is lost."""
