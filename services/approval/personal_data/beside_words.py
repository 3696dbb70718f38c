"""What a word beside it names: whatever number follows `passport`, `tax id` or `phone` is one."""

import re

from services.approval.personal_data.finder import Finder, after

_NEAR = 40  # characters after the word

# `~` stands where a further letter before or after would make another word.
_PHONE = (
    "phone telefon teléfono telefono telefone téléphone ~tel~ ~tél~ mobile~ ~cell~ mobil~ mobilnummer handynummer ~fax~ whatsapp ~sms"
    " ~тел~ телефон 电话 電話 手机 携帯 전화 puhelin"
).split()
_IDENTITY = (
    "~ssn~ social~security national~insurance ~nino~ nhs~n social~insurance ~sin~ aadhaar ~pan~n ~bsn~ burgerservicenummer"
    " rijksregisternummer registre~national ~pesel~ ~cpf~ ~curp~ ~dni~ ~rut~ codice~fiscale sécurité~sociale steuer-id"
    " steueridentifikationsnummer sozialversicherungsnummer ahv-nummer personalausweis ausweisnummer personnummer fødselsnummer"
    " cpr-nummer ~cpr~ henkilötunnus rodné~číslo ~cnp~ ~egn~ ~егн~ tckn kimlik ~oib~ ~jmbg~ ~nik~ national~id ~id~card identity~card"
    " identity~number citizen~id ~tax~file~number ~tfn~ medicare~n driver~licen driver's~licen driving~licen führerscheinnummer"
    " permis~de~conduire ~снилс~ ~инн~ 身份证 身分證 マイナンバー 주민등록번호"
).split()
_PASSPORT = "passport reisepass passeport pasaporte passaporto paspoort passnummer паспорт 护照 護照 旅券 パスポート 여권".split()
_BIRTH = (
    "~born~ birth ~dob~ d.o.b naissance ~née~ ~né~ geboren ~geb~ geburtsdatum geburtstag nacimiento nacido nacida nascita ~nato~ ~nata~"
    " nascimento nascido geboortedatum födelsedatum ~född~ fødselsdato ~født~ syntymäaika urodz рождения родился 生年月日 出生 생년월일"
).split()

_MONTH = r"[^\W\d_]{3,10}\.?"
_DATE = re.compile(
    rf"\d{{4}} ?[-/.年년] ?\d{{1,2}} ?[-/.月월] ?\d{{1,2}}|\d{{1,2}} ?[-/. ] ?\d{{1,2}} ?[-/. ] ?\d{{2,4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.|er|º)? (?:of |de )?{_MONTH},?(?: de)? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}",
    re.IGNORECASE,
)
_TIMESTAMP = re.compile(r"(?<!\d)(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d\d:\d\d)(?!\d)")
_DIALLED = re.compile(r"\D*\d(?:[ ()./-]{0,3}\d){6,14}(?![\d,%])")  # the first digits
_NUMBER = re.compile(r"\D*?([A-Z]{0,5}\d(?:[ ./-]?[A-Z0-9]){4,20})", re.IGNORECASE)
_DOCUMENT = re.compile(r"(?<![A-Z0-9])[A-Z0-9]{1,3} ?[A-Z0-9]{5,9}(?![A-Z0-9])", re.IGNORECASE)


def _word(word: str) -> str:
    """As a pattern: `~` at an end forbids a letter there, inside it may be a blank, `_`, `-` or nothing."""
    inner = re.escape(word.strip("~")).replace(r"\~", "~").replace("~", r"[ _-]?")
    return (r"(?<![^\W\d_])" if word.startswith("~") else "") + inner + (r"(?![^\W\d_])" if word.endswith("~") else "")


def _beside(words: list[str]) -> str:
    return "|".join(map(_word, words))


def _is_dialled(text: str) -> bool:
    return _DIALLED.match(_TIMESTAMP.sub("\n", text)) is not None


def _is_number(text: str) -> bool:
    found = _NUMBER.match(_TIMESTAMP.sub("\n", text))
    return found is not None and _count(found[1]) >= 5


def _is_document(text: str) -> bool:
    return any(_count(found[0]) >= 4 for found in _DOCUMENT.finditer(_TIMESTAMP.sub("\n", text)))


def _is_date(text: str) -> bool:
    return _DATE.search(text) is not None


def _count(text: str) -> int:
    return sum(char.isdigit() for char in text)


FINDERS = (
    Finder("phone", after(_beside(_PHONE), _NEAR), _is_dialled),
    Finder("national-id", after(_beside(_IDENTITY), _NEAR), _is_number),
    Finder("passport", after(_beside(_PASSPORT), _NEAR), _is_document),
    Finder("birth-date", after(_beside(_BIRTH), _NEAR), _is_date),
)
