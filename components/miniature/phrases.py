"""How each of the 23 languages asks for a fact: the only hand-written text of the miniature world."""

from dataclasses import dataclass

__all__ = ["LANGUAGES", "PHRASES", "Phrases"]


@dataclass(frozen=True, slots=True)
class Phrases:
    """Templates of one language; ``{}`` stands for the quantity asked about.

    ``date``, ``amount`` (units and currencies), ``relative`` and ``translation`` (from English) have two
    paraphrases each. ``filler`` is the needless politeness that a badly behaved model appends.
    """

    date: tuple[str, str]
    amount: tuple[str, str]
    relative: tuple[str, str]
    translation: tuple[str, str]
    weekday: str
    month: str
    filler: str


PHRASES: dict[str, Phrases] = {
    "ar": Phrases(
        date=("اكتب التاريخ {} بالكلمات.", "ما هو التاريخ {}؟"),
        amount=("اكتب {} بالكلمات.", "كيف نكتب {}؟"),
        relative=("عبّر عن المدة {} من الآن.", "متى يكون {}؟"),
        translation=("ترجم إلى العربية: {}", "كيف نقول بالعربية: {}؟"),
        weekday="ما هو اليوم {} من الأسبوع؟",
        month="ما هو الشهر {}؟",
        filler="آمل أن يفيدك هذا.",
    ),
    "zh": Phrases(
        date=("请写出日期 {}。", "日期 {} 怎么写?"),
        amount=("请用文字写出 {}。", "{} 怎么写?"),
        relative=("请表达时间 {}。", "{} 是什么时候?"),
        translation=("翻译成中文:{}", "用中文怎么说:{}"),
        weekday="一周的第 {} 天是什么?",
        month="第 {} 个月是什么?",
        filler="希望对您有帮助。",
    ),
    "cs": Phrases(
        date=("Napiš datum {} slovy.", "Jak se píše datum {}?"),
        amount=("Napiš {} slovy.", "Jak se píše {}?"),
        relative=("Vyjádři čas {} od teď.", "Kdy je {}?"),
        translation=("Přelož do češtiny: {}", "Jak se česky řekne: {}?"),
        weekday="Který je {} den v týdnu?",
        month="Jak se jmenuje měsíc {}?",
        filler="Snad to pomůže.",
    ),
    "nl": Phrases(
        date=("Schrijf de datum {} voluit.", "Hoe schrijf je de datum {}?"),
        amount=("Schrijf {} voluit.", "Hoe schrijf je {}?"),
        relative=("Druk de tijd {} vanaf nu uit.", "Wanneer is {}?"),
        translation=("Vertaal naar het Nederlands: {}", "Hoe zeg je in het Nederlands: {}?"),
        weekday="Wat is dag {} van de week?",
        month="Hoe heet maand {}?",
        filler="Ik hoop dat dit helpt.",
    ),
    "en": Phrases(
        date=("Write out the date {}.", "How do you write the date {}?"),
        amount=("Write out {}.", "How do you write {}?"),
        relative=("Express the time {} from now.", "When is {}?"),
        translation=("Put into English: {}", "How do you say in English: {}?"),
        weekday="What is day {} of the week?",
        month="What is month {} called?",
        filler="I hope this helps.",
    ),
    "fr": Phrases(
        date=("Écris la date {} en toutes lettres.", "Comment écrit-on la date {} ?"),
        amount=("Écris {} en toutes lettres.", "Comment écrit-on {} ?"),
        relative=("Exprime le moment {} à partir de maintenant.", "C'est quand, {} ?"),
        translation=("Traduis en français : {}", "Comment dit-on en français : {} ?"),
        weekday="Quel est le jour {} de la semaine ?",
        month="Comment s'appelle le mois {} ?",
        filler="J'espère que cela aide.",
    ),
    "de": Phrases(
        date=("Schreibe das Datum {} aus.", "Wie schreibt man das Datum {}?"),
        amount=("Schreibe {} aus.", "Wie schreibt man {}?"),
        relative=("Drücke die Zeit {} von jetzt an aus.", "Wann ist {}?"),
        translation=("Übersetze ins Deutsche: {}", "Wie sagt man auf Deutsch: {}?"),
        weekday="Wie heißt Tag {} der Woche?",
        month="Wie heißt Monat {}?",
        filler="Ich hoffe, das hilft.",
    ),
    "el": Phrases(
        date=("Γράψε την ημερομηνία {} ολογράφως.", "Πώς γράφεται η ημερομηνία {};"),
        amount=("Γράψε {} ολογράφως.", "Πώς γράφεται {};"),
        relative=("Πες τον χρόνο {} από τώρα.", "Πότε είναι {};"),
        translation=("Μετάφρασε στα ελληνικά: {}", "Πώς λέγεται στα ελληνικά: {};"),
        weekday="Ποια είναι η ημέρα {} της εβδομάδας;",
        month="Πώς λέγεται ο μήνας {};",
        filler="Ελπίζω να βοηθά.",
    ),
    "he": Phrases(
        date=("כתוב את התאריך {} במילים.", "איך כותבים את התאריך {}?"),
        amount=("כתוב {} במילים.", "איך כותבים {}?"),
        relative=("הבע את הזמן {} מעכשיו.", "מתי זה {}?"),
        translation=("תרגם לעברית: {}", "איך אומרים בעברית: {}?"),
        weekday="מהו יום {} בשבוע?",
        month="איך נקרא חודש {}?",
        filler="אני מקווה שזה עוזר.",
    ),
    "hi": Phrases(
        date=("तारीख {} शब्दों में लिखो।", "तारीख {} कैसे लिखते हैं?"),
        amount=("{} को शब्दों में लिखो।", "{} कैसे लिखते हैं?"),
        relative=("अब से समय {} बताओ।", "{} कब है?"),
        translation=("हिन्दी में अनुवाद करो: {}", "हिन्दी में कैसे कहते हैं: {}?"),
        weekday="सप्ताह का दिन {} कौन सा है?",
        month="महीना {} कौन सा है?",
        filler="आशा है इससे मदद मिलेगी।",
    ),
    "id": Phrases(
        date=("Tuliskan tanggal {} dengan kata-kata.", "Bagaimana menulis tanggal {}?"),
        amount=("Tuliskan {} dengan kata-kata.", "Bagaimana menulis {}?"),
        relative=("Nyatakan waktu {} dari sekarang.", "Kapan {}?"),
        translation=("Terjemahkan ke bahasa Indonesia: {}", "Apa bahasa Indonesianya: {}?"),
        weekday="Apa hari ke-{} dalam seminggu?",
        month="Apa nama bulan {}?",
        filler="Semoga membantu.",
    ),
    "it": Phrases(
        date=("Scrivi la data {} per esteso.", "Come si scrive la data {}?"),
        amount=("Scrivi {} per esteso.", "Come si scrive {}?"),
        relative=("Esprimi il tempo {} a partire da ora.", "Quando è {}?"),
        translation=("Traduci in italiano: {}", "Come si dice in italiano: {}?"),
        weekday="Qual è il giorno {} della settimana?",
        month="Come si chiama il mese {}?",
        filler="Spero che sia utile.",
    ),
    "ja": Phrases(
        date=("日付 {} を書いてください。", "日付 {} はどう書きますか?"),
        amount=("{} を言葉で書いてください。", "{} はどう書きますか?"),
        relative=("今から {} を言葉で表してください。", "{} はいつですか?"),
        translation=("日本語に訳してください:{}", "日本語で何と言いますか:{}"),
        weekday="週の {} 番目の日は何ですか?",
        month="{} 番目の月は何ですか?",
        filler="お役に立てば幸いです。",
    ),
    "ko": Phrases(
        date=("날짜 {}를 글로 쓰세요.", "날짜 {}는 어떻게 쓰나요?"),
        amount=("{}를 글로 쓰세요.", "{}는 어떻게 쓰나요?"),
        relative=("지금부터 {}를 말로 표현하세요.", "{}는 언제인가요?"),
        translation=("한국어로 번역하세요: {}", "한국어로 뭐라고 하나요: {}?"),
        weekday="한 주의 {}번째 날은 무엇인가요?",
        month="{}번째 달은 무엇인가요?",
        filler="도움이 되길 바랍니다.",
    ),
    "fa": Phrases(
        date=("تاریخ {} را به حروف بنویس.", "تاریخ {} چطور نوشته می‌شود؟"),
        amount=("{} را به حروف بنویس.", "{} چطور نوشته می‌شود؟"),
        relative=("زمان {} از اکنون را بیان کن.", "{} کی است؟"),
        translation=("به فارسی ترجمه کن: {}", "به فارسی چه می‌شود: {}؟"),
        weekday="روز {} هفته چیست؟",
        month="ماه {} چه نام دارد؟",
        filler="امیدوارم کمک کند.",
    ),
    "pl": Phrases(
        date=("Napisz datę {} słownie.", "Jak się pisze datę {}?"),
        amount=("Napisz {} słownie.", "Jak się pisze {}?"),
        relative=("Wyraź czas {} od teraz.", "Kiedy jest {}?"),
        translation=("Przetłumacz na polski: {}", "Jak powiedzieć po polsku: {}?"),
        weekday="Który to dzień {} tygodnia?",
        month="Jak się nazywa miesiąc {}?",
        filler="Mam nadzieję, że to pomoże.",
    ),
    "pt": Phrases(
        date=("Escreva a data {} por extenso.", "Como se escreve a data {}?"),
        amount=("Escreva {} por extenso.", "Como se escreve {}?"),
        relative=("Expresse o tempo {} a partir de agora.", "Quando é {}?"),
        translation=("Traduza para o português: {}", "Como se diz em português: {}?"),
        weekday="Qual é o dia {} da semana?",
        month="Como se chama o mês {}?",
        filler="Espero que ajude.",
    ),
    "ro": Phrases(
        date=("Scrie data {} în cuvinte.", "Cum se scrie data {}?"),
        amount=("Scrie {} în cuvinte.", "Cum se scrie {}?"),
        relative=("Exprimă timpul {} de acum.", "Când este {}?"),
        translation=("Tradu în română: {}", "Cum se spune în română: {}?"),
        weekday="Care este ziua {} a săptămânii?",
        month="Cum se numește luna {}?",
        filler="Sper că ajută.",
    ),
    "ru": Phrases(
        date=("Напиши дату {} словами.", "Как пишется дата {}?"),
        amount=("Напиши {} словами.", "Как пишется {}?"),
        relative=("Вырази время {} от этого момента.", "Когда будет {}?"),
        translation=("Переведи на русский: {}", "Как сказать по-русски: {}?"),
        weekday="Какой день недели {}?",
        month="Как называется месяц {}?",
        filler="Надеюсь, это поможет.",
    ),
    "es": Phrases(
        date=("Escribe la fecha {} en palabras.", "¿Cómo se escribe la fecha {}?"),
        amount=("Escribe {} en palabras.", "¿Cómo se escribe {}?"),
        relative=("Expresa el tiempo {} desde ahora.", "¿Cuándo es {}?"),
        translation=("Traduce al español: {}", "¿Cómo se dice en español: {}?"),
        weekday="¿Cuál es el día {} de la semana?",
        month="¿Cómo se llama el mes {}?",
        filler="Espero que sirva.",
    ),
    "tr": Phrases(
        date=("{} tarihini yazıyla yaz.", "{} tarihi nasıl yazılır?"),
        amount=("{} ifadesini yazıyla yaz.", "{} nasıl yazılır?"),
        relative=("Şu andan itibaren {} zamanını söyle.", "{} ne zaman?"),
        translation=("Türkçeye çevir: {}", "Türkçede nasıl denir: {}?"),
        weekday="Haftanın {}. günü nedir?",
        month="{}. ayın adı nedir?",
        filler="Umarım yardımcı olur.",
    ),
    "uk": Phrases(
        date=("Напиши дату {} словами.", "Як пишеться дата {}?"),
        amount=("Напиши {} словами.", "Як пишеться {}?"),
        relative=("Вислови час {} від цього моменту.", "Коли буде {}?"),
        translation=("Переклади українською: {}", "Як сказати українською: {}?"),
        weekday="Який день тижня {}?",
        month="Як називається місяць {}?",
        filler="Сподіваюся, це допоможе.",
    ),
    "vi": Phrases(
        date=("Hãy viết ngày {} bằng chữ.", "Ngày {} viết thế nào?"),
        amount=("Hãy viết {} bằng chữ.", "{} viết thế nào?"),
        relative=("Hãy diễn đạt thời gian {} tính từ bây giờ.", "{} là khi nào?"),
        translation=("Dịch sang tiếng Việt: {}", "Tiếng Việt nói thế nào: {}?"),
        weekday="Ngày thứ {} trong tuần là gì?",
        month="Tháng {} gọi là gì?",
        filler="Hy vọng điều này hữu ích.",
    ),
}

LANGUAGES: tuple[str, ...] = tuple(PHRASES)
