"""Payment cards and bank accounts, by their check digits."""

import re

from stdnum import iban, luhn

from services.approval.personal_data.finder import Finder, every

_NETWORKS = re.compile(  # Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro: their numbers' beginnings
    r"4(?:\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|(?:6011|64[4-9]\d|65\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14}|(?:50|5[6-9]|67)\d{14}"
)
_LENGTHS = range(15, 35)  # of an IBAN


def _is_card(candidate: str) -> bool:
    """Whether groups of it, from the first on, are the number of a card."""
    number = ""
    for group in re.findall(r"\d+", candidate):
        number += group
        if _NETWORKS.fullmatch(number) and luhn.is_valid(number):
            return True
    return False


def _is_iban(candidate: str) -> bool:
    number = re.sub(r"[ .-]", "", candidate)
    return any(iban.is_valid(number[:length], check_country=False) for length in _LENGTHS if length <= len(number))


FINDERS = (
    Finder("card", every(r"(?<![\w.,-])[2-6](?:[ -]?\d){12,22}(?!\d)"), _is_card, limit=2_000),
    Finder("iban", every(r"(?<![A-Z0-9])[A-Z]{2}\d\d(?:[ .-]?[A-Z0-9]){11,34}", re.IGNORECASE), _is_iban),
)
