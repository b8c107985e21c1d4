/// The writing systems that an audit tells apart.
enum Script: UInt8, CaseIterable, Sendable {
  case latin, han, kana, hangul, cyrillic, arabic, hebrew, greek, devanagari, thai, other

  /// The name in sentences.
  var name: String {
    switch self {
    case .latin: "Latin script"
    case .han: "Chinese characters"
    case .kana: "Japanese script"
    case .hangul: "Korean script"
    case .cyrillic: "Cyrillic script"
    case .arabic: "Arabic script"
    case .hebrew: "Hebrew script"
    case .greek: "Greek script"
    case .devanagari: "Devanagari script"
    case .thai: "Thai script"
    case .other: "another script"
    }
  }

  /// The script of a letter.
  init(_ value: UInt32) {
    switch value {
    case ..<0x250, 0x1E00..<0x1F00: self = .latin
    case 0x370..<0x400, 0x1F00..<0x2000: self = .greek
    case 0x400..<0x530: self = .cyrillic
    case 0x590..<0x600: self = .hebrew
    case 0x600..<0x780, 0x8A0..<0x900, 0xFB50..<0xFE00, 0xFE70..<0xFF00: self = .arabic
    case 0x900..<0x980: self = .devanagari
    case 0xE00..<0xE80: self = .thai
    case 0x1100..<0x1200, 0xAC00..<0xD7B0: self = .hangul
    case 0x3040..<0x3100, 0xFF66..<0xFFA0: self = .kana
    case 0x3400..<0xA000, 0xF900..<0xFB00, 0x20000..<0x32000: self = .han
    default: self = .other
    }
  }

  /// Whether words are not separated by spaces, so that each character counts as a unit.
  var hasNoSpaces: Bool { self == .han || self == .kana || self == .thai }
}

/// A text as a sequence of hashed units: words, without case and punctuation, or single characters in scripts that do
/// not separate words.
struct TextUnits {
  /// A hash for each unit.
  private(set) var hashes: [UInt64] = []
  /// The number of units of each script. Numbers have none.
  private(set) var counts = [Int](repeating: 0, count: Script.allCases.count)

  private var word: UInt64?
  private var wordScript: Script?

  init(_ text: String) {
    for scalar in text.unicodeScalars { add(scalar) }
    endWord()
  }

  /// Adds the units of another text.
  mutating func append(_ text: String) {
    for scalar in text.unicodeScalars { add(scalar) }
    endWord()
  }

  private mutating func add(_ scalar: Unicode.Scalar) {
    let value = scalar.value
    if value < 0x80 {
      switch value {
      case 0x61...0x7A: extend(value, .latin)
      case 0x41...0x5A: extend(value + 32, .latin)
      case 0x30...0x39: extend(value, nil)
      default: endWord()
      }
      return
    }
    let isMark = (0x300..<0x370).contains(value) || (0x93A..<0x950).contains(value) || (0xE31..<0xE4F).contains(value)
    guard isMark || scalar.properties.isAlphabetic || scalar.properties.numericType != nil else { return endWord() }
    let script = Script(value)
    if script.hasNoSpaces {
      endWord()
      counts[Int(script.rawValue)] += 1
      hashes.append(Self.mix(UInt64(value) &* 0x9E37_79B9_7F4A_7C15))
    } else {
      extend(Self.lowercased(value), script)
    }
  }

  private mutating func extend(_ value: UInt32, _ script: Script?) {
    if let script { wordScript = script }
    word = ((word ?? 0xCBF2_9CE4_8422_2325) ^ UInt64(value)) &* 0x100_0000_01B3
  }

  private mutating func endWord() {
    guard let word else { return }
    hashes.append(Self.mix(word))
    if let wordScript { counts[Int(wordScript.rawValue)] += 1 }
    self.word = nil
    wordScript = nil
  }

  /// Lower case for the alphabets that have one; characters with irregular mappings stay as they are.
  private static func lowercased(_ value: UInt32) -> UInt32 {
    switch value {
    case 0xC0...0xD6, 0xD8...0xDE, 0x391...0x3A9, 0x410...0x42F: value + 32
    case 0x400...0x40F: value + 80
    default: value
    }
  }

  /// The final mixing of SplitMix64: every bit of the result depends on every bit of the value.
  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A hash for each pair of neighboring units; of a single unit, its own.
  var shingles: [UInt64] {
    if hashes.count < 2 { return hashes }
    return zip(hashes, hashes.dropFirst()).map { Self.mix($0 &* 0x9E37_79B9_7F4A_7C15 &+ $1) }
  }

  /// The script of most units, and the number of units that have one. Chinese characters among kana are Japanese.
  var script: (dominant: Script, units: Int) {
    let total = counts.reduce(0, +)
    let (kana, han) = (counts[Int(Script.kana.rawValue)], counts[Int(Script.han.rawValue)])
    if kana > 0, kana * 10 >= han, (kana + han) * 2 > total { return (.kana, total) }
    let most = counts.indices.max { counts[$0] < counts[$1] } ?? 0
    return (Script(rawValue: UInt8(most)) ?? .other, total)
  }
}
