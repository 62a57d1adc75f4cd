"""Groups items of different callers into one call of a device; used for frames, crops and queries."""
