import Datasets
import OrderedJSON

/// Numbers that depend on a seed alone (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// The language of generated rows.
enum Language: String, CaseIterable, Sendable {
  case english, chinese, french, japanese
}

/// Makes sentences and rows that resemble one another no more than real ones do.
struct RowGenerator {
  var random: SeededGenerator

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  mutating func pick(_ words: [String]) -> String { words.randomElement(using: &random) ?? "" }

  /// One sentence of ten to twenty words or characters.
  mutating func sentence(_ language: Language) -> String {
    let words = Words.of(language)
    switch language {
    case .english:
      let start = pick(["The", "A", "Every", "This", "One"])
      return
        "\(start) \(pick(words.adjectives)) \(pick(words.nouns)) \(pick(words.verbs)) \(pick(["near", "behind", "with", "from"])) "
        + "the \(pick(words.nouns)) \(pick(["because", "while", "until", "although"])) "
        + "\(pick(["a", "the", "some"])) \(pick(words.nouns)) \(pick(words.verbs)) \(pick(words.adverbs))."
    case .french:
      return "\(pick(["Le", "La", "Une", "Ce"])) \(pick(words.nouns)) \(pick(words.adjectives)) \(pick(words.verbs)) "
        + "\(pick(["dans", "avec", "pour", "sur"])) la \(pick(words.nouns)) \(pick(["parce que", "quand", "et"])) "
        + "\(pick(["les", "des", "leurs"])) \(pick(words.nouns)) \(pick(words.verbs)) \(pick(words.adverbs))."
    case .chinese:
      return
        "\(pick(words.adverbs))，\(pick(words.adjectives))的\(pick(words.nouns))\(pick(["在", "从", "和"]))\(pick(words.nouns))"
        + "\(pick(words.verbs))了，\(pick(["因为", "所以", "但是"]))\(pick(words.nouns))也\(pick(words.verbs))。"
    case .japanese:
      return "\(pick(words.adjectives))\(pick(words.nouns))は\(pick(words.nouns))で\(pick(words.verbs))から、"
        + "\(pick(words.adverbs))\(pick(words.nouns))が\(pick(words.verbs))。"
    }
  }

  mutating func sentences(_ count: ClosedRange<Int>, _ language: Language) -> String {
    let separator = language == .chinese || language == .japanese ? "" : " "
    return (0..<Int.random(in: count, using: &random)).map { _ in sentence(language) }.joined(separator: separator)
  }

  mutating func question(_ language: Language) -> String {
    let start = language == .chinese ? "请问这句话是什么意思：" : "What does this mean: "
    return start + sentences(1...2, language)
  }

  /// A row with a question and an answer.
  mutating func row(_ language: Language) -> Row { Self.row(question(language), sentences(2...5, language)) }

  static func row(_ prompt: String, _ answer: String) -> Row {
    [
      "messages": [
        ["role": "user", "content": .string(prompt)], ["role": "assistant", "content": .string(answer)],
      ]
    ]
  }
}

/// The words that sentences are made of.
struct Words {
  let nouns: [String]
  let verbs: [String]
  let adjectives: [String]
  let adverbs: [String]

  private init(_ nouns: String, _ verbs: String, _ adjectives: String, _ adverbs: String) {
    func list(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
    self.nouns = list(nouns)
    self.verbs = list(verbs)
    self.adjectives = list(adjectives)
    self.adverbs = list(adverbs)
  }

  static func of(_ language: Language) -> Words {
    switch language {
    case .english: english
    case .chinese: chinese
    case .french: french
    case .japanese: japanese
    }
  }

  static let english = Words(
    """
    river teacher bridge engine garden letter window doctor market forest captain kitchen violin mountain pencil soldier \
    bakery island lantern journal painter harbor blanket rocket farmer castle mirror singer valley hammer library pilot \
    orchard candle neighbor tunnel sailor basket temple drummer meadow carpet tower clerk spoon beetle canyon nurse
    """,
    """
    waited vanished arrived trembled laughed collapsed changed returned whispered recovered floated disappeared worked \
    failed rested wandered burned shone shouted melted improved suffered traveled listened moved jumped argued settled \
    slept climbed rusted cracked drifted hesitated escaped resigned
    """,
    """
    old quiet broken green distant famous hungry narrow gentle wooden bitter bright ancient clumsy frozen hidden patient \
    rapid silver modern lonely muddy noble royal sleepy tall useful warm yellow young
    """,
    "slowly yesterday again twice outside forever quietly together early everywhere later somehow badly today tonight")

  static let french = Words(
    """
    rivière maîtresse voiture fenêtre lettre maison montagne forêt cuisine boulangerie plage table chaise lampe école ville \
    route pomme chanson porte
    """,
    "attend disparaît arrive tremble tombe revient travaille dort chante voyage écoute brûle change marche parle",
    "vieille tranquille cassée verte lointaine célèbre étroite douce froide cachée rapide moderne jaune jeune",
    "lentement hier encore dehors toujours ensemble tôt partout demain bien")

  static let chinese = Words(
    """
    河流 老师 桥梁 机器 花园 信件 窗户 医生 市场 森林 船长 厨房 钢琴 高山 铅笔 士兵 面包店 小岛 灯笼 日记 画家 港口 毯子 火箭 农民 \
    城堡 镜子 歌手 山谷 锤子 图书馆 飞行员 果园 蜡烛 邻居 隧道 水手 篮子 寺庙 鼓手 草地 地毯 高塔 店员 勺子 甲虫 峡谷 护士
    """,
    """
    等待 消失 到达 颤抖 大笑 倒塌 改变 返回 低语 恢复 漂浮 离开 工作 失败 休息 徘徊 燃烧 发光 喊叫 融化 进步 受苦 旅行 倾听 移动 \
    跳跃 争论 定居 睡觉 攀登 生锈 破裂 犹豫 逃跑 辞职
    """,
    "古老 安静 破旧 绿色 遥远 著名 饥饿 狭窄 温柔 木制 苦涩 明亮 笨拙 冰冷 隐蔽 耐心 迅速 银色 现代 孤独 泥泞 高贵 有用 温暖 黄色 年轻",
    "昨天早上 慢慢地 再一次 在外面 永远 悄悄地 一起 后来 不知为何 今天下午 晚上 去年 前几天 上个月")

  static let japanese = Words(
    "川 先生 橋 機械 庭 手紙 窓 医者 市場 森 船長 台所 ピアノ 山 鉛筆 パン屋 島 日記 画家 港",
    "待っています 消えました 着きました 笑いました 変わりました 戻りました 働いています 休みます 燃えました 旅行します",
    "古い 静かな 壊れた 緑の 遠い 有名な 狭い 優しい 明るい 冷たい", "ゆっくり 昨日 また 外で いつも 一緒に 早く 後で")
}
