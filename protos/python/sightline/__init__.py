"""The Sightline contract, generated from `protos/sightline`."""
