"""Numbers by which a country knows a person, where their form or their check digits tell them from other numbers.

Only forms that few other numbers have: where a country writes eight or nine digits with one check digit, a tenth of all order
numbers pass. Those are found beside a word that names them. Modules of stdnum that ask the clock are not used: an audit would
find otherwise.
"""

import re
from collections.abc import Callable

from stdnum import luhn
from stdnum.at import vnr
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.in_ import aadhaar, pan
from stdnum.is_ import kennitala
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.no import fodselsnummer
from stdnum.ro import cnp
from stdnum.th import pin
from stdnum.us import itin, ssn

from services.approval.personal_data.finder import Finder, always, whole

_MM, _DD = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_YYMMDD, _DDMMYY = rf"\d\d{_MM}{_DD}", rf"{_DD}{_MM}\d\d"


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def _belgian(number: str) -> bool:
    digits = _digits(number)
    return any(97 - int(century + digits[:9]) % 97 == int(digits[9:]) for century in ("", "2"))


def _chinese(number: str) -> bool:
    return ric.calc_check_digit(number[:-1]) == number[-1].upper()


def _norwegian(number: str) -> bool:
    digits = _digits(number)
    first, second = fodselsnummer.calc_check_digit1(digits), fodselsnummer.calc_check_digit2(digits)
    return digits[9:] == first + second


def _luhn(number: str) -> bool:
    return luhn.is_valid(_digits(number)[-10:])


def _south_african(number: str) -> bool:
    return luhn.is_valid(_digits(number))


_FORMS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (rf"\d{{4}} {_DDMMYY}", vnr.is_valid),  # Austria
    (r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", _belgian),
    (r"\d{3}\.\d{3}\.\d{3}-\d\d", cpf.is_valid),  # Brazil
    (r"\d{3}-\d{3}-\d{3}", sin.is_valid),  # Canada
    (r"756\.?\d{4}\.?\d{4}\.?\d\d", ahv.is_valid),  # Switzerland
    (r"\d{1,2}\.\d{3}\.\d{3}-[\dK]", rut.is_valid),  # Chile
    (rf"[1-9]\d{{5}}(?:19|20)\d\d{_MM}{_DD}\d{{3}}[\dX]", _chinese),
    (r"\d{6}/\d{4}", rc.is_valid),  # Czechia, Slovakia
    (r"\d\d ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid),  # Germany
    (rf"{_DDMMYY}-\d{{4}}", always),  # Denmark
    (r"\d{8}-?[A-Z]", dni.is_valid),  # Spain
    (r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    (rf"{_DDMMYY}[-+A]\d{{3}}[0-9A-Y]", hetu.is_valid),  # Finland
    (r"[12] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d", nir.is_valid),  # France
    (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]", always),  # United Kingdom: national insurance
    (r"\d{3} \d{3} \d{4}", nhs.is_valid),
    (r"[A-Z]{1,2}\d{6}\([0-9A]\)", always),  # Hong Kong
    (r"\d{7}[A-W][A-IW]?", pps.is_valid),  # Ireland
    (r"[2-9]\d{3} \d{4} \d{4}", aadhaar.is_valid),  # India
    (r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", pan.is_valid),
    (rf"{_DDMMYY}-\d{{4}}", kennitala.is_valid),  # Iceland
    (r"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]", codicefiscale.is_valid),  # Italy
    (r"\d{4} \d{4} \d{4}", my_number.is_valid),  # Japan
    (rf"{_YYMMDD}-[1-8]\d{{6}}", rrn.is_valid),  # Korea
    (r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d", curp.is_valid),  # Mexico
    (rf"{_YYMMDD}-\d\d-\d{{4}}", always),  # Malaysia
    (rf"{_DDMMYY} ?\d{{5}}", _norwegian),
    (rf"[1-8]{_YYMMDD}\d{{6}}", cnp.is_valid),  # Romania
    (rf"(?:19|20)?{_YYMMDD}[-+]\d{{4}}", _luhn),  # Sweden
    (r"[STFGM]\d{7}[A-Z]", always),  # Singapore
    (r"\d-\d{4}-\d{5}-\d\d-\d", pin.is_valid),  # Thailand
    (r"\d{3}-\d\d-\d{4}", lambda number: ssn.is_valid(number) or itin.is_valid(number)),  # United States
    (rf"{_YYMMDD} ?\d{{4}} ?[01]\d\d", _south_african),
)
FINDERS = tuple(Finder("national-id", whole(form), is_one) for form, is_one in _FORMS)
