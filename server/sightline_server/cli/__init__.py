"""The server's commands, one a file; `sightline` finds them through the entry-point group `sightline.commands`."""
