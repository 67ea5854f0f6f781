"""The authors' own figures, for context, from the Aya Expanse report (arXiv 2412.04261). None is measured by us."""

#: (what, 8B, 32B)
FIGURES = (
    ("m-ArenaHard win-rate, best opponent", "up to 70.6\u00a0% (Llama 3.1 8B)", "up to 76.6\u00a0% (Mixtral 8x22B)"),
    ("m-ArenaHard win-rate against Llama 3.1 70B", "–", "54.0\u00a0%"),
    ("Dolly win-rate, best opponent", "up to 83.9\u00a0%", "up to 89.9\u00a0%"),
    ("Discriminative tasks, average", "70.3", "72.6"),
    ("Global-MMLU", "53.7", "66.9"),
    ("INCLUDE", "37.2", "51.4"),
    ("MGSM", "67.0", "73.4"),
    ("FLORES, chrF++", "57.2", "58.8"),
    ("FLORES, xCOMET", "93.2", "93.5"),
)

#: (stage, gain in win-rate points against Gemma 2 9B, of the 8B model)
GAINS = (
    ("Data arbitrage (supervised fine-tuning)", "+9.1"),
    ("Offline and online preference training", "+7.1"),
    ("Model merging", "+5.1"),
)

CAUTIONS = (
    "The stages' gains add up to 21.3 points where the report states a total of 20.3.",
    "The report counts 13,062 Global-MMLU questions per language; the data set's card has 14,042.",
    "The launch article says 35B where the report says 32B.",
)
