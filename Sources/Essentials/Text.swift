extension String {
  /// Formats values as `printf` does, such as `%.3g`, independent of the locale.
  package init(cFormat format: String, _ values: any CVarArg...) { self = formatted(format, values) }
}

private func formatted(_ format: String, _ values: [any CVarArg]) -> String {
  var bytes = [CChar](repeating: 0, count: 64)
  while true {
    let length = bytes.withUnsafeMutableBufferPointer { buffer in
      withVaList(values) { vsnprintf(buffer.baseAddress, buffer.count, format, $0) }
    }
    // `vsnprintf` returns the full length, without the terminating zero, even if the text doesn't fit.
    guard Int(length) >= bytes.count else {
      return String(decoding: bytes.prefix(Int(max(0, length))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    bytes = [CChar](repeating: 0, count: Int(length) + 1)
  }
}

extension StringProtocol {
  /// The text without leading and trailing whitespace and newlines.
  package var trimmed: String { trimmed { $0.isWhitespace } }

  /// The text without leading and trailing characters for which `isDropped` is true.
  package func trimmed(_ isDropped: (Character) -> Bool) -> String {
    let rest = drop(while: isDropped)
    guard let last = rest.lastIndex(where: { !isDropped($0) }) else { return "" }
    return String(rest[...last])
  }
}
