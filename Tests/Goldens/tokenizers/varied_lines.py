"""Varied lines of our own making, the same on every run, on which tokenizers are compared."""

import random

ENGLISH = """the quick survey of harbour towns found that nobody's boat wasn't leaking we'll mend them before O'Brien's arrives
I'd say they've got 12 ropes and he'd want 1,024 more it's THE captain's WE'RE not I'M don't SHOULDN'T y'all'd've rock'n'roll
internationalization responsibilities counterrevolutionary antidisestablishmentarianism naïve café façade coöperate résumé Zürich
learning rate warm-up gradient checkpointing tokenizer vocabulary e-mail state-of-the-art COVID-19 3D x86_64 UTF-8""".split()
CHINESE = """今天天气很好 我们一起去公园散步 模型的微调需要数据 机器学习 自然语言处理 学习率 请回答下面的问题 一二三四五六七八九十 春眠不觉晓，处处闻啼鸟。
北京、上海和广州 患者主诉头痛三天 “你好”，他说：《红楼梦》很长…… 繁體字與簡體字 龍龜鬱 𠮷野家 㐂 〇""".split()
CANTONESE = "佢哋喺邊度呀？ 我唔知點解佢冇嚟 今日好攰，想瞓覺 食咗飯未呀 呢個係咩嚟㗎 嘅嗰啲嘢 咁樣得唔得㗎喎 細路仔成日喊 落雨大水浸街 𨋢門壞咗 㩒掣 噉就啱喇".split()
ARABIC = "مرحبا بالعالم كيف حالك اليوم؟ اللُّغَةُ العَرَبِيَّةُ ١٢٣٤ الكتاب على الطاولة، والقلم بجانبه. السلام عليكم ـــ لا إله".split()
OTHERS = """こんにちは 世界 カタカナ ﾊﾝｶｸ 東京タワー 안녕하세요 세계 한국어 가나다 नमस्ते दुनिया हिन्दी क्षत्रिय สวัสดีชาวโลก ภาษาไทย שלום עולם עִבְרִית
Здравствуй мир ёлка Ελληνικά ἀρχή ᾧ Tiếng Việt được nghìn Việt ế ộ ǖ Å ﬁ ﬀ ½ ² ① Ⅷ ㎏ ﷺ ß ẞ İı ſs 'ſ Ǆ தமிழ் తెలుగు ქართული Հայերեն አማርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ""".split()
EMOJI = ["👨‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇭🇰", "🇹🇼🇯🇵", "🧑🏿‍🚀", "😀", "❤️", "❤️‍🔥", "✈︎", "1️⃣", "#️⃣", "🫠", "👁️‍🗨️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "☺", "🤷🏻‍♀️"]
CODE = ["def f(x):\n    return x**2  # square\n", "\tif (a != b && c <= 0xFF) { i++; }\n", "for i in 0..<n {\n\t\tprint(\"\\(i)\")\n\t}\n",
        "SELECT * FROM t WHERE id=42;", "<div class=\"a\">&nbsp;</div>\r\n", "#include <stdio.h>\r\n\r\n", "let x = a?.b ?? [:]", "```swift\n",
        "{\"k\": [1, 2.5e-3, null]}", "$HOME/.cache/x-y_z.tar.gz", "https://example.org/a?b=c&d=%20#e", "print('it''s')", "x=1;y=-2;z+=3.14159265",
        "\\frac{1}{2}\\sum_{i=0}^{n}", "A-->B==>C<->D", "!!!???...", "----====****", "(((())))[[]]{{}}", "@user #tag $5.00 50% a&b ~/ |x| ^_^"]
CONTROL = ["\x00", "\x01\x02", "\x1b[31m", "\x7f", "\x85", "\xa0", "\u200b", "\u200d", "\u2028", "\u2029", "\ufeff", "\u3000", "\u180e", "\u202e",
           "\u00ad", "\x0b", "\x0c", "\x1c\x1d", "\ufffd", "\ufffe", "\U000e0001", "\U0010ffff", "\ue000", "\u0301", "\u0334\u0345\u0301", "\u1100\u1161\u11a8"]
SPACE = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n", "\n ", "\n\n\n   ", " \t ", " " * 7, " " * 40, "\n" * 5, ""]
DIGITS = ["0", "7", "42", "123", "1234", "12345678901234567890", "3.14", "1,000,000", "2024-06-01", "٣٤٥", "五〇", "½¾", "Ⅻ", "1²3₄", "০১২"]
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\n", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|end|>", "<think>",
          "</think>", "<tool_call>", "<｜User｜>", "<｜begin▁of▁sentence｜>", "<|im_start", "<|", "|>", "▁", "▁▁a", "Ġthe", "<0x0A>", "[INST]", "<pad>", "<extra>"]
GROUPS = [ENGLISH, ENGLISH, ENGLISH, CHINESE, CANTONESE, ARABIC, OTHERS, EMOJI, CODE, CONTROL, DIGITS, TOKENS]


def random_scalars(source, count):
    """Scalars from all planes, mostly the crowded parts."""
    blocks = [(0x20, 0x7F), (0x20, 0x7F), (0, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x700), (0x900, 0xE00), (0x1100, 0x1200),
              (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0xFB50),
              (0xFB50, 0x10000), (0x10000, 0x11800), (0x1D100, 0x1D800), (0x1F000, 0x1FAFF), (0x2F800, 0x2FA1E), (0, 0xD800), (0xE000, 0x110000)]
    return "".join(chr(source.randrange(*source.choice(blocks))) for _ in range(count))


def lines(count, seed=1):
    """`count` lines: each group by itself, mixtures of groups, and random scalars."""
    source = random.Random(seed)
    result = []
    for index in range(count):
        kind = index % 20
        if kind < 11:
            group = GROUPS[1 + kind]
            parts = [source.choice(group) for _ in range(source.randint(1, 12))]
            glue = [" "] if kind < 2 else ["", " ", "\n"] if kind < 7 else SPACE
        elif kind < 17:
            parts = [source.choice(source.choice(GROUPS)) for _ in range(source.randint(1, 14))]
            glue = SPACE
        else:
            parts = [random_scalars(source, source.randint(1, 8)) for _ in range(source.randint(1, 5))]
            glue = ["", " ", "  ", "\n", "'s", "1", "a"]
        text = "".join(part + source.choice(glue) for part in parts)
        result.append((source.choice(SPACE) if index % 7 == 0 else "") + text)
    return result


def fuzzed(count, seed=2):
    """Short strings that bring unlike things close together."""
    source = random.Random(seed)
    alphabet = ["'", "’", "s", "S", "t", "re", "LL", "ve", "d", "ſ", "a", "Z", "é", "中", "ا", "न", "्", "\u0301", "\u0323", "각", "ᄀ", "ᅡ", "ᆨ", "1", "23", "٣", "½", "Ⅷ", " ",
                "  ", "\n", "\r", "\r\n", "\t", "\xa0", "\u3000", "\u2028", "\x85", ".", ",", "!", "_", "-", "(", "。", "，", "😀", "\u200d", "\ufe0f", "🏽", "\x00", "\u180e",
                "$", "+", "▁", "<", "|>", "Å", "ﬁ"]
    for index in range(count):
        if index % 10 == 9:
            yield random_scalars(source, source.randint(1, 20))
        elif index % 10 == 8:
            yield source.choice(lines_once)
        else:
            extra = TOKENS if index % 4 == 0 else alphabet
            yield "".join(source.choice(extra if source.random() < 0.1 else alphabet) for _ in range(source.randint(1, 16)))


lines_once = lines(200, seed=3)
