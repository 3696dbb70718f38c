"""Counts of what is in stock."""

from typing import Self

from pydantic import Field, model_validator

from services.router.rules.exact import Count
from services.router.rules.rule import Data, Input, Rule


class Stock(Input):
    """Whole units, never negative."""

    on_hand: Count = Field(description="what lies on the shelf")
    reserved: Count = Field(default=0, description="what of it is promised already")
    on_order: Count = Field(default=0, description="what was ordered and has not come yet")
    reorder_point: Count | None = Field(default=None, description="order when no more than this is available or on order")

    @model_validator(mode="after")
    def _reserved_is_there(self) -> Self:
        if self.reserved > self.on_hand:
            raise ValueError("reserved: is more than there is on hand")
        return self


def count_inventory(given: Stock) -> Data:
    """`reorder` is null where no reorder point is given."""
    available = given.on_hand - given.reserved
    return {
        "on_hand": given.on_hand,
        "reserved": given.reserved,
        "available": available,
        "on_order": given.on_order,
        "reorder_point": given.reorder_point,
        "reorder": None if given.reorder_point is None else available + given.on_order <= given.reorder_point,
        "method": "arithmetic",
    }


def _sentence(available: int, on_hand: int, reorder: bool | None) -> str:
    advice = {True: " It is time to order more.", False: " Nothing need be ordered yet.", None: ""}[reorder]
    return f"{available} of {on_hand} are available.{advice}"


COUNT_INVENTORY = Rule("count_inventory", Stock, count_inventory, lambda d: _sentence(d["available"], d["on_hand"], d["reorder"]))
