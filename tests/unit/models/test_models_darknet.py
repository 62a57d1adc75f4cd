"""The darknet reader: sections, layers, weights to the last float."""

import numpy as np
import pytest

from sightline_models.darknet import Convolution, MaxPool, Route, Upsample, Yolo, parse_cfg, read_network
from sightline_models.errors import ModelError

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=2\nsize=1\nstride=1\npad=1\nactivation=linear\n"


def weights(*values: float) -> bytes:
    return bytes(20) + np.array(values, dtype="<f4").tobytes()


def test_sections_keep_their_order_and_comments_are_dropped() -> None:
    text = "# top\n[net]\nwidth = 8 # pixels\n\n[route]\nlayers=-1, 2\n"
    assert parse_cfg(text) == [("net", {"width": "8"}), ("route", {"layers": "-1, 2"})]


@pytest.mark.parametrize("text", ["width=8\n", "[net]\nnonsense\n"])
def test_a_line_that_is_no_option_is_named(text: str) -> None:
    with pytest.raises(ModelError, match="line"):
        parse_cfg(text)


def test_bias_comes_before_the_kernel() -> None:
    (layer,) = read_network(NET + CONV, weights(10, 20, 1, 2, 3, 4, 5, 6)).layers
    assert isinstance(layer, Convolution)
    assert layer.bias.tolist() == [10, 20]
    assert layer.weight.reshape(2, 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert not layer.leaky
    assert layer.padding == 0


def test_batch_norm_is_read_as_bias_scale_mean_variance_and_folded() -> None:
    cfg = NET + CONV.replace("filters=2", "filters=1\nbatch_normalize=1").replace("linear", "leaky")
    bias, scale, mean, variance = 0.5, 2.0, 3.0, 4.0
    (layer,) = read_network(cfg, weights(bias, scale, mean, variance, 1, 2, 3)).layers
    assert isinstance(layer, Convolution)
    assert layer.leaky
    np.testing.assert_allclose(layer.weight.ravel(), [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(layer.bias, [bias - mean], rtol=1e-5)


def test_routes_become_absolute_and_channels_follow_them() -> None:
    route = "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[route]\nlayers=-1,0\n"
    last = CONV.replace("filters=2", "filters=1")
    layers = read_network(NET + CONV + route + last, weights(*range(8), *range(1 + 3))).layers
    assert layers[1:3] == (Route((0,), 2, 1), Route((1, 0), 1, 0))
    assert isinstance(layers[3], Convolution)
    assert layers[3].weight.shape == (1, 3, 1, 1)


def test_the_other_layers() -> None:
    cfg = NET + "[maxpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n"
    cfg += "[yolo]\nmask=1,0\nanchors=1,2, 3,4\nclasses=80\nscale_x_y=1.05\n"
    assert read_network(cfg, weights()).layers == (
        MaxPool(2, 2),
        Upsample(2),
        Yolo(((3.0, 4.0), (1.0, 2.0)), 80, 1.05),
    )


@pytest.mark.parametrize(
    ("cfg", "values", "reason"),
    [
        (NET + CONV, range(7), "ended after 7"),
        (NET + CONV, range(9), "1 numbers are left over"),
        (NET + "[shortcut]\nfrom=-3\n", (), r"\[shortcut\]"),
        (NET + CONV.replace("linear", "mish"), range(8), "mish"),
        (CONV, range(8), r"\[net\]"),
    ],
)
def test_what_does_not_fit_is_an_error(cfg: str, values: range, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        read_network(cfg, weights(*values))


def test_a_cut_float_is_an_error() -> None:
    with pytest.raises(ModelError, match="bytes"):
        read_network(NET, bytes(22))
