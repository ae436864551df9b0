import pytest

from lisa_tool import errors
from lisa_tool.cli import HELP
from lisa_tool.cli.arguments import UsageError
from lisa_tool.cli.exit_codes import MEANINGS, exit_code
from lisa_tool.errors import LisaError


def all_kinds(kind: type[LisaError] = LisaError) -> list[type[LisaError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_kinds(child))]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InternalError, 1),
        (UsageError, 2),
        (errors.InvalidQuery, 2),
        (errors.BadSettings, 2),
        (errors.ImageNotFound, 3),
        (errors.UrlFetchFailed, 3),
        (errors.OutputNotWritable, 4),
        (errors.OutputFull, 4),
        (errors.ResultNotFound, 4),
        (errors.UnknownModel, 5),
        (errors.MissingExtra, 5),
        (errors.WeightsCorrupt, 5),
        (errors.ServerBusy, 6),
        (errors.DeadlineExceeded, 6),
        (errors.OutOfMemory, 6),
        (errors.Cancelled, 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind: type[LisaError], code: int) -> None:
    assert exit_code(kind("x")) == code


def test_no_error_ends_with_zero_or_a_code_that_is_not_documented() -> None:
    assert {exit_code(kind("x")) for kind in all_kinds()} <= set(MEANINGS) - {0}


def test_every_exit_code_is_in_the_help() -> None:
    for code, meaning in MEANINGS.items():
        assert f"{code}  {meaning}" in HELP
