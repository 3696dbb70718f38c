"""What `hansard topics` does: the topics of the table, made and kept as the table wants them."""

from shared.kafka.topics import Change, DoorError, apply, check_doors, plan

__all__ = ["Change", "DoorError", "apply", "check_doors", "plan"]
