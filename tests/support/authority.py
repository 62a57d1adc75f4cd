"""A certificate authority with files for a server, which can be issued again, and credentials for clients."""

import os
from pathlib import Path

import grpc
import trustme


class Authority:
    """`cert`, `key` and `root` are PEM files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ca, self._other = trustme.CA(), trustme.CA()
        self.cert, self.key, self.root = folder / "server.pem", folder / "server.key", folder / "ca.pem"
        self.issue()
        self.root.write_bytes(self.root_pem())

    def pair(self) -> tuple[bytes, bytes]:
        """A new certificate of the server and its key."""
        leaf = self._ca.issue_cert("localhost")
        return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()

    def issue(self) -> bytes:
        """Replaces the files by a new pair, one file after the other; returns the certificate."""
        cert, key = self.pair()
        for path, content in ((self.cert, cert), (self.key, key)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            os.replace(fresh, path)
        return cert

    def client_files(self, folder: Path, *, stranger: bool = False) -> tuple[Path, Path]:
        """The files of a client's certificate and its key in `folder`, of this authority or of another one."""
        leaf = (self._other if stranger else self._ca).issue_cert("client@example.com")
        cert, key = folder / f"client-{stranger}.pem", folder / f"client-{stranger}.key"
        cert.write_bytes(leaf.cert_chain_pems[0].bytes())
        key.write_bytes(leaf.private_key_pem.bytes())
        return cert, key

    def root_pem(self, *, stranger: bool = False) -> bytes:
        """The root certificate, or that of another authority."""
        return (self._other if stranger else self._ca).cert_pem.bytes()

    def credentials(
        self, *, client: bool = False, stranger: bool = False, name: str = "client@example.com"
    ) -> grpc.ChannelCredentials:
        """Channel credentials of a client: without a certificate, or with one of this or of another authority."""
        leaf = (self._other if stranger else self._ca).issue_cert(name)
        return grpc.ssl_channel_credentials(
            self._ca.cert_pem.bytes(),
            leaf.private_key_pem.bytes() if client or stranger else None,
            leaf.cert_chain_pems[0].bytes() if client or stranger else None,
        )
