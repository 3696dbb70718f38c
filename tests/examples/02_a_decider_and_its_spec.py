"""A decider is two pure functions; its spec says: given what is stored, when this is received, then that is published.

This one approves orders up to a limit and lets a larger one wait a day for a person. Nothing in it reads a clock: the time is
that of the message (`context.at`), and a stream says itself when it wants to be woken (`wake_at`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from hansard import CannotProcess, Command, Context, Decider, Event, Message, Money, Service, Topic, WakeUp
from hansard.testing import NOON, InMemory, given

LIMIT = Decimal(500)
DAY = timedelta(days=1)


class PlaceOrder(Command):
    kind = "shop.orders.place.v1"
    order: str
    amount: Money


class ConfirmOrder(Command):
    kind = "shop.orders.confirm.v1"
    order: str


class OrderApproved(Event):
    kind = "shop.orders.approved.v1"
    order: str


class OrderQueued(Event):
    kind = "shop.orders.queued.v1"
    order: str
    until: datetime


class OrderExpired(Event):
    kind = "shop.orders.expired.v1"
    order: str


@dataclass(frozen=True)
class Order:
    status: str = "new"
    name: str = ""
    until: datetime | None = None


def decide(order: Order, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case PlaceOrder() if order.status == "new" and message.amount <= LIMIT:
            yield OrderApproved(order=message.order)
        case PlaceOrder() if order.status == "new":
            yield OrderQueued(order=message.order, until=context.at + DAY)
        case ConfirmOrder() if order.status == "queued":
            yield OrderApproved(order=order.name)
        case ConfirmOrder() if order.status == "new":
            raise CannotProcess("not-expected", f"there is no order {message.order}")
        case WakeUp():
            yield OrderExpired(order=order.name)


def evolve(order: Order, stored: Message) -> Order:
    match stored:
        case OrderQueued():
            return Order("queued", stored.order, stored.until)
        case OrderApproved() | OrderExpired():
            return replace(order, status="ended", until=None)
        case _:
            return order


orders = Decider(Order(), decide, evolve, wake_at=lambda order: order.until)
service = Service(
    "orders",
    orders,
    receives={PlaceOrder: lambda asked: asked.order, ConfirmOrder: lambda asked: asked.order},
    topics=(
        Topic("orders.commands", "Orders to decide about.", (PlaceOrder, ConfirmOrder), consumers=("orders",), door=True),
        Topic("orders.events", "What became of them.", (OrderApproved, OrderQueued, OrderExpired), ("orders",), ("console",)),
    ),
)

SMALL, LARGE = PlaceOrder(order="o-1", amount=Decimal(20)), PlaceOrder(order="o-1", amount=Decimal(900))
QUEUED, APPROVED, EXPIRED = OrderQueued(order="o-1", until=NOON + DAY), OrderApproved(order="o-1"), OrderExpired(order="o-1")


def test_a_small_order_is_approved_at_once() -> None:
    given(orders).when(SMALL).then(APPROVED)


def test_a_large_order_waits_for_a_person() -> None:
    given(orders).when(LARGE).then(QUEUED).when(ConfirmOrder(order="o-1")).then(APPROVED)


def test_silence_is_never_consent() -> None:
    given(orders, QUEUED).when(WakeUp()).then(EXPIRED)


def test_an_order_that_nobody_placed_cannot_be_confirmed() -> None:
    given(orders).when(ConfirmOrder(order="o-1")).then_refused("not-expected")


def test_the_whole_service_in_memory() -> None:
    """Streams, their inbox and their wake-ups, as in a deployment; the clock is in the test's hand."""
    shop = InMemory(service)
    assert shop.send(LARGE, id="click") == (QUEUED,)
    assert shop.send(LARGE, id="click") == (), "a message that comes twice changes nothing"
    assert shop.advance(timedelta(hours=23)) == ()
    assert shop.advance(timedelta(hours=2)) == (EXPIRED,)
    assert shop.messages("orders/o-1") == (QUEUED, EXPIRED) and shop.state("orders/o-1").status == "ended"
    assert shop.send(ConfirmOrder(order="o-2")) == () and shop.dead[0].reason == "not-expected"
