"""Notifications, and webhooks that deliver them."""

from contracts.notifier.messages import (
    ActionNoted,
    DeliverWebhook,
    DeliveryAccepted,
    DeliveryFailed,
    DeliveryMissed,
    DeliveryStarted,
    Missed,
    MissedBecause,
    Notification,
    NotifiedOf,
    WebhookDelivered,
)

__all__ = [
    "ActionNoted",
    "DeliverWebhook",
    "DeliveryAccepted",
    "DeliveryFailed",
    "DeliveryMissed",
    "DeliveryStarted",
    "Missed",
    "MissedBecause",
    "Notification",
    "NotifiedOf",
    "WebhookDelivered",
]
