"""Mail addresses and phone numbers. Only their form is checked, not whether they exist."""

import re
import unicodedata
from typing import Annotated

import phonenumbers
from email_validator import EmailNotValidError
from email_validator import validate_email as read
from phonenumbers import NumberParseException, ValidationResult
from phonenumbers import PhoneNumberFormat as Form
from phonenumbers.shortnumberinfo import is_valid_short_number_for_region
from pydantic import AfterValidator, Field

from services.router.rules.rule import Data, Input, Rule, Unfit

_NUMBER = re.compile(
    r"(tel:(?=[+\d(]))?(\(?\+ ?\d{1,3}\)?[ .\-\u2010-\u2015\u2212]?)?"  # the country code
    r"(\(?\d{2,5}\)? ?/ ?)?"  # the area code, as in 030/901820; elsewhere a slash parts two numbers
    r"[\d(][\d ().\-\u2010-\u2015\u2212]*"
    r"([ ,;]*(ext(n|ension)?[.:= ]*|x[. ]*|#)\d{1,7}#?)?",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"\+?[\d ().-]*\d[\d ().-]*[A-Z][A-Z\d ().-]*")  # 1-800-FLOWERS; +1 alone has numbers of one length
_NOT_JUST = "it is not just a phone number"
_WHY = {
    NumberParseException.INVALID_COUNTRY_CODE: "its country code belongs to no country",
    NumberParseException.TOO_LONG: "it has too many digits",
}


class Email(Input):
    email: str = Field(max_length=1000)


def validate_email(given: Email) -> Data:
    answer: Data = {"valid": False, "email": given.email, "method": "email_syntax"}
    try:
        found = read(given.email, check_deliverability=False, strict=True)
    except EmailNotValidError as bad:
        return answer | {"reason": str(bad)}
    return answer | {"valid": True, "normalized": found.normalized}


def _region(code: str) -> str:
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("is not a region with phone numbers, such as GB")
    return code


class Phone(Input):
    phone: str = Field(max_length=250)
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$"), AfterValidator(_region)] | None = Field(
        default=None,
        description="two letters, where the number has no country code",
    )


def validate_phone(given: Phone) -> Data:
    """The whole text must be the number. Raises Unfit where its country or its area is not given."""
    answer: Data = {"valid": False, "phone": given.phone, "method": "numbering_plan"}
    text = unicodedata.normalize("NFKC", given.phone).strip()
    lettered = _LETTERED.fullmatch(text) is not None and phonenumbers.is_alpha_number(text)
    if not _NUMBER.fullmatch(text) and not lettered:
        return answer | {"reason": _NOT_JUST}
    if given.region is None and "+" not in text:
        raise Unfit("region: the number has no country code, say which region it is of")
    try:
        number = phonenumbers.parse(text, given.region)
    except NumberParseException as bad:
        return answer | {"reason": _WHY.get(bad.error_type, "it has too few digits")}
    if lettered and number.country_code != 1:
        return answer | {"reason": _NOT_JUST}
    valid = phonenumbers.is_valid_number(number)
    short = given.region is not None and is_valid_short_number_for_region(number, given.region)
    if not valid and not short and phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
        raise Unfit("phone: the number has no area code")
    return answer | {
        "valid": valid,
        "possible": phonenumbers.is_possible_number(number),
        "e164": phonenumbers.format_number(number, Form.E164),
        "international": phonenumbers.format_number(number, Form.INTERNATIONAL),
        "region": phonenumbers.region_code_for_number(number),
        **({"extension": number.extension} if number.extension else {}),
        **({} if valid else {"reason": f"it is a short number of {given.region} only" if short else "no numbering plan has it"}),
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
    version="2",
)
