"""The embedded engine as the rest of the server gets it: its host, its installation and its checks.

Rule: the only module that imports `embedded/`, and only where an embedded engine is needed: a server with
`engine.triton_url` runs in an installation that lacks the package.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sightline_models.places import default_repository
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings
from sightline_server.triton.hosts import Host, ProviderListener

if TYPE_CHECKING:
    # numpy comes with it, which `doctor` and `engine install` do without.
    from sightline_server.domain.models import AnyRole
    from sightline_server.ports import EmbeddedChecks

PACKAGE = "sightline_server.embedded"


def embedded_host(settings: Settings, on_provider: ProviderListener, roles: "tuple[AnyRole, ...]") -> Host:
    """The host of an embedded engine for `roles`, with the configurations of the wheel in its model repository.

    Raises `SightlineError` of kind CONFIGURATION without a home, and where the embedded engine is not part of this
    installation.
    """
    with required_package():
        from sightline_server.embedded.config import EmbeddedConfig
        from sightline_server.embedded.devices import Device
        from sightline_server.embedded.host import EmbeddedHost
        from sightline_server.embedded.precision import Precision
        from sightline_server.embedded.repository import assemble

    home, part = settings.home_folder, settings.engine
    repository = part.repository or default_repository(home)
    assemble(repository)
    config = EmbeddedConfig(home, repository, Device(part.device), Precision(part.precision), part.metrics_port, roles)
    return EmbeddedHost(config, on_provider)


def install_engine(
    home: Path,
    progress: Callable[[str], None],
    *,
    gpu: bool | None = None,
    bf16: bool | None = None,
    nvidia: bool = True,
    force: bool = False,
) -> None:
    """Installs the engine under `home` unless it is up to date; `embedded.install` says what the options do.

    Raises `SightlineError`.
    """
    with required_package():
        from sightline_server.embedded.install import install

    install(home, gpu=gpu, bf16=bf16, nvidia=nvidia, force=force, progress=progress)


def compare_precisions(home: Path, repository: Path, models: Iterable[str], report: Callable[[str], None]) -> None:
    """Compares the answers of `models` in float32 and bf16, where this CPU and the engine under `home` have bf16, and
    stores the findings for the engine's starts. `report` gets a line for each; without an engine nothing happens.
    """
    with suppress(SightlineError), required_package():
        from sightline_server.embedded.installation import installation_of
        from sightline_server.embedded.precision import Precision
        from sightline_server.embedded.precision_choice import choose

        choose(Precision.AUTO, installation_of(home), home, repository, models, report)


def embedded_checks() -> "EmbeddedChecks | None":
    """The checks of `sightline doctor` for the embedded engine; None where that is not part of this installation."""
    try:
        with required_package():
            from sightline_server.embedded import checks
    except SightlineError:
        return None
    return checks


@contextmanager
def required_package() -> Iterator[None]:
    """Imports from `embedded/`. Raises `SightlineError` of kind CONFIGURATION where the package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != PACKAGE and not (error.name or "").startswith(f"{PACKAGE}."):
            raise
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"this installation has no embedded engine: the package {PACKAGE} is missing. "
            "Use a running Triton with --triton-url HOST:PORT, or install Sightline again",
        ) from error
