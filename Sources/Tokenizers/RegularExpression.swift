import Diagnostics
import CPCRE2

/// A regular expression in Oniguruma's syntax, which `tokenizer.json` uses, executed by PCRE2.
///
/// `@unchecked Sendable`: a compiled PCRE2 expression is immutable and safe to use from several threads; each search
/// allocates its own match data.
package final class RegularExpression: @unchecked Sendable {
  package let pattern: String
  private let code: OpaquePointer
  /// The same expression, compiled to match only at the start position.
  private let anchored: OpaquePointer
  /// Whether both expressions are JIT-compiled.
  private let isJITCompiled: Bool

  /// PCRE2's match limit, which bounds the backtracking of one match attempt.
  private static let stepLimit: UInt32 = 200_000
  /// The initial size of the window in which a match is searched, in bytes.
  private static let window = 1024

  /// - Throws: `SwiftletError`, without a location, if PCRE2 cannot compile the pattern.
  package init(_ pattern: String) throws(SwiftletError) {
    self.pattern = pattern
    let translated = Array(Self.translated(pattern).utf8)
    code = try Self.compile(translated, options: 0)
    do {
      anchored = try Self.compile(translated, options: UInt32(PCRE2_ANCHORED))
    } catch {
      pcre2_code_free_8(code)
      throw error
    }
    let options = UInt32(PCRE2_JIT_COMPLETE) | UInt32(PCRE2_JIT_PARTIAL_HARD)
    isJITCompiled = pcre2_jit_compile_8(code, options) == 0 && pcre2_jit_compile_8(anchored, options) == 0
  }

  deinit {
    pcre2_code_free_8(code)
    pcre2_code_free_8(anchored)
  }

  private static func compile(
    _ translated: [UInt8], options: UInt32
  ) throws(SwiftletError) -> OpaquePointer {
    var number: Int32 = 0
    var offset = 0
    let options =
      options | UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_NO_UTF_CHECK) | UInt32(PCRE2_MULTILINE)
    let compiled = translated.withUnsafeBufferPointer {
      pcre2_compile_8($0.baseAddress, $0.count, options, &number, &offset, nil)
    }
    if let compiled { return compiled }
    var text = [UInt8](repeating: 0, count: 256)
    let length = pcre2_get_error_message_8(number, &text, text.count)
    let reason = String(decoding: text.prefix(max(0, Int(length))), as: UTF8.self)
    throw SwiftletError.tokenizer("is not a supported regular expression (\(reason) at offset \(offset))")
  }

  /// Expands `\s` and `\w` to Oniguruma's definitions: PCRE2's `\s` includes U+180E, and its `\w` excludes marks.
  private static func translated(_ pattern: String) -> String {
    let spaces = #"\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"#
    var words = #"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}"#
    for range in UnicodeCategoryTable.otherWordScalars {
      words += "\\x{\(String(range.lowerBound, radix: 16))}-\\x{\(String(range.upperBound - 1, radix: 16))}"
    }
    var output = ""
    var isEscaped = false
    var isInClass = false
    for scalar in pattern.unicodeScalars {
      if isEscaped {
        isEscaped = false
        switch scalar {
        case "s": output += isInClass ? spaces : "[\(spaces)]"
        case "w": output += isInClass ? words : "[\(words)]"
        case "S" where !isInClass: output += "[^\(spaces)]"
        case "W" where !isInClass: output += "[^\(words)]"
        default:
          output += "\\"
          output.unicodeScalars.append(scalar)
        }
        continue
      }
      switch scalar {
      case "\\":
        isEscaped = true
        continue
      case "[": isInClass = true
      case "]": isInClass = false
      default: break
      }
      output.unicodeScalars.append(scalar)
    }
    return isEscaped ? output + "\\" : output
  }

  /// What the first group captures in the first match in `text`; `nil` without a match.
  package func firstGroup(in text: String) -> String? {
    let bytes = Array(text.utf8)
    guard let data = pcre2_match_data_create_8(2, nil) else { return nil }
    defer { pcre2_match_data_free_8(data) }
    let count = bytes.withUnsafeBufferPointer { pcre2_match_8(code, $0.baseAddress, $0.count, 0, 0, data, nil) }
    // With more groups than places the count is 0, and the first ones are there all the same.
    guard count == 0 || count > 1, let places = pcre2_get_ovector_pointer_8(data) else { return nil }
    let (begin, end) = (places[2], places[3])
    guard begin <= end, end <= bytes.count else { return nil }
    return String(decoding: bytes[begin..<end], as: UTF8.self)
  }

  /// Whether the expression has a nonempty match in `text`.
  package func matches(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    var isFound = false
    forEachMatch(bytes, 0..<bytes.count) { _ in isFound = true }
    return isFound
  }

  /// Calls `body` with each match in `range`, in order. The expression sees the range as the whole text.
  ///
  /// The search proceeds in small windows. A match that could extend past its window is tried again in a larger one,
  /// only from its first character. If too much work is wasted on such attempts, windows no longer grow. This bounds
  /// the number of matching steps per byte for any text.
  package func forEachMatch(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    guard !range.isEmpty, let data = pcre2_match_data_create_8(1, nil) else { return }
    defer { pcre2_match_data_free_8(data) }
    guard let context = pcre2_match_context_create_8(nil) else { return }
    defer { pcre2_match_context_free_8(context) }
    pcre2_set_match_limit_8(context, Self.stepLimit)
    bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      let search = Search(
        subject: base + range.lowerBound, count: range.count, data: data, context: context, expression: self)
      search.run { body(range.lowerBound + $0.lowerBound..<range.lowerBound + $0.upperBound) }
    }
  }

  /// One search through one text.
  private struct Search {
    let subject: UnsafePointer<UInt8>
    let count: Int
    let data: OpaquePointer
    let context: OpaquePointer
    let expression: RegularExpression

    func run(_ body: (Range<Int>) -> Void) {
      var position = 0
      var window = RegularExpression.window
      var isAnchored = false
      var wasted = 0
      while position < count {
        let end = windowEnd(from: position, size: window)
        let mayGrow = end < count && wasted <= 16 * count
        let result = match(from: position, to: end, isAnchored: isAnchored, isPartial: mayGrow)
        let found = pcre2_get_ovector_pointer_8(data)
        if result == PCRE2_ERROR_PARTIAL, let found {
          position = max(position, found[0])
          window *= 4
          isAnchored = true
          continue
        }
        if result >= 0, let found, found[0] >= position, found[1] > found[0] {
          body(found[0]..<found[1])
          position = found[1]
        } else if isAnchored || result >= 0 {
          // Skip empty matches, which split nothing, and start positions without a match.
          if isAnchored { wasted += window }
          position = max(position, result >= 0 ? found?[0] ?? 0 : 0)
          position += position < count ? length(subject[position]) : 1
        } else {
          position = end
        }
        window = RegularExpression.window
        isAnchored = false
      }
    }

    private func match(from position: Int, to end: Int, isAnchored: Bool, isPartial: Bool) -> Int32 {
      let code = isAnchored ? expression.anchored : expression.code
      let partial = isPartial ? UInt32(PCRE2_PARTIAL_HARD) : 0
      if expression.isJITCompiled {
        let result = pcre2_jit_match_8(code, subject, end, position, partial, data, context)
        if result != PCRE2_ERROR_JIT_STACKLIMIT { return result }
      }
      let options = partial | UInt32(PCRE2_NO_UTF_CHECK) | UInt32(PCRE2_NO_JIT)
      return pcre2_match_8(code, subject, end, position, options, data, context)
    }

    /// The end of a window, moved to a character boundary.
    private func windowEnd(from start: Int, size: Int) -> Int {
      var end = min(count, start + size)
      while end < count, subject[end] & 0xC0 == 0x80 { end += 1 }
      return end
    }

    private func length(_ lead: UInt8) -> Int { lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }
  }
}
