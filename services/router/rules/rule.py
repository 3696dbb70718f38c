"""What a rule is: its name, the data it needs, the function that answers, and a sentence about the answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

Data = dict[str, JsonValue]
MAX_ANSWER = 400_000  # characters: an answer travels in one message


class Unfit(ValueError):
    """The data does not fit the rule. The text names the field and says why."""


class Input(BaseModel):
    """The data that a rule needs. An unknown field is refused: otherwise a misspelt one would silently become its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


I = TypeVar("I", bound=Input)  # noqa: E741


@dataclass(frozen=True)
class Rule(Generic[I]):
    """`answer` is pure and takes a bounded time. Change `version` whenever the same data would get another answer."""

    name: str
    input: type[I]
    answer: Callable[[I], Data]
    sentence: Callable[[Mapping[str, Any]], str]
    version: str = "1"

    def apply(self, data: Mapping[str, JsonValue]) -> tuple[Data, str]:
        """The answer as data and as a sentence. Raises Unfit."""
        try:
            answer = self.answer(self.input.model_validate(data))
            size = len(json.dumps(answer, allow_nan=False))
        except ValidationError as bad:
            raise Unfit(problems(bad)) from None
        except (ValueError, ArithmeticError, LookupError, RecursionError) as bad:
            raise Unfit(str(bad)[:300] or type(bad).__name__) from None
        if size > MAX_ANSWER:
            raise Unfit(f"the answer would have {size} characters; at most {MAX_ANSWER} travel in one message")
        return answer, self.sentence(answer)


def problems(bad: ValidationError) -> str:
    """The first three problems, each with its field; never with the value, which may be private."""
    errors = bad.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(str(part)[:60] for part in error['loc'][:4]) or 'data'}: {error['msg'].removeprefix('Value error, ')[:160]}"
        for error in errors[:3]
    ]
    return "; ".join(shown + [f"and {len(errors) - 3} more"] * (len(errors) > 3))
