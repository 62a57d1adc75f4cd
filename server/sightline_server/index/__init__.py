"""The catalog on disk (Lance) and the index made from it (FAISS).

Rule: the index is derived. What is served comes from one version of one dataset and never changes afterwards.
"""
