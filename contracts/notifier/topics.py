from contracts.notifier.messages import (
    ActionNoted,
    DeliverWebhook,
    DeliveryAccepted,
    DeliveryFailed,
    DeliveryMissed,
    DeliveryStarted,
    Notification,
    WebhookDelivered,
)
from hansard.topics import Topic

TOPICS = (
    Topic(
        "notifications",
        "Who must decide what, and what was decided: consume it to tell people, by a chat or a mail.",
        (Notification,),
        ("notifier",),
        ("console",),
    ),
    Topic("notifier.commands", "Webhooks to deliver.", (DeliverWebhook,), ("notifier",), ("notifier",)),
    Topic(
        "notifier.events",
        "The course of every webhook: intents, outcomes, when it is tried again, how it ended.",
        (ActionNoted, DeliveryAccepted, DeliveryStarted, DeliveryMissed, WebhookDelivered, DeliveryFailed),
        ("notifier",),
        ("console",),
    ),
)
