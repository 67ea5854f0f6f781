"""The 23 languages of Aya Expanse, with what the stages need to know of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """``code`` is the ISO 639-1 code, ``script`` the ISO 15924 code of the script it is written in."""

    code: str
    name: str
    script: str


LANGUAGES = {
    language.code: language
    for language in (
        Language("ar", "Arabic", "Arab"),
        Language("cs", "Czech", "Latn"),
        Language("de", "German", "Latn"),
        Language("el", "Greek", "Grek"),
        Language("en", "English", "Latn"),
        Language("es", "Spanish", "Latn"),
        Language("fa", "Persian", "Arab"),
        Language("fr", "French", "Latn"),
        Language("he", "Hebrew", "Hebr"),
        Language("hi", "Hindi", "Deva"),
        Language("id", "Indonesian", "Latn"),
        Language("it", "Italian", "Latn"),
        Language("ja", "Japanese", "Jpan"),
        Language("ko", "Korean", "Kore"),
        Language("nl", "Dutch", "Latn"),
        Language("pl", "Polish", "Latn"),
        Language("pt", "Portuguese", "Latn"),
        Language("ro", "Romanian", "Latn"),
        Language("ru", "Russian", "Cyrl"),
        Language("tr", "Turkish", "Latn"),
        Language("uk", "Ukrainian", "Cyrl"),
        Language("vi", "Vietnamese", "Latn"),
        Language("zh", "Chinese", "Hans"),
    )
}
