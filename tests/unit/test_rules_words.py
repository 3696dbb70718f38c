"""Keywords, in every script and every way of writing it."""

import re
import string
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit
from shared.words import fold, mentioned


def found(text: str, keyword: str) -> bool:
    answer: Any = RULES["route_by_keyword"].apply({"text": text, "routes": {keyword: "there"}, "default": "nowhere"})[0]
    assert answer["matched_keyword"] == (keyword if answer["route"] == "there" else None)
    return bool(answer["route"] == "there")


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("我要退款，谢谢", "退款"),
        ("請幫我退款", "退款"),
        ("我是VIP客户", "vip"),
        ("VIP客户", "客户"),
        ("返金をお願いします", "返金"),
        ("アカウントをキャンセルしたい", "キャンセル"),
        ("ログインエラー", "エラー"),
        ("ｷｬﾝｾﾙしたい", "キャンセル"),
        ("人々", "々"),
        ("pay💳now", "💳"),
        ("ok👍🏽", "👍"),
        ("I ❤️ it", "❤"),
        ("ขอคืนเงินค่ะ", "คืนเงิน"),
        ("ຂ້ອຍຕ້ອງການເງິນຄືນ", "ເງິນຄືນ"),
        ("ខ្ញុំចង់បានការសងប្រាក់វិញ", "សងប្រាក់"),
        ("ខ្ញុំ\u200bចង់\u200bបាន\u200bប្រាក់", "បានប្រាក់"),
        ("ငွေပြန်အမ်းလိုပါတယ်", "ငွေပြန်အမ်း"),
    ],
)
def test_in_a_script_without_spaces_a_keyword_is_found_anywhere(text: str, keyword: str) -> None:
    assert found(text, keyword)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("Mon re\u0301sume\u0301", "résumé"),
        ("Mon résumé", "re\u0301sume\u0301"),
        ("환불해주세요", "환불"),
        (unicodedata.normalize("NFD", "환불해주세요"), "환불"),
        ("STRASSE", "straße"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("İPTAL etmek istiyorum", "iptal"),
        ("ＢＩＬＬＩＮＧ", "billing"),
        ("ﬁnance", "finance"),
        ("Rech\u00adnung", "rechnung"),
        ("refund\u00a0policy", "refund policy"),
        ("refund\n policy", "refund policy"),
        ("l’abonnement", "abonnement"),
        ("e-mail", "mail"),
        ("मुझे बिल चाहिए", "बिल"),
        ("Отписка", "отписка"),
        ("الفاتورة", "الفاتورة"),
        ("like [x] button", "[x]"),
    ],
)
def test_the_same_word_is_found_however_it_is_written(text: str, keyword: str) -> None:
    assert found(text, keyword)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("barcode", "code"),
        ("foo_bar", "bar"),
        ("x1code", "code"),
        ("подписка", "писка"),
        ("भारत", "रत"),  # after a vowel sign
        ("re\u0301sume\u0301", "sume\u0301"),
        ("q\u0323code", "code"),  # after a mark that no letter is composed with
        ("ก็", "ก"),  # half a syllable
        ("ប្រាក់", "ប"),
        ("退 款", "退款"),
        ("asp.net", ".net"),
    ],
)
def test_a_part_of_a_word_is_not_found(text: str, keyword: str) -> None:
    assert not found(text, keyword)


@pytest.mark.parametrize("keyword", ["\u200b", "\ufeff", " ", "\u00ad", ""])
def test_a_keyword_that_cannot_be_seen_is_refused(keyword: str) -> None:
    with pytest.raises(Unfit, match=r"^routes"):
        found("any text", keyword)
    assert mentioned(fold("any text"), [keyword]) == ()


simple = st.text(string.ascii_letters + string.digits + " _-.'", max_size=30)


@given(simple, simple.filter(str.strip))
def test_in_ascii_a_keyword_is_found_as_a_regular_expression_finds_it(text: str, keyword: str) -> None:
    one_line, wanted = (" ".join(one.lower().split()) for one in (text, keyword))
    assert found(text, keyword) is bool(re.search(rf"(?<!\w){re.escape(wanted)}", one_line, re.ASCII))


@given(st.text("我要退款谢返金をお願い, a", max_size=20), st.text("我要退款谢返金をお願い", min_size=1, max_size=3))
def test_in_chinese_and_japanese_a_keyword_is_found_where_it_is_a_part_of_the_text(text: str, keyword: str) -> None:
    assert found(text, keyword) is (keyword in text)


@given(st.text(max_size=40), st.text(min_size=1, max_size=4), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_the_form_of_a_text_and_of_a_keyword_changes_nothing(text: str, keyword: str, form: Any) -> None:
    assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert mentioned(fold(text), [unicodedata.normalize(form, keyword)]) == tuple(
        unicodedata.normalize(form, word) for word in mentioned(fold(text), [keyword])
    )


@given(st.text(max_size=60))
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("choice", "options", "label"),
    [
        ("re\u0301sume\u0301", ["résumé", "other"], "résumé"),
        ("２", ["a", "b"], "b"),
        (2.0, ["a", "b"], "b"),
        ("10", ["10", "20"], "10"),
        (2, ["10", "20"], "20"),
        (1, ["1", "2"], "1"),
        ("a", ["a", "a"], "a"),
        ("3", ["a", "b"], None),
    ],
)
def test_an_option_is_found_by_label_or_place(choice: Any, options: list[Any], label: str | None) -> None:
    assert RULES["menu_choice"].apply({"choice": choice, "options": options})[0]["choice"] == label


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        (1, ["2", "1"]),
        ("1", ["2", "1"]),
        ("billing", ["Billing", "billing "]),
        (True, ["a"]),
        (1.5, ["a", "b"]),
        ("\u200b", ["a"]),
    ],
)
def test_a_choice_that_could_be_two_options_is_refused(choice: Any, options: list[Any]) -> None:
    with pytest.raises(Unfit, match=r"^choice: "):
        RULES["menu_choice"].apply({"choice": choice, "options": options})
