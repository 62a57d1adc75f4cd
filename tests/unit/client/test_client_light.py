"""A plain `pip install sightline` needs nothing of the server, and names the extra where it is missing."""

import subprocess
import sys

import pytest

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'numpy', 'grpc_health', 'pydantic_settings', 'cv2', 'faiss', 'lance', 'onnx',
                                      'tritonclient', 'prometheus_client', 'pyarrow', 'httpx'}:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_importing_the_client_imports_nothing_of_the_server() -> None:
    ran = python(
        "import sightline_client, sys; print(sorted({'faiss', 'tritonclient', 'lance', 'onnx', 'sightline_server',"
        " 'numpy'} & set(sys.modules)))"
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_help_lists_the_server_commands_without_importing_them() -> None:
    ran = python(
        "import sys; from sightline_client.cli import app\n"
        "try: app(['--help'])\n"
        "finally: print('server loaded:', any(m.partition('.')[0] in {'sightline_server', 'sightline_models'}"
        " for m in sys.modules))"
    )
    assert ran.returncode == 0, ran.stderr
    assert "server loaded: False" in ran.stdout
    for command in ("search", "eval", "serve", "catalog", "engine", "models", "doctor", "demo"):
        assert f" {command} " in ran.stdout


@pytest.mark.parametrize("command", [["serve"], ["catalog", "build", "--help"]])
def test_a_server_command_names_the_missing_extra(command: list[str]) -> None:
    ran = python(BLOCK + "from sightline_client.cli import main; main()", *command)
    assert ran.returncode == 2
    assert 'this command needs the server: pip install "sightline[cpu]"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_clients_own_commands_work_without_the_server() -> None:
    ran = python(BLOCK + "from sightline_client.cli import main; main()", "search", "--help")
    assert ran.returncode == 0, ran.stderr
    assert "--annotate" in ran.stdout
