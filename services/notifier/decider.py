"""The notifier's two deciders as the one decider of the service.

`delivery` decides on `DeliverWebhook` and what follows from it: one stream a webhook. `notification` decides on all else: one
stream an action, or a question.
"""

from collections.abc import Iterable
from datetime import datetime

from contracts.notifier import ActionNoted, DeliverWebhook, Notification
from hansard.decider import Context, Decider
from hansard.message import Message
from services.notifier.delivery import Delivery, NoDelivery, deliveries
from services.notifier.notification import Noted, notifications
from shared.webhooks.endpoints import Endpoints

State = Delivery | Noted


def notifier(endpoints: Endpoints) -> Decider[State]:
    """A stream belongs to one of the two, by its name: see `app`. Every empty stream has the state `NoDelivery`."""
    told, sent = notifications(endpoints), deliveries(endpoints)

    def decide(state: State, message: Message, context: Context) -> Iterable[Message]:
        if isinstance(state, Noted):
            return told.decide(state, message, context)
        if isinstance(state, NoDelivery) and not isinstance(message, DeliverWebhook):
            return told.decide(told.initial, message, context)
        return sent.decide(state, message, context)

    def evolve(state: State, message: Message) -> State:
        if isinstance(message, Notification | ActionNoted):
            return told.evolve(state if isinstance(state, Noted) else told.initial, message)
        return state if isinstance(state, Noted) else sent.evolve(state, message)

    def wake_at(state: State) -> datetime | None:
        return None if isinstance(state, Noted) else sent.wake_at(state)

    return Decider(sent.initial, decide, evolve, wake_at, policy=endpoints.policy)
