"""Mail addresses and phone numbers. Only their form is checked, not whether they exist."""

import phonenumbers
from email_validator import EmailNotValidError
from email_validator import validate_email as read
from phonenumbers import PhoneNumberFormat as Form
from pydantic import Field

from services.router.rules.rule import Data, Input, Rule


class Email(Input):
    email: str = Field(max_length=1000)


def validate_email(given: Email) -> Data:
    answer: Data = {"valid": False, "email": given.email, "method": "email_syntax"}
    try:
        found = read(given.email, check_deliverability=False, strict=True)
    except EmailNotValidError as bad:
        return answer | {"reason": str(bad)}
    return answer | {"valid": True, "normalized": found.normalized}


class Phone(Input):
    phone: str = Field(max_length=250)
    region: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{2}$",
        description="two letters, where the number has no country code",
    )


def validate_phone(given: Phone) -> Data:
    answer: Data = {"valid": False, "phone": given.phone, "method": "numbering_plan"}
    try:
        number = phonenumbers.parse(given.phone, given.region)
    except phonenumbers.NumberParseException as bad:
        return answer | {"reason": str(bad)}
    valid = phonenumbers.is_valid_number(number)
    return answer | {
        "valid": valid,
        "possible": phonenumbers.is_possible_number(number),
        "e164": phonenumbers.format_number(number, Form.E164),
        "international": phonenumbers.format_number(number, Form.INTERNATIONAL),
        "region": phonenumbers.region_code_for_number(number),
        **({} if valid else {"reason": "no numbering plan has such a number"}),
    }


VALIDATE_EMAIL = Rule(
    "validate_email",
    Email,
    validate_email,
    lambda d: f"{d['email']} is a valid e-mail address." if d["valid"] else f"Not a valid e-mail address: {d['reason']}",
)
VALIDATE_PHONE = Rule(
    "validate_phone",
    Phone,
    validate_phone,
    lambda d: f"{d['international']} is a valid phone number." if d["valid"] else f"Not a valid phone number: {d['reason']}.",
)
