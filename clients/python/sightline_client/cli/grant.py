"""`sightline grant keygen | issue`: keys and grants of a consent service, for tests and examples.

Rule: what is printed on stdout is the public JWKS or the grant alone; a private key goes to a private file and nowhere
else.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline_client import grants
from sightline_client.cli import connection
from sightline_client.cli.search import read_photo
from sightline_client.errors import SightlineError
from sightline_console.terminal import echo, echo_lines

app = typer.Typer(name="grant", help="Make keys and consent grants, for tests and examples.", no_args_is_help=True)


class Algorithm(StrEnum):
    """The algorithms of grants."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


@app.command()
def keygen(
    key: Annotated[Path, typer.Argument(metavar="KEY.json", help="New file for the private key, of mode 0600.")],
    algorithm: Annotated[Algorithm, typer.Option(help="Algorithm of the signatures.")] = Algorithm.EDDSA,
) -> None:
    """Make a private key, and print the JWKS with its public part for the server."""
    try:
        made = grants.new_key(algorithm.value)
        grants.write_key(key, made)
    except SightlineError as error:
        connection.fail(error)
    echo_lines(grants.public_keys(made))
    echo(f"private key {made.kid} is in {key}: it belongs to the consent service alone", err=True)


@app.command()
def issue(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="The image file to be searched, or -.")],
    key: Annotated[Path, typer.Option(metavar="KEY.json", help="File of the private key.")],
    issuer: Annotated[str, typer.Option(help="The claim iss: the server's consent.issuer.")],
    audience: Annotated[str, typer.Option(help="The claim aud: the server's consent.audience.")],
    catalog: Annotated[str, typer.Option(help="The catalog that may be searched; empty: any.")] = "",
    act: Annotated[str, typer.Option(help="What the person did, such as tap.")] = "",
    notice: Annotated[str, typer.Option(help="Version of the notice that was shown.")] = "",
    rate: Annotated[str, typer.Option(help="Pseudonym for limits.")] = "",
    seconds: Annotated[int, typer.Option(min=1, max=grants.LONGEST_S, help="Seconds until it expires.")] = 60,
) -> None:
    """Print a grant for one search of one photo."""
    data = read_photo(photo)
    try:
        signer = grants.GrantSigner.read(key, issuer=issuer, audience=audience)
        text = signer.grant(data, catalog=catalog, act=act, notice=notice, rate=rate, lifetime_s=seconds)
    except SightlineError as error:
        connection.fail(error)
    echo_lines(text)
