"""The Paddle reader: programs and parameters, to the last byte; damaged files."""

import struct

import numpy as np
import pytest

from sightline_models.errors import ModelError
from sightline_models.paddle import read_network
from sightline_models.protobuf_wire import fields
from tests.support.paddle_files import files, nested, number, parameter, program, variable

ONES = np.ones((2, 3), np.float32)


def test_operators_have_their_slots_and_attributes() -> None:
    network = read_network(*files())
    convolution = network.operators[1]
    assert (convolution.kind, convolution.input("Input"), convolution.input("Filter")) == (
        "conv2d",
        "image",
        "conv2d_0.w_0",
    )
    wanted = {"strides": (2, 2), "paddings": (1, 1), "groups": 1, "data_format": "NCHW"}
    wanted |= {"padding_algorithm": "EXPLICIT", "dilations": (1, 1)}
    assert {name: convolution.attributes[name] for name in wanted} == wanted
    assert network.last("split").attributes["sections"] == ()
    assert network.last("matmul_v2").attributes["trans_x"] is False
    assert network.last("softmax").attributes["axis"] == 1
    assert network.last("elementwise_mul").attributes["axis"] == -1
    assert network.last("hard_sigmoid").attributes["offset"] == 0.5
    assert network.last("nearest_interp_v2").attributes["scale"] == (2.0, 2.0)


def test_parameters_are_read_in_the_order_of_their_names() -> None:
    data = parameter(ONES, levels=[b"12345678"]) + parameter(2 * ONES[0])
    network = read_network(program([variable("b"), variable("feed"), variable("a"), variable("x", stored=False)]), data)
    assert {name: (array.shape, array.max()) for name, array in network.parameters.items()} == {
        "a": ((2, 3), 1),
        "b": ((3,), 2),
    }


def test_a_scalar_parameter_has_one_number() -> None:
    network = read_network(program([variable("a")]), parameter(np.array(3, np.float32)))
    assert network.parameters["a"].tolist() == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (parameter(ONES) + b"\0", "1 bytes of the parameters are left over"),
        (parameter(ONES)[:-1], "cut off at a"),
        (b"", "cut off at a"),
        (parameter(ONES, kind=6), r"parameter a has the type 6, expected 5 \(float32\)"),
        (parameter(ONES, version=1), "format version 1, expected 0"),
        (struct.pack("<IQIi", 0, 0, 0, -1), "cut off at a"),
        (struct.pack("<IQQ", 0, 1, 1 << 40), "cut off at a"),
        (struct.pack("<IQ", 0, 1 << 60), "cut off at a"),
        (struct.pack("<IQIi", 0, 0, 0, 13) + number(1, 5) + number(2, -1), "has the shape"),
        (struct.pack("<IQIi", 0, 0, 0, 8) + number(1, 5) + number(2, 1 << 30), "cut off at a"),
    ],
)
def test_damaged_parameters_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        read_network(program([variable("a")]), data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no block"),
        (b"\x0a\x05abc", "field 1 is cut off"),
        (b"\x80", "an integer is cut off"),
        (b"\xff" * 11, "an integer is cut off or too long"),
        (b"\x0b", "wire type 3 of field 1"),
        (number(1, 3), "field 1 is a number, expected bytes"),
        (nested(1, nested(4, nested(3, b"\xff"))), "field 3 is not UTF-8"),
        (nested(1, nested(4, nested(4, nested(1, "a") + nested(2, "b")))), "field 2 is not a number"),
        (nested(1, nested(4, nested(4, nested(1, "a") + number(2, 1) + nested(4, "ab")))), "expected 4 of a float"),
    ],
)
def test_a_damaged_program_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        read_network(data, b"")


def test_a_program_that_is_cut_off_anywhere_is_an_error_of_ours() -> None:
    data, parameters = files()
    whole = nested(1, next(fields(data)).message())
    for size in range(0, len(whole), 97):
        with pytest.raises(ModelError):
            read_network(whole[:size], parameters)


def test_integers_are_signed_and_lists_keep_their_order() -> None:
    found = [(field.number, field.integer()) for field in fields(number(6, -1) + number(6, 300) + number(7, 0))]
    assert found == [(6, -1), (6, 300), (7, 0)]


def test_variables_and_operators_that_are_missing_are_named() -> None:
    network = read_network(*files())
    with pytest.raises(ModelError, match="no operator multiclass_nms3"):
        network.last("multiclass_nms3")
    with pytest.raises(ModelError, match="no operator writes nothing"):
        network.producer("nothing")
    with pytest.raises(ModelError, match="concat has 2 variables in X, expected 1"):
        network.last("concat").input("X")
