"""pydantic, or bare stand-ins on a machine that only trains, where plain objects give specifications.

Without pydantic no model can be filled: `validation` needs the real one.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or find_spec("pydantic") is not None:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        ValidationInfo,
        field_validator,
    )
else:

    class BaseModel: ...

    ValidationInfo = Any
    ConfigDict = dict

    def AfterValidator(check: Any) -> Any:  # noqa: N802
        return check

    def Field(*given: Any, **rules: Any) -> Any:  # noqa: N802
        return given

    def field_validator(*names: str) -> Any:
        return lambda check: check

    BeforeValidator = AfterValidator

__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Field",
    "ValidationInfo",
    "field_validator",
]
