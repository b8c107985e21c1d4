import Diagnostics
import Foundation
import OrderedJSON
import Testing

@Suite("Ordered JSON")
struct JSONTests {
  private static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Goldens/ordered_json/goldens.json")

  private func error(_ text: String) -> SwiftletError? {
    do throws(SwiftletError) {
      _ = try JSONValue(parsing: text)
      return nil
    } catch {
      return error
    }
  }

  @Test("Numbers match Python's repr") func numbers() throws {
    let goldens = try JSONValue(parsing: Data(contentsOf: Self.goldens))
    let rows = try #require(goldens["numbers"]?.array)
    #expect(rows.count == 300)
    for row in rows {
      let bits = try #require(row["bits"]?.string.flatMap(UInt64.init))
      let text = try #require(row["text"]?.string)
      let number = Double(bitPattern: bits)
      #expect(number.pythonText == text)
      guard case .number(let back) = try JSONValue(parsing: text) else {
        Issue.record("\(text) is not a number")
        continue
      }
      #expect(back.bitPattern == bits, "\(text)")
    }
    #expect(Double.nan.pythonText == "NaN" && Double.infinity.pythonText == "Infinity")
    #expect((-Double.infinity).pythonText == "-Infinity")
  }

  @Test("Layouts match Python's json.dumps") func layouts() throws {
    let goldens = try JSONValue(parsing: Data(contentsOf: Self.goldens))
    let styles: [JSONValue.Style] = [
      .oneLine, .init(escapesNonASCII: true), .pretty, .compact, .init(sortsKeys: true),
    ]
    let values = try #require(goldens["values"]?.array)
    for (index, value) in values.enumerated() {
      for (place, style) in styles.enumerated() {
        let expected = try #require(goldens["texts"]?[index]?[place]?.string)
        let text = value.text(style)
        #expect(text.utf8.elementsEqual(expected.utf8), "\(text) for \(expected)")
        #expect(try JSONValue(parsing: text) == value)
      }
    }
  }

  @Test("Keys keep their order and the last duplicate wins") func keys() throws {
    let value = try JSONValue(parsing: #"{"b": 1, "a": 2, "b": 3}"#)
    #expect(value.text() == #"{"b": 3, "a": 2}"#)
    let long = "{" + (0..<20).map { "\"k\($0 % 15)\": \($0)" }.joined(separator: ", ") + "}"
    let object = try #require(try JSONValue(parsing: long).object)
    #expect(object.keys == (0..<15).map { "k\($0)" })
    #expect(object["k0"]?.integer == 15 && object["k4"]?.integer == 19 && object["k5"]?.integer == 5)
  }

  @Test("Keys and strings compare by bytes") func canonicalEquivalence() throws {
    let value = try JSONValue(parsing: "{\"caf\u{E9}\": 1, \"cafe\u{301}\": 2}")
    #expect(value.object?.count == 2)
    #expect(value["caf\u{E9}"]?.integer == 1 && value["cafe\u{301}"]?.integer == 2)
    #expect(JSONValue.string("\u{E9}") != JSONValue.string("e\u{301}"))
    var object = JSONObject([("a", 1), ("b", 2)])
    object["a"] = nil
    object["c"] = 3
    #expect(object.keys == ["b", "c"])
  }

  @Test("Integers stay integers, fractions stay fractions") func integers() throws {
    #expect(
      try JSONValue(parsing: "[1, 1.0, 1e0, -0, 9223372036854775807, 9223372036854775808]").text()
        == "[1, 1.0, 1.0, 0, 9223372036854775807, 9223372036854775808]")
    #expect(try JSONValue(parsing: "[NaN, Infinity, -Infinity]").text() == "[NaN, Infinity, -Infinity]")
    #expect(try JSONValue(parsing: "1") == JSONValue(parsing: "1.0"))
    #expect(Set([JSONValue.integer(1), .number(1)]).count == 1)
  }

  @Test("Integers beyond 64 bits keep their digits") func largeIntegers() throws {
    for digits in ["12345678901234567890", "-9223372036854775809", "1" + String(repeating: "0", count: 400)] {
      let value = try JSONValue(parsing: digits)
      #expect(value.text() == digits)
      #expect(value.integer == nil)
      #expect(value.kind == "a number")
      #expect(value == .largeInteger(digits))
    }
    #expect(try JSONValue(parsing: "18446744073709551616") == .number(0x1p64))
    #expect(try JSONValue(parsing: "18446744073709551617") != .number(0x1p64))
    #expect(Set([JSONValue.largeInteger("18446744073709551616"), .number(0x1p64)]).count == 1)
    #expect((-0x1p70).integerDigits == "-1180591620717411303424")
    #expect(1e22.integerDigits == "10000000000000000000000")
    #expect(1.5.integerDigits == nil)
  }

  @Test("Codable round trip") func codable() throws {
    let value: JSONValue = ["a": [1, 2.5, true, nil, "x"], "b": [:]]
    #expect(try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value)) == value)
  }

  @Test("Escapes and unpaired surrogates") func escapes() throws {
    #expect(
      try JSONValue(parsing: #""\u4e2d\ud83d\ude00\/\b\f\n\r\t\"\\\u0000""#).string
        == "中😀/\u{8}\u{C}\n\r\t\"\\\0")
    for lone in [#""\ud83d""#, #""\ude00""#, #""\ud83d\n""#] {
      #expect(try JSONValue(parsing: lone).string?.unicodeScalars.first == "\u{FFFD}")
    }
    #expect(try JSONValue(parsing: #""\ud83d\ud83d\ude00""#).string == "\u{FFFD}😀")
    #expect(try JSONValue(parsing: "\u{FEFF}{}").object?.count == 0)
  }

  @Test(
    "Errors name the line",
    arguments: [
      ("", 1), ("{\n\"a\": 1,\n}", 3), ("[1,\n2\n3]", 3), ("\n\n{\"a\" 1}", 3), ("{\"a\": tru}", 1), ("[1, 2", 1),
      ("\"abc", 1),
      ("\"a\nb\"", 1), ("01", 1), ("1.", 1), ("1e", 1), ("-", 1), ("+1", 1), ("[1]\n\n]", 3), ("\"\\x\"", 1),
      ("\"\\u12g4\"", 1),
      ("{1: 2}", 1), ("nul", 1), ("{\"a\": 1", 1), ("{\"a\"", 1), ("{", 1), ("[", 1), ("\"\\", 1), ("\"\\u12", 1),
      ("\0", 1),
      ("[1,]", 1), (".5", 1), ("'a'", 1), ("\"\u{1}\"", 1), ("--1", 1), ("-Inf", 1), ("\"\\ud83d\\u", 1),
    ])
  func errors(_ text: String, _ line: Int) {
    #expect(error(text)?.location.line == line, "\(text.debugDescription)")
    #expect(error(text).map { !$0.reason.isEmpty } == true)
  }

  @Test("Invalid UTF-8 is rejected") func invalidUTF8() {
    for bytes: [UInt8] in [[0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0xFF]] {
      #expect(throws: SwiftletError.self) { try JSONValue(parsing: bytes) }
    }
  }

  @Test("Deep nesting is rejected") func depth() throws {
    let deep = String(repeating: "[", count: 512) + String(repeating: "]", count: 512)
    #expect(try JSONValue(parsing: deep).text() == deep)
    #expect(error(String(repeating: "[", count: 100_000))?.reason.contains("512") == true)
    #expect(error(String(repeating: "{\"a\":", count: 100_000))?.reason.contains("512") == true)
  }

  @Test("No prefix and no changed byte crashes the parser") func mutations() throws {
    let text = Array(#"{"a": [1, -2.5e3, "\u00e9\ud83d\ude00 中", true, null], "b": {"c": NaN, "d": -Infinity}}"#.utf8)
    for end in text.indices { #expect(throws: SwiftletError.self) { try JSONValue(parsing: text[..<end]) } }
    for place in text.indices {
      for byte: UInt8 in [0, 0x22, 0x5C, 0x7B, 0x5D, 0x2C, 0x30, 0x2D, 0x80, 0xFF, 0x75, 0x65] {
        var changed = text
        changed[place] = byte
        if let value = try? JSONValue(parsing: changed) {
          #expect(try JSONValue(parsing: value.text()).text() == value.text())
        }
      }
    }
  }
}
