"""The test vectors of docs/guide/consent.md have the outcomes that they state, and the page names every claim."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sightline_client import grants
from sightline_server.access.grants.claims import GrantRules
from sightline_server.access.grants.consent import SHORT, Consent, ConsentMode, Demands, content_hash, sha256
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.access.grants.verifying import parse_grant_keys
from sightline_server.errors import SightlineError

GUIDE = Path(__file__).parents[3] / "docs" / "guide"
VECTORS: dict[str, Any] = json.loads((GUIDE / "consent-vectors.json").read_text())
PHOTO = base64.b64decode(VECTORS["photo"])
CLAIMS = ("iss", "aud", "iat", "nbf", "exp", "jti", "purpose", "pht", "catalog", "act", "ntc", "rate", "sub")


def checks() -> Consent:
    rules = GrantRules(VECTORS["issuer"], VECTORS["audience"], VECTORS["leeway_s"], VECTORS["longest_s"])
    keys = parse_grant_keys(json.dumps(VECTORS["jwks"]).encode(), rules)
    return Consent(
        Demands(ConsentMode.REQUIRED),
        lambda: keys,
        ProcessStore(rules.kept_s, 10),
        leeway_s=rules.leeway_s,
        now=lambda: float(VECTORS["now"]),
    )


async def outcome(consent: Consent, grant: str) -> str:
    try:
        settled = consent.settled(VECTORS["catalog"], grant, consent.read(grant))
        assert settled is not None
        await consent.use(settled, PHOTO, "app")
    except SightlineError as error:
        return error.kind.value
    return "OK"


@pytest.mark.parametrize("vector", VECTORS["grants"], ids=lambda vector: str(vector["name"]))
async def test_a_vector_has_its_outcome_and_works_once(vector: dict[str, str]) -> None:
    consent = checks()
    assert await outcome(consent, vector["grant"]) == vector["outcome"]
    again = "GRANT_REPLAYED" if vector["outcome"] == "OK" else vector["outcome"]
    assert await outcome(consent, vector["grant"]) == again


def test_a_signer_makes_the_first_vector_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(VECTORS["private_key"]))
    path.chmod(0o600)
    grant = VECTORS["grants"][0]["grant"]
    claims = json.loads(base64.urlsafe_b64decode(grant.split(".")[1] + "=="))
    assert grants.photo_hash(PHOTO) == VECTORS["pht"] == claims["pht"]
    assert grants.signed(claims, grants.read_key(path)) == grant


@pytest.mark.parametrize("vector", VECTORS["parts"], ids=lambda vector: str(vector["name"]))
async def test_client_and_server_hash_parts_as_the_vectors_say(vector: dict[str, Any]) -> None:
    parts = [base64.b64decode(part) for part in vector["parts"]]
    assert grants.parts_hash(parts) == vector["pht"] == encoded(content_hash(tuple(parts)))
    assert await sha256(tuple(parts)) == content_hash(tuple(parts))
    if numbers := vector.get("numbers"):
        assert grants.embeddings_hash(numbers) == grants.embeddings_hash(parts) == vector["pht"]


def test_no_two_lists_of_parts_have_the_same_hash() -> None:
    lists: list[tuple[bytes, ...]] = [(), (b"",), (b"", b""), (b"ab",), (b"a", b"b"), (b"b", b"a"), (b"", b"ab")]
    assert len({content_hash(each) for each in lists}) == len(lists)
    # Not even the bytes that are hashed are a photo: a length comes first.
    assert content_hash((b"ab",)) != content_hash(b"ab")
    assert content_hash((b"ab",)) == content_hash(bytes(7) + b"\x02ab")


async def test_large_parts_are_hashed_in_a_thread_with_the_same_result() -> None:
    parts = (bytes(SHORT), b"end")
    assert await sha256(parts) == content_hash(parts)


def encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_the_page_defines_every_claim_and_every_reason() -> None:
    page = (GUIDE / "consent.md").read_text()
    assert [name for name in CLAIMS if f"| `{name}` |" not in page] == []
    reasons = {vector["outcome"] for vector in VECTORS["grants"]} - {"OK"}
    reasons |= {"GRANT_MISSING", "GRANT_REPLAYED", "GRANT_STORE_UNAVAILABLE"}
    assert [reason for reason in sorted(reasons) if not re.search(rf"\| `{reason}` \|", page)] == []
