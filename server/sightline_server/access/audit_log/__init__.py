"""The audit log on the disk: chains of JSON lines, their keys, the thread that writes them, and their verification."""
