"""The Sightline server: gRPC in front, Triton for the models, FAISS for the catalog."""
