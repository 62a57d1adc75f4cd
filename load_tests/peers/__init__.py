"""Sightline and its peers: the same models and steps in LitServe, Ray Serve and BentoML; `make bench-peers`."""
