"""Text encoders of a repository: how they are adopted and checked, with which embedder, and what is refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers
from typer.testing import CliRunner, Result

from sightline_models.embedders import text_folders
from sightline_models.errors import ModelError
from sightline_models.tokenizer import FILE, NoTokensError, TextTokenizer
from sightline_server.app.text_folders import text_encoder_folders
from sightline_server.cli.further_models import further_models
from sightline_server.cli.models import app
from sightline_server.domain.address import TcpAddress
from sightline_server.domain.checks import Verdict
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EMBEDDER, EmbedderSpec, Role, TextEncoderSpec
from sightline_server.domain.text_encoders import by_embedder, in_bf16
from sightline_server.errors import SightlineError
from sightline_server.settings import EngineSettings, Settings
from sightline_server.triton.client import parse_config
from sightline_server.workers.task import share_of
from tests.support.adopted import answers
from tests.support.texts import LENGTH, expected_vectors, ids_of, prepared, text_tower, tokenizer_json
from tests.support.tiny_models import build_repository, declare_models, echo_embedder, write_model

FOLDER = "text_encoder"
TEXTS = ("a blue chair", "cup", "a red cup with gold rim")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of tiny models, all of them declared."""
    folder = build_repository(tmp_path / "repository")
    declare_models(folder)
    return folder


def adopt(repository: Path, model: onnx.ModelProto, *options: str, embedder: str = "embedder") -> Result:
    """Adopts a text tower; later options count."""
    file, tokenizer = repository.parent / "text.onnx", repository.parent / FILE
    file.write_bytes(model.SerializeToString())
    tokenizer.write_bytes(tokenizer_json())
    own = ["--embedder", embedder, "--tokenizer", str(tokenizer), "--length", str(LENGTH), "--output", "text_embeds"]
    arguments = ["adopt", str(file), "--role", "text_encoder", *own, *options, "--repository", str(repository)]
    return CliRunner().invoke(app, arguments)


def vectors(repository: Path, tokens: np.ndarray) -> np.ndarray:
    return answers(repository, FOLDER, tokens)["EMBEDDINGS"]


@pytest.mark.parametrize("element", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("length", [LENGTH, "length"])
def test_an_adopted_tower_answers_like_the_tower(repository: Path, element: int, length: int | str) -> None:
    done = adopt(repository, text_tower(element=element, length=length))
    assert (done.exit_code, done.stderr) == (0, "")
    tokens = ids_of(TEXTS)
    for count in (1, 3):
        np.testing.assert_allclose(vectors(repository, tokens[:count]), expected_vectors(tokens[:count]), atol=1e-6)


@pytest.mark.parametrize("pad_token", ["<pad>", "<eos>"])
def test_the_mask_counts_the_tokens_of_the_text(repository: Path, pad_token: str) -> None:
    """The token that ends a text counts also where the same one fills up, as in CLIP's tokenizer."""
    done = adopt(repository, text_tower(mask=True), "--pad-token", pad_token)
    assert (done.exit_code, done.stderr) == (0, "")
    tokens = ids_of(TEXTS, prepared(pad_token=pad_token))
    lengths = np.array([[len(text.split()) + 1] for text in TEXTS])
    counted = np.arange(LENGTH) < lengths
    np.testing.assert_allclose(vectors(repository, tokens), expected_vectors(tokens, counted), atol=1e-6)


def test_the_folder_names_the_embedder_and_the_tokenizer(repository: Path) -> None:
    assert adopt(repository, text_tower()).exit_code == 0
    assert text_folders(repository) == (FOLDER,) and not list(repository.glob(".*"))
    parameters = parse_config((repository / FOLDER / "config.pbtxt").read_text())["parameters"]
    image = hashlib.sha256((repository / "embedder" / "1" / "model.onnx").read_bytes()).hexdigest()
    assert json.loads(parameters["embedder"]["string_value"]) == {"name": "tiny embedder", "sha256": image}
    content = (repository / FOLDER / "1" / FILE).read_bytes()
    assert parameters["tokenizer_sha256"]["string_value"] == hashlib.sha256(content).hexdigest()
    read = TextTokenizer.read(repository / FOLDER / "1" / FILE, LENGTH)
    assert list(ids_of(["a blue chair"], read)[0]) == [3, 4, 6, 2, 0, 0, 0, 0]
    listed = CliRunner().invoke(app, ["list", "--repository", str(repository)])
    assert listed.exit_code == 0 and FOLDER in listed.stdout


def test_lower_case_is_part_of_the_tokenizer(repository: Path) -> None:
    assert adopt(repository, text_tower(), "--lowercase").exit_code == 0
    read = TextTokenizer.read(repository / FOLDER / "1" / FILE, LENGTH)
    upper, lower = ids_of(["A BLUE Chair", "a blue chair"], read)
    assert list(upper) == list(lower)
    upper, lower = ids_of(["STEEL", "steel"], read)
    assert list(upper) == list(lower)
    upper, lower = ids_of(["A BLUE chair", "a blue chair"])
    assert list(upper) != list(lower)


def test_a_text_of_too_many_tokens_has_no_ids() -> None:
    tokenizer = prepared()
    longest = tokenizer.encode(" ".join(["cup"] * (LENGTH - 1)))
    assert longest is not None and list(longest) == [7] * (LENGTH - 1) + [2]
    assert tokenizer.encode(" ".join(["cup"] * LENGTH)) is None


def test_words_that_look_like_tokens_are_words() -> None:
    ids = prepared().encode("cup <eos> red")
    assert ids is not None and list(ids).count(2) == 1


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no embedder": (("--embedder", "embedder-x"), "add its image tower first"),
    "a detector": (("--embedder", "detector"), "cannot be the folder of an embedder"),
    "no tokenizer": (("--tokenizer", "nowhere.json"), "no such file: nowhere.json"),
    "another length": (("--length", "9"), "takes 8 tokens, and --length is 9"),
    "another output": (("--output", "logits"), "--output must be one of last_hidden_state, text_embeds"),
    "tokens": (("--output", "last_hidden_state"), "expected one float vector for each text"),
    "an unknown token": (("--pad-token", "<none>"), "has no token '<none>'"),
    "a mean": (("--mean", "0.5"), "a text encoder does not have --mean"),
    "a pool": (("--pool", "cls", "--name", "x"), "a text encoder does not have --name, --pool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(repository: Path, name: str) -> None:
    options, reason = WRONG[name]
    refused = adopt(repository, text_tower(), *options)
    assert refused.exit_code == 1 and reason in refused.stderr and refused.stderr.count("\n") == 1
    assert text_folders(repository) == ()


def test_options_that_are_missing_are_named(repository: Path) -> None:
    file = repository.parent / "text.onnx"
    file.write_bytes(text_tower().SerializeToString())
    arguments = ["adopt", str(file), "--role", "text_encoder", "--repository", str(repository)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1 and "needs --embedder FOLDER, --tokenizer FILE and --length N" in refused.stderr
    image = CliRunner().invoke(app, ["adopt", str(file), "--role", "embedder", "--repository", str(repository)])
    assert image.exit_code == 1 and "needs --name, --mean and --std" in image.stderr
    mixed = ["adopt", str(file), "--role", "embedder", "--length", "8", "--repository", str(repository)]
    refused = CliRunner().invoke(app, mixed)
    assert refused.exit_code == 1 and "only a text encoder has the options" in refused.stderr


def test_a_tower_of_another_dimension_belongs_to_another_model(repository: Path) -> None:
    refused = adopt(repository, text_tower(dimension=4))
    assert refused.exit_code == 1 and "4 numbers, and those of tiny embedder in embedder have 8" in refused.stderr


def test_further_inputs_are_refused(repository: Path) -> None:
    model = text_tower()
    model.graph.input.append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8]))
    refused = adopt(repository, model)
    assert refused.exit_code == 1 and "has the inputs input_ids, pixel_values" in refused.stderr
    model = text_tower()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    refused = adopt(repository, model)
    assert refused.exit_code == 1 and "a batch of 1 only" in refused.stderr


def test_a_second_text_encoder_of_an_embedder_is_refused(repository: Path) -> None:
    assert adopt(repository, text_tower()).exit_code == 0
    refused = adopt(repository, text_tower())
    assert refused.exit_code == 1 and "is there already; remove it first" in refused.stderr


def test_check_finds_a_pair_that_was_separated(repository: Path) -> None:
    assert adopt(repository, text_tower()).exit_code == 0
    check = ["check", "--repository", str(repository)]
    assert CliRunner().invoke(app, check).exit_code == 0
    # The same embedder with another name of its nodes: another file, and so another model.
    model = onnx.load(repository / "embedder" / "1" / "model.onnx")
    model.producer_name = "another"
    onnx.save(model, repository / "embedder" / "1" / "model.onnx")
    for path in repository.glob("*/1/model.json"):
        if path.parents[1].name == "embedder":
            path.unlink()
    (repository / "embedder" / "1" / "model.json").write_text(
        json.dumps(
            {
                "name": "tiny embedder",
                "version": "1",
                "sha256": hashlib.sha256((repository / "embedder" / "1" / "model.onnx").read_bytes()).hexdigest(),
            }
        )
    )
    refused = CliRunner().invoke(app, check)
    assert refused.exit_code == 1 and "the text encoder text_encoder belongs to tiny embedder@" in refused.stderr


def test_check_finds_another_tokenizer(repository: Path) -> None:
    assert adopt(repository, text_tower()).exit_code == 0
    path = repository / FOLDER / "1" / FILE
    path.write_bytes(prepared(lowercase=True).serialize())
    refused = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert refused.exit_code == 1 and "tokenizer_sha256" in refused.stderr
    path.write_bytes(tokenizer_json())
    refused = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert refused.exit_code == 1 and "does not fill up and cut texts to the 8 tokens" in refused.stderr
    path.write_bytes(b"{}")
    refused = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert refused.exit_code == 1 and "is not a tokenizer.json" in refused.stderr


IMAGE = EmbedderSpec("mine", "1", 32, 32, 8, sha256="a" * 64)


def text_spec(**fields: object) -> TextEncoderSpec:
    usual = {"embedder_name": "mine", "embedder_sha256": "a" * 64, "tokenizer_sha256": "c" * 64, "sha256": "b" * 64}
    return TextEncoderSpec(name="mine-text", version="1", length=8, **{"dimension": 8, **usual, **fields})  # type: ignore[arg-type]


def pair(text: TextEncoderSpec, image: EmbedderSpec = IMAGE, folder: str = FOLDER) -> list[str]:
    role = Role[TextEncoderSpec](folder)
    return list(by_embedder([(role, text)], ServedEmbedders.of([(EMBEDDER, image)])))


def test_a_text_encoder_belongs_to_the_file_that_it_states() -> None:
    assert pair(text_spec()) == [IMAGE.identity]
    renamed = EmbedderSpec("renamed", "2", 32, 32, 8, sha256="a" * 64)
    assert pair(text_spec(), renamed) == [renamed.identity]
    in_other_precision = EmbedderSpec("mine", "1", 32, 32, 8, sha256=in_bf16("a" * 64))
    assert pair(text_spec(), in_other_precision) == [in_other_precision.identity]
    remote = EmbedderSpec("mine", "1", 32, 32, 8)
    assert pair(text_spec(), remote) == ["mine"]


@pytest.mark.parametrize(
    ("text", "image", "folder", "reason"),
    [
        (text_spec(), EmbedderSpec("mine", "1", 32, 32, 8, sha256="d" * 64), FOLDER, "belongs to mine@aaaaaaaaaaaa"),
        (text_spec(), EmbedderSpec("other", "1", 32, 32, 8), FOLDER, "belongs to mine@aaaaaaaaaaaa"),
        (text_spec(dimension=4), IMAGE, FOLDER, "have 4 numbers, and those of embedder 8"),
        (text_spec(), IMAGE, "text_encoder-x", "belongs to embedder-x, which is not served"),
    ],
)
def test_a_text_encoder_of_another_embedder_is_refused(
    text: TextEncoderSpec, image: EmbedderSpec, folder: str, reason: str
) -> None:
    with pytest.raises(SightlineError, match=reason):
        pair(text, image, folder)


def settings_of(repository: Path, **engine: object) -> Settings:
    return Settings(home=repository / "home", engine=EngineSettings(**{"repository": repository, **engine}))  # type: ignore[arg-type]


def test_text_encoders_of_served_embedders_are_served(tmp_path: Path) -> None:
    for name in ("embedder", "embedder-a", "text_encoder", "text_encoder-a", "text_encoder-b", "text_encoder_c"):
        (tmp_path / name).mkdir()
    assert text_encoder_folders(settings_of(tmp_path)) == ("text_encoder", "text_encoder-a")
    assert text_encoder_folders(settings_of(tmp_path, embedders=())) == ("text_encoder",)
    assert text_encoder_folders(settings_of(tmp_path, text_encoders=())) == ()
    remote = {"triton_url": TcpAddress("triton", 8001)}
    assert text_encoder_folders(settings_of(tmp_path, **remote)) == ()
    assert text_encoder_folders(settings_of(tmp_path, **remote, text_encoders=(FOLDER,))) == (FOLDER,)
    address = TcpAddress("127.0.0.1", 1)
    share = share_of(settings_of(tmp_path), address=address, engine=address, text_encoders=[FOLDER])
    assert text_encoder_folders(share) == (FOLDER,)


def test_another_embedder_may_have_a_text_encoder(repository: Path) -> None:
    write_model(repository, "embedder-echo", echo_embedder(2), {"preprocess": {"resize": "squash"}}, max_batch_size=8)
    declare_models(repository)
    refused = adopt(repository, text_tower(), embedder="embedder-echo")
    assert refused.exit_code == 1 and "have 12" in refused.stderr


def test_a_tokenizer_without_padding_needs_a_token(tmp_path: Path) -> None:
    content = tokenizer_json().replace(b"<pad>", b"<filler>")
    with pytest.raises(ModelError, match="does not state the token that fills up"):
        TextTokenizer.prepare(tmp_path / FILE, content, 8, lowercase=False, pad_token=None)
    found = TextTokenizer.prepare(tmp_path / FILE, content, 8, lowercase=False, pad_token="<filler>")
    assert found.pad_id == 0


def test_doctor_reports_text_encoders(repository: Path) -> None:
    assert adopt(repository, text_tower()).exit_code == 0
    (found,) = further_models(settings_of(repository))
    assert (found.name, found.verdict) == (FOLDER, Verdict.OK)
    (repository / FOLDER / "1" / "model.onnx").write_bytes(b"damaged")
    (found,) = further_models(settings_of(repository))
    assert found.verdict is Verdict.FAIL and "sha256" in found.found


def _tokenizer(model: models.Model, normalizer: normalizers.Normalizer | None = None) -> TextTokenizer:
    """A tokenizer with `model` as a framework wrote it."""
    inner = Tokenizer(model)
    inner.add_special_tokens(["<pad>"])
    if normalizer is not None:
        inner.normalizer = normalizer
    content = str(inner.to_str()).encode()
    return TextTokenizer.prepare(Path(FILE), content, LENGTH, lowercase=False, pad_token="<pad>")


WITHOUT_TOKENS: dict[str, tuple[models.Model, normalizers.Normalizer | None, str]] = {
    "removed characters": (
        models.BPE({"<pad>": 0, "<unk>": 1}, [], unk_token="<unk>"),
        normalizers.BertNormalizer(),
        "\u200b\x00\x07",
    ),
    "unknown characters without a token": (models.BPE({"<pad>": 0, "a": 1}, []), None, "zq"),
    "an error of the library": (models.Unigram([("<pad>", 0.0), ("a", -1.0)]), None, "a zq"),
}


@pytest.mark.parametrize("name", WITHOUT_TOKENS)
def test_a_text_without_tokens_is_refused_and_not_repeated(name: str) -> None:
    model, normalizer, text = WITHOUT_TOKENS[name]
    tokenizer = _tokenizer(model, normalizer)
    assert tokenizer.encode("a") is not None
    with pytest.raises(NoTokensError) as refused:
        tokenizer.encode(text)
    assert text not in str(refused.value) and refused.value.__cause__ is None


def test_a_tokenizer_keeps_no_words_of_texts(tmp_path: Path) -> None:
    vocabulary = {"<pad>": 0, "<one>": 1, "<other>": 2}
    prepared_first = _tokenizer(models.BPE(vocabulary, [], unk_token="<one>"))
    path = tmp_path / FILE
    path.write_bytes(prepared_first.serialize())
    for tokenizer in (prepared_first, TextTokenizer.read(path, LENGTH)):
        before = tokenizer.encode("zq")
        # A word that was kept would keep its ids.
        tokenizer._inner.model.unk_token = "<other>"
        after = tokenizer.encode("zq")
        assert before is not None and after is not None
        assert (before[0], after[0]) == (1, 2)
