import pytest

from components.evaluation.exact_match import matches, matches_number, matches_number_strictly


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("5. März", "5. März", True),
        ("5. Ma\u0308rz", "5. M\u00e4rz", True),  # combining and precomposed
        ("  5.\tMärz\n", "5. März", True),
        ("5.\u00a0März", "5. März", True),
        ("5. märz", "5. März", False),
        ("5. März.", "5. März", False),
        ("", "5", False),
    ],
)
def test_whole_answers_match_up_to_form_and_white_space(answer: str, reference: str, same: bool) -> None:
    assert matches(answer, reference) is same


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("Erst 3, dann 15, also 18.", "18", True),
        ("The answer is $1,234.", "1234", True),
        ("Das macht 1.234.567 Euro", "1234567", True),
        ("Cela fait 12\u202f500 km", "12500", True),
        ("72.00", "72", True),
        ("72,50", "72.5", True),
        ("0.500", "500", False),
        ("الجواب ١٢٣", "123", True),
        ("उत्तर ४२ है", "42", True),
        ("答えは４２です", "42", True),
        ("10-3", "3", True),
        ("minus −7", "-7", True),
        ("7 apples", "-7", False),
        ("18 at first, then 20", "18", False),
        ("none", "18", False),
        ("", "18", False),
    ],
)
def test_the_flexible_reading_takes_the_last_number(answer: str, reference: str, same: bool) -> None:
    assert matches_number(answer, reference) is same


@pytest.mark.parametrize(
    ("answer", "language", "same"),
    [
        ("Also 3 x 6. Die Antwort lautet 18.", "de", True),
        ("Die Antwort lautet 18. Oder 20?", "de", True),
        ("The answer is 18.", "de", False),
        ("also 18", "de", False),
        ("答えは18です。", "ja", True),
        ("答案是 18。", "zh", True),
        ("Ответ — 18.", "ru", True),
        ("18", "ko", False),
    ],
)
def test_the_strict_reading_wants_the_answer_phrase(answer: str, language: str, same: bool) -> None:
    assert matches_number_strictly(answer, "18", language) is same
