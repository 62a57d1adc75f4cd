"""A server with access, consent and audit on, and a caller that it answers."""
