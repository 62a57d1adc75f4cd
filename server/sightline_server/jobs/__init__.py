"""Long-running operations of a server: started by a call, watched and cancelled by later ones.

Rule: in memory, and bounded in number. Operations end with the server; what they have written stays.
"""
