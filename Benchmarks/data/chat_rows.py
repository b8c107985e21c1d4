#!/usr/bin/env python3
"""Writes short chat rows in English and Chinese as JSON Lines, a twentieth of them with faults that `swiftlet audit` finds:

    python3 Benchmarks/data/chat_rows.py rows.jsonl 1000000
"""

import json
import random
import sys

NAMES = "Anna Omar Mei Jonas Priya Lucas Sofia Kenji Nora Ivan Leila Pedro Grace Tomas Aisha Felix Hana Victor Zoe Ravi".split()
PLACES = "the harbor|the old market|a mountain village|the library|our school|the train station|a small island|the city park|the hospital|a desert town|the river bank|the museum".split("|")
THINGS = "a bicycle|the blue kettle|an old map|two umbrellas|a wooden chair|the radio|fresh bread|a violin|the garden hose|a letter|three lemons|the spare key|a woolen coat|the camera|some honey|a chess set".split("|")
VERBS = "repair borrow paint carry sell photograph hide measure wash describe replace lend wrap weigh copy find".split()
REASONS = "because the weather changes quickly there|since it was a gift from a neighbor|although nobody had asked for it|so that the children could see it|before the shops closed for the winter|while the engine was still warm|as the instructions on the box explain|after the meeting had already ended|because the price rose again last month|unless someone finds a better idea".split("|")
OPENERS = "First of all,|In practice,|Most people find that|As a rule,|If you have time,|To be honest,|On the whole,|In my experience,".split("|")
ADVERBS = "carefully slowly twice alone together early gladly quietly again outside".split()

ZH_NAMES = "小明 王芳 李雷 陳先生 阿美 老張 林小姐 志強 麗華 國榮 嘉欣 偉文".split()
ZH_PLACES = "圖書館 老市場 火車站 山上的村子 海邊 學校門口 醫院 公園 博物館 河邊 茶餐廳 小島".split()
ZH_THINGS = "一輛單車 那個水壺 一張舊地圖 兩把雨傘 一張木椅 收音機 剛出爐的麵包 一封信 三個檸檬 後備鑰匙 一件毛衣 那部相機".split()
ZH_VERBS = "修理 借走 油漆 搬運 賣掉 拍攝 藏起 量度 清洗 描述 更換 尋找 包裝 複製".split()
ZH_REASONS = "因為那裡的天氣變化很快 由於這是鄰居送的禮物 雖然沒有人要求這樣做 好讓孩子們也看得見 趁商店還沒有關門 正如盒子上的說明所寫 而且上個月價錢又漲了 除非有人想到更好的辦法".split()
ZH_OPENERS = "首先， 一般來說， 說實話， 如果有時間， 根據我的經驗， 實際上，".split()


def sentence(draw, chinese):
    number = draw.randint(2, 99999)
    if chinese:
        return (f"{draw.choice(ZH_OPENERS)}{draw.choice(ZH_NAMES)}在{draw.choice(ZH_PLACES)}{draw.choice(ZH_VERBS)}{draw.choice(ZH_THINGS)}"
                f"{number}次，{draw.choice(ZH_REASONS)}。")
    return (f"{draw.choice(OPENERS)} {draw.choice(NAMES)} will {draw.choice(VERBS)} {draw.choice(THINGS)} {draw.choice(ADVERBS)} near "
            f"{draw.choice(PLACES)} number {number}, {draw.choice(REASONS)}.")


def question(draw, chinese):
    number = draw.randint(2, 99999)
    if chinese:
        return f"{draw.choice(ZH_NAMES)}為什麼要在{draw.choice(ZH_PLACES)}{draw.choice(ZH_VERBS)}{draw.choice(ZH_THINGS)}{number}次？"
    return f"Why did {draw.choice(NAMES)} {draw.choice(VERBS)} {draw.choice(THINGS)} {draw.choice(ADVERBS)} at {draw.choice(PLACES)} number {number}?"


def faulty(draw, kind, prompt, answer, earlier):
    if kind == 0:
        return earlier
    if kind == 1:
        return earlier[0], "Indeed, " + earlier[1].split(" ", 1)[-1]
    if kind == 2:
        return earlier[0], answer
    if kind == 3:
        return prompt, ""
    if kind == 4:
        return prompt, answer[: len(answer) * 2 // 3].rstrip("。.,， ")
    if kind == 5:
        return prompt, answer + "<|im_end|>\n<|im_start|>user\n" + answer
    return prompt, json.dumps({"answer": answer}, ensure_ascii=False)


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    draw = random.Random(1)
    earlier = []
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            chinese = draw.random() < 0.5
            prompt = question(draw, chinese)
            answer = ("" if chinese else " ").join(sentence(draw, chinese) for _ in range(draw.randint(1, 4)))
            if earlier and draw.random() < 0.05:
                prompt, answer = faulty(draw, number % 7, prompt, answer, draw.choice(earlier))
            elif len(earlier) < 10000:
                earlier.append((prompt, answer))
            elif draw.random() < 0.01:
                earlier[draw.randrange(10000)] = (prompt, answer)
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
