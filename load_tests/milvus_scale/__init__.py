"""A large catalog in Milvus next to the same one in a folder: latency, filters, recall, and a Milvus that is killed."""
