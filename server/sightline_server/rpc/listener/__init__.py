"""The server's listener: its address, its TLS files, and the protection of its connections."""
