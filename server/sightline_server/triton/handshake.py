"""The reason why a remote Triton cannot be reached: gRPC's text about a connection, as advice about the settings.

Rule: total; an unknown text is shown as it is, without the prefixes that gRPC adds.
"""

import re

from sightline_server.triton.link import CA, CERT, KEY, Link

FRAME = re.compile(r"^.*last error: (?:[A-Z_]+: )?", re.DOTALL)
PEER = re.compile(r"^(?:ipv4|ipv6|unix|unix-abstract):\S+: ")
OPENSSL = re.compile(r"routines:[^:]*:([A-Z0-9_]+)(?:: (?!Invalid certificate verification context)([^:]+))?")
"""OpenSSL's reason, such as CERTIFICATE_VERIFY_FAILED, and the fault of the certificate."""
OTHER_NAME = ("Hostname Verification Check failed", "is not in peer certificate")
CUT = ("Socket closed", "handshaker shutdown", "Connection reset", "Broken pipe")
"""The peer ends the connection. Under TLS 1.3 a refused client certificate looks like that: it is checked last."""


def is_final(detail: str) -> bool:
    """Returns whether gRPC's text reports that the two sides disagree on TLS; waiting for Triton does not help then."""
    return OPENSSL.search(detail) is not None or any(text in detail for text in OTHER_NAME)


def explain(detail: str, link: Link) -> str:
    """The meaning of gRPC's `detail` for the connection of `link`, and the setting to change."""
    if any(text in detail for text in OTHER_NAME):
        wanted = (link.tls.server_name if link.tls else "") or str(link.address)
        return f"its certificate is not for {wanted}: set engine.triton_tls_name to a name in the certificate"
    if found := OPENSSL.search(detail):
        return explain_openssl(found[1], (found[2] or "").strip(), link)
    if any(text in detail for text in CUT):
        return explain_cut(link)
    return PEER.sub("", FRAME.sub("", detail)).strip()


def explain_openssl(reason: str, verdict: str, link: Link) -> str:
    """The meaning of OpenSSL's `reason` and, for a certificate that was refused, of its `verdict`."""
    if reason == "CERTIFICATE_VERIFY_FAILED":
        authority = link.tls.ca if link.tls else None
        roots = f"{CA} {authority}" if authority else f"the system's root certificates: set {CA}"
        return f"its certificate cannot be verified ({verdict or 'not trusted'}) with {roots}"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return "it does not use TLS: start Triton with --grpc-use-ssl=true, or remove the engine.triton_tls settings"
    if "ALERT" in reason:
        return f"it ended the TLS handshake ({words(reason)}): {advice_on_certificate(link)}"
    return f"the TLS handshake failed: {words(reason)}"


def explain_cut(link: Link) -> str:
    """The meaning of connections that Triton accepts and then ends."""
    if link.tls is None:
        return "it ends every connection: if it uses TLS (--grpc-use-ssl), set engine.triton_tls"
    return f"it ends every connection after the TLS handshake: {advice_on_certificate(link)}"


def advice_on_certificate(link: Link) -> str:
    """The advice where Triton refuses this side's certificate, or the lack of one."""
    if link.tls is None or link.tls.cert is None:
        return f"if it asks for a client certificate (--grpc-use-ssl-mutual), set {CERT} and {KEY}"
    return (
        f"it may not trust the client certificate {CERT} {link.tls.cert}: compare its authority with --grpc-root-cert"
    )


def words(reason: str) -> str:
    """OpenSSL's reason in lower case with blanks."""
    return reason.replace("_", " ").lower()
